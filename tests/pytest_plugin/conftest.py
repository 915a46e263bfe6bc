"""The plugin is tested as its users meet it: pytest run on a file of tests, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


class Runner:
    """Runs a file of tests with nothing loaded but the plugin."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def run(self, text: str, *options: str, **environment: str) -> pytest.RunResult:
        self._pytester.makepyfile(text)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return self._pytester.runpytest_subprocess(
                "-p", "stockade.pytest.plugin", "-q", *options, timeout=110
            )

    def write(self, name: str, text: str) -> None:
        path = self._pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def stockade(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stockade.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def plugin(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Runner:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # Labs are found by this; here and in the processes that are started.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("s")))
    return Runner(pytester)
