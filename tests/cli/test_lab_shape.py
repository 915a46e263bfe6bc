"""Which lab ``stockade up`` starts, beside what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockade.cli import lab_shape
from stockade.cli.failure import Failure
from stockade.cli.lab_shape import Asked, check_running, held_settings
from stockade.lab.paths import LabPaths
from stockade.lab.settings import Settings, write

HELD = Settings(2, "dual", 6000, ["--denied", "reject"])


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = LabPaths.of("t1")
    made.make()
    return made


@pytest.mark.parametrize(
    ("asked", "started"),
    [
        (Asked(), HELD),
        (Asked(nodes=2, ip_family="dual"), HELD),
        (Asked(ip_family="auto"), HELD),
        (Asked(port=7000), Settings(2, "dual", 7000, ["--denied", "reject"])),
        (Asked(port=0), Settings(2, "dual", 0, ["--denied", "reject"])),
        (Asked(agent_options=[]), Settings(2, "dual", 6000, [])),
    ],
)
def test_a_restored_lab_is_as_before(paths, asked, started) -> None:
    assert asked.like(paths, HELD) == started


@pytest.mark.parametrize(
    ("asked", "what"), [(Asked(nodes=1), "with 2 nodes"), (Asked(ip_family="ipv4"), "with IPv4 and IPv6")]
)
def test_objects_of_another_lab(paths, asked, what) -> None:
    with pytest.raises(
        Failure, match=f"are of a lab {what}; restore it with: stockade up --name t1; or .*--fresh"
    ):
        asked.like(paths, HELD)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (Asked(), ""),
        (Asked(nodes=2, port=6000, agent_options=["--denied", "reject"]), ""),
        (Asked(port=0), ""),
        (Asked(nodes=3), "with 2 nodes"),
        (Asked(port=7000), "on port 6000"),
        (Asked(agent_options=[]), "with other --agent-options"),
    ],
)
def test_a_lab_that_runs(paths, asked, what) -> None:
    write(paths, HELD)
    if what:
        with pytest.raises(
            Failure, match=f"is already running, {what}; stop it with: stockade down --name t1"
        ):
            check_running(paths, asked, fresh=False)
    else:
        check_running(paths, asked, fresh=False)
    with pytest.raises(Failure, match="is running; stop it"):
        check_running(paths, asked, fresh=True)


def test_what_is_held(paths) -> None:
    assert held_settings(paths) is None
    write(paths, HELD)
    assert held_settings(paths) is None, "nothing was stored"
    paths.database.touch()
    assert held_settings(paths) == HELD
    paths.settings.unlink()
    with pytest.raises(Failure, match="but not how it was started; start anew"):
        held_settings(paths)


@pytest.mark.parametrize(("kernel", "families"), [(True, "dual"), (False, "ipv4")])
def test_a_new_lab(monkeypatch, kernel, families) -> None:
    monkeypatch.setattr(lab_shape, "has_ipv6", lambda: kernel)
    assert Asked().of_new() == Settings(1, families, 0)
    assert Asked(nodes=3, ip_family="ipv4", port=1).of_new() == Settings(3, "ipv4", 1)


@pytest.mark.parametrize(
    ("wanted", "has_ipv6", "expected", "says"),
    [
        ("auto", True, "dual", ""),
        ("dual", True, "dual", ""),
        ("ipv4", True, "ipv4", ""),
        ("ipv4", False, "ipv4", ""),
        ("auto", False, "ipv4", "this machine's kernel has no IPv6: the lab has IPv4 alone\n"),
    ],
)
def test_families(monkeypatch, capsys, wanted, has_ipv6, expected, says) -> None:
    monkeypatch.setattr(lab_shape, "has_ipv6", lambda: has_ipv6)
    assert lab_shape._families(wanted) == expected
    assert capsys.readouterr().err == says


def test_what_cannot_be_had_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(lab_shape, "has_ipv6", lambda: False)
    with pytest.raises(Failure, match="no IPv6; run: stockade up --ip-family ipv4"):
        lab_shape._families("dual")
