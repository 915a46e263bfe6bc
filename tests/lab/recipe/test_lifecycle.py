"""Start, stop and sudden death of a lab: what the user is told, and that the host is left as it was."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stockade.lab.paths import LabPaths, is_running
from stockade.lab.preflight import missing_requirement
from stockade.lab.processes import first_process, of_lab
from stockade.testing.namespaces import PREFIX

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def host_state() -> dict[str, object]:
    """What a lab could leave behind outside its state directory. Other tests have network namespaces at the same time, by names of
    their own (``testing.namespaces``), which ``ip netns`` mounts."""

    def run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    return {
        "links": run("ip", "-o", "link", "show").count("\n"),
        "routes": run("ip", "route", "show", "table", "all"),
        "tables": run("nft", "list", "tables"),
        "mounts": [
            line for line in Path("/proc/mounts").read_text().splitlines() if "/run/netns" not in line
        ],
        "namespaces": [
            name for name in run("ip", "netns", "list").split("\n") if not name.startswith(PREFIX)
        ],
        "sockets": sorted(Path("/run").glob("stockade*")) + sorted(Path("/tmp").glob("stockade*")),
    }


def stockade_processes(lab) -> list[int]:
    """Processes whose command line or environment names this lab."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if lab.name.encode() in text:
                found.append(int(entry.name))
    return found


def test_down_leaves_nothing(lab) -> None:
    before = host_state()  # the lab runs already: it must not show
    lab.run_pod("web", image="nginx")
    assert host_state() == before
    assert of_lab(lab.paths)
    assert lab.stockade("down", "--name", lab.name).returncode == 0
    assert host_state() == before
    assert stockade_processes(lab) == []
    assert not lab.paths.directory.exists()
    assert not lab.paths.starting.exists()


def test_kill_of_the_daemon_leaves_nothing_but_its_directory(lab) -> None:
    before = host_state()
    lab.run_pod("web", image="nginx")
    first = first_process(lab.paths)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while (is_running(lab.paths) or stockade_processes(lab)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stockade_processes(lab) == []
    assert host_state() == before
    again = lab.stockade("up", "--name", lab.name)
    assert again.returncode == 0, again.stderr


def test_files_are_private_and_the_api_wants_a_token(lab) -> None:
    assert stat.S_IMODE(lab.paths.kubeconfig.stat().st_mode) == 0o600
    for entry in lab.paths.directory.rglob("*"):
        assert stat.S_IMODE(entry.stat().st_mode) & 0o077 == 0 or entry.is_symlink(), entry
    anonymous = lab.try_kubectl("get", "pods", "--token=wrong")
    assert anonymous.returncode == 1
    assert "Unauthorized" in anonymous.stderr or "logged in" in anonymous.stderr


def test_one_clear_line_each(lab, tmp_path: Path) -> None:
    down = f"stop it with: stockade down --name {lab.name}\n"
    there = lab.stockade("up", "--name", lab.name)
    assert (there.returncode, there.stdout) == (0, f"export KUBECONFIG={lab.paths.kubeconfig}\n")
    assert there.stderr == f"lab '{lab.name}' is already running; {down}"
    other = lab.stockade("up", "--name", lab.name, "--nodes", "2")
    assert other.returncode == 2
    assert other.stderr == f"stockade: a lab named '{lab.name}' is already running, with 1 node; {down}"
    fresh = lab.stockade("up", "--name", lab.name, "--fresh")
    assert (fresh.returncode, fresh.stderr) == (2, f"stockade: a lab named '{lab.name}' is running; {down}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        busy = lab.stockade("up", "--name", "other", "--port", str(port))
    assert busy.returncode == 2
    assert busy.stderr == f"stockade: port {port} of 127.0.0.1 is already in use; choose another --port\n"
    empty = {**lab.env, "PATH": str(tmp_path)}
    code = (
        "import stockade.lab.preflight as p; p.SEARCH_PATH = ''; from stockade.cli.main import cli; "
        "cli(['up', '--name', 'other'])"
    )
    without = subprocess.run(
        [sys.executable, "-c", code], env=empty, capture_output=True, text=True, timeout=30, check=False
    )
    assert (without.returncode, without.stderr) == (
        2,
        "stockade: nft is not installed; run: apt-get install nftables\n",
    )
    missing = lab.stockade("down", "--name", "nosuch")
    assert (missing.returncode, missing.stderr) == (2, "stockade: there is no lab named 'nosuch'\n")


def test_without_privileges(lab) -> None:
    command = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        sys.executable,
        "-m",
        "stockade.cli.main",
        "up",
    ]
    done = subprocess.run(command, env=lab.env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "stockade: a lab without root needs a user namespace with all its rights, and root of"
    )
    assert done.stderr.endswith(" or with SETUID, SETGID and SETFCAP\n")
    assert done.stderr.count("\n") == 1
    assert not LabPaths.of("lab", lab.paths.root).directory.exists()


def test_two_starts_of_one_name_at_the_same_moment(tmp_path: Path) -> None:
    """One lab, one clear refusal; the loser leaves the winner's lab alone."""
    if reason := missing_requirement():
        pytest.skip(reason)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "stockade.cli.main"]
    name = f"twice-{os.getpid()}"
    starts = [
        subprocess.Popen(
            [*command, "up", "--name", name],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        ends = sorted((start.communicate(timeout=60)[1], start.returncode) for start in starts)
        assert sorted(status for _, status in ends) == [0, 2], ends
        refusal = next(text for text, status in ends if status == 2)
        assert refusal.count("\n") == 1
        assert "is being started by another command" in refusal or "is already running" in refusal
        status = subprocess.run(
            [*command, "status", "--name", name], env=env, capture_output=True, check=False
        )
        assert status.returncode == 0, "the lab that was started runs"
    finally:
        subprocess.run([*command, "down", "--name", name], env=env, capture_output=True, check=False)


def test_a_start_that_takes_too_long_is_over_when_it_says_so(tmp_path: Path) -> None:
    if reason := missing_requirement():
        pytest.skip(reason)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "stockade.cli.main"]
    name = f"slow-{os.getpid()}"
    up = [*command, "up", "--name", name, "--timeout", "0.01"]
    late = subprocess.run(up, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (late.returncode, late.stdout) == (2, "")
    assert late.stderr.startswith("stockade: the lab was not ready after 0.01 s")
    log = tmp_path / "stockade/labs" / name / "daemon.log"
    assert (f"its log: {log}" in late.stderr) == log.exists(), "what is to be read is there"
    status = subprocess.run([*command, "status", "--name", name], env=env, capture_output=True, check=False)
    assert status.returncode == 1
    assert not [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _names(entry, name)]


def _names(entry: Path, name: str) -> bool:
    try:
        return name.encode() in (entry / "cmdline").read_bytes()
    except OSError:
        return False
