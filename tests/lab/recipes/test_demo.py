"""``stockade demo``: the door for a new reader. What it plays unasked is played by test_recipes.py, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from stockade.cli.demo import command
from stockade.cli.main import cli
from stockade.lab.demo.recipes import by_name
from stockade.lab.preflight import missing_requirement

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


def test_the_demo_plays_the_recipe_and_cleans_up(tmp_path: Path) -> None:
    if reason := missing_requirement():
        pytest.skip(reason)
    picture = tmp_path / "demo.svg"
    line = [sys.executable, "-m", "stockade.cli.main", "demo", "4", "--svg", str(picture)]
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "XDG_STATE_HOME": str(tmp_path),
        "HOME": str(tmp_path),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if "│" in line and "deny-from-other" in line]
    assert ["denied" in row for row in rows] == [True, False]
    for line in ("wget: download timed out", "<title>Welcome to nginx!</title>"):
        assert line in done.stdout
    svg = picture.read_text()
    assert svg.startswith("<svg")
    assert "@font-face" not in svg, "the picture must load nothing from elsewhere"
    assert list((tmp_path / "stockade" / "labs").iterdir()) == []


def test_unasked_it_plays_the_recipe_of_the_front_page() -> None:
    default = next(p.default for p in command.params if p.name == "name")
    assert by_name(str(default)).name == "deny-egress"


def test_the_list_and_a_name_that_is_none() -> None:
    listed = CliRunner().invoke(cli, ["demo", "--list"])
    assert listed.exit_code == 0
    assert len(listed.stdout.splitlines()) == 15
    assert "11  deny-egress                   DENY egress traffic from an application\n" in listed.stdout
    unknown = CliRunner().invoke(cli, ["demo", "no-such-recipe"])
    assert unknown.exit_code == 2
    assert "there is no recipe 'no-such-recipe'" in unknown.stderr
