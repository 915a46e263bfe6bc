"""``stockade demo``: the door for a new reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from stockade.cli.main import cli
from stockade.lab.preflight import missing_requirement

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


def test_the_demo_plays_the_recipe_and_cleans_up(tmp_path: Path) -> None:
    if reason := missing_requirement():
        pytest.skip(reason)
    picture = tmp_path / "demo.svg"
    command = [sys.executable, "-m", "stockade.cli.main", "demo", "--svg", str(picture)]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if "│" in line and "foo-deny-egress" in line]
    assert sum("denied" in row for row in rows) == 6
    assert sum("allowed" in row for row in rows) == 1
    for line in (
        "wget: bad address 'web:80'",
        "wget: download timed out",
        "PING google.com (74.125.129.101)",
    ):
        assert line in done.stdout
    svg = picture.read_text()
    assert svg.startswith("<svg")
    assert "@font-face" not in svg, "the picture must load nothing from elsewhere"
    assert list((tmp_path / "stockade" / "labs").iterdir()) == []


def test_the_list_and_a_name_that_is_none() -> None:
    listed = CliRunner().invoke(cli, ["demo", "--list"])
    assert listed.exit_code == 0
    assert len(listed.stdout.splitlines()) == 15
    assert "11  deny-egress                   DENY egress traffic from an application\n" in listed.stdout
    unknown = CliRunner().invoke(cli, ["demo", "no-such-recipe"])
    assert unknown.exit_code == 2
    assert "there is no recipe 'no-such-recipe'" in unknown.stderr
