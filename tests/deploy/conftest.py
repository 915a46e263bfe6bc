"""The shell steps of a composite action, run one after the other as a runner does: with files for environment, path and outputs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


class Runner:
    """A job: what one action leaves in GITHUB_ENV and GITHUB_PATH is there for the next."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self.env = {**os.environ, "RUNNER_TEMP": str(temp)}
        self.env.pop("KUBECONFIG", None)

    def run(self, action: Path, **inputs: str) -> list[subprocess.CompletedProcess[str]]:
        """The steps that ran; the last one is the first that failed. ``with`` names its inputs with - for _."""
        said = yaml.safe_load(action.read_text())
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(given) <= set(said["inputs"]), "an input that the action does not have"
        values = {
            f"inputs.{name}": given.get(name, str(each.get("default", "")))
            for name, each in said["inputs"].items()
        }
        values["github.action_path"] = str(action.parent)
        done = []
        for step in said["runs"]["steps"]:
            done.append(self._step(step, values))
            if done[-1].returncode:
                break
        return done

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """A step of the user's own."""
        return subprocess.run(
            ["bash", "-c", command], env=self.env, capture_output=True, text=True, timeout=60, check=False
        )

    def _step(self, step: dict, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
        files = {name: self.temp / name.lower() for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT")}
        for file in files.values():
            file.write_text("")
        env = {
            name: EXPRESSION.sub(lambda m: values.get(m[1], ""), text) for name, text in step["env"].items()
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            env={**self.env, **env, **{name: str(file) for name, file in files.items()}},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.env.update(line.split("=", 1) for line in files["GITHUB_ENV"].read_text().splitlines())
        for line in files["GITHUB_PATH"].read_text().splitlines():
            self.env["PATH"] = f"{line}{os.pathsep}{self.env['PATH']}"
        for line in files["GITHUB_OUTPUT"].read_text().splitlines():
            name, value = line.split("=", 1)
            values[f"steps.{step['id']}.outputs.{name}"] = value
        return done


@pytest.fixture
def job(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("job"))
