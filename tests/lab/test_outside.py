"""The client outside: what it refuses. What it reaches, recipe 08 shows (tests/lab/recipes)."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from stockade.cli.main import cli


@pytest.mark.parametrize(
    "url",
    [
        "203.0.113.1",
        "https://203.0.113.1/",
        "http://web/",
        "http:///",
        "http://203.0.113.1:99999/",
        "file:///etc/passwd",
    ],
)
def test_urls_that_are_none(url, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = CliRunner().invoke(cli, ["outside", url])
    assert result.exit_code == 2
    assert "not an http:// URL with an IP address" in result.stderr


def test_no_lab(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = CliRunner().invoke(cli, ["outside", "http://203.0.113.1/", "--name", "nothing"])
    assert result.exit_code == 2
    assert "lab 'nothing' is not running" in result.stderr
