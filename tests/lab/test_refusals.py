"""One line for each way in which a host forbids a lab without root: the setting, and what to do. What can be tried for real is in
``recipe/test_rootless.py``; the other kernels' settings are files here."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from stockade.lab import refusals, user_namespace

ROOT_MOUNT = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
PERMISSION = OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    put(tmp_path, "self/mountinfo", ROOT_MOUNT)
    put(tmp_path, "self/status", "Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n")
    return tmp_path


def put(proc: Path, name: str, text: str) -> None:
    (proc / name).parent.mkdir(parents=True, exist_ok=True)
    (proc / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        (
            "sys/kernel/unprivileged_userns_clone",
            "0\n",
            errno.EPERM,
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            errno.EPERM,
            "sysctl kernel.apparmor_restrict_",
        ),
        (
            "sys/user/max_user_namespaces",
            "0\n",
            errno.ENOSPC,
            "there may be only 0 (user.max_user_namespaces)",
        ),
        ("self/mountinfo", "22 1 254:0 /x /tmp rw - ext4 /dev/vda rw\n", errno.EPERM, "in a chroot"),
        ("self/status", "Name:\tx\nSeccomp:\t2\n", errno.EPERM, "--security-opt seccomp=unconfined"),
        ("x", "", errno.EPERM, "this machine forbids them"),
        ("x", "", errno.EINVAL, "CONFIG_USER_NS"),
    ],
)
def test_why_there_is_none(proc: Path, name: str, text: str, error: int, said: str) -> None:
    put(proc, name, text)
    line = refusals.no_namespace(OSError(error, "refused"), str(proc))
    assert said in line
    assert "\n" not in line


def test_why_it_has_no_rights(proc: Path) -> None:
    assert refusals.no_rights(PERMISSION, uid=1000, proc=str(proc)).endswith("or run it as root")
    assert "SETFCAP" in refusals.no_rights(PERMISSION, uid=0, proc=str(proc))
    put(proc, "sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
    for uid in (0, 1000):
        assert "AppArmor" in refusals.no_rights(PERMISSION, uid=uid, proc=str(proc))


def test_no_proc_of_its_own() -> None:
    assert "systempaths=unconfined" in refusals.no_proc(PERMISSION)
    assert "No space" in refusals.no_proc(OSError(errno.ENOSPC, "No space left"))


def test_ranges_are_read_by_name_and_number(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("root:100000:65536\n# a comment\nother:1:2\n0:300000:10\nroot:x:y\nroot:5:0\n")
    assert user_namespace.ranges(str(file), 0) == [(100000, 65536), (300000, 10)]
    assert user_namespace.ranges(str(tmp_path / "none"), 0) == []
