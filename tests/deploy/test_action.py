"""The GitHub Action: its form, and its shell steps really run against a lab."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from stockade.lab.preflight import missing_requirement

ROOT = Path(__file__).parents[2] / "deploy" / "action"
UP, DOWN = ROOT / "action.yml", ROOT / "down" / "action.yml"
PROGRAMS = str(Path(sys.executable).parent)  # stockade and kubectl
MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec: {containers: [{name: client, image: alpine, command: [sleep, "600"]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: []}
"""
TEST = "namespace: shop\ntests:\n- {from: pod/client, to: pod/web, port: 80, expect: %s}\n"
lab = pytest.mark.skipif(bool(missing_requirement()), reason=str(missing_requirement()))


@pytest.mark.parametrize("path", [UP, DOWN], ids=["up", "down"])
def test_form(path):
    """The metadata syntax of composite actions; and no input is ever part of a shell text."""
    action = yaml.safe_load(path.read_text())
    assert set(action) <= {"name", "description", "author", "branding", "inputs", "outputs", "runs"}
    assert action["runs"]["using"] == "composite"
    for each in action["inputs"].values():
        assert set(each) <= {"description", "required", "default"}
        assert isinstance(each["default"], str), "inputs are text"
    used = set()
    for step in action["runs"]["steps"]:
        assert set(step) <= {"name", "id", "if", "shell", "env", "run"}
        assert step["shell"] == "bash"
        assert step["run"].startswith("set -euo pipefail\n")
        assert "${{" not in step["run"]
        used |= set(re.findall(r"inputs\.([\w-]+)", str(step["env"])))
    assert used == set(action["inputs"]), "an input that nothing reads"


@pytest.mark.lab
@lab
def test_a_job(job, tmp_path):
    job.env["PATH"] = f"{PROGRAMS}{os.pathsep}{job.env['PATH']}"
    files = tmp_path / "with space"
    files.mkdir()
    (files / "objects.yaml").write_text(MANIFESTS)
    (files / "good.yaml").write_text(TEST % "denied")
    (files / "bad.yaml").write_text(TEST % "allowed")
    (files / "rootfs" / "bin").mkdir(parents=True)
    report = files / "report.xml"
    try:
        done = job.run(
            UP,
            install="none",
            name="a-job",
            ip_family="ipv4",
            images=f"mine/own={files}/rootfs\n",
            apply=f"{files}/objects.yaml\n",
            tests=f"{files}/good.yaml\n\n{files}/bad.yaml\n",
            report=str(report),
        )
        *good, last = done
        assert [step.returncode for step in good] == [0] * 4, last.stderr
        assert last.returncode == 1, last.stderr
        assert report.read_text() == last.stdout
        assert "expected allowed, is denied" in last.stdout
        assert "isolated by shop/nobody" in last.stdout
        kubeconfig = Path(job.env["KUBECONFIG"])
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        assert "mine/own" in job.shell("stockade-lab image list").stdout
        assert "ready" in job.shell("kubectl get --raw=/readyz || true; kubectl get nodes").stdout.lower()
    finally:
        (ended,) = job.run(DOWN, name="a-job", logs=str(files / "logs"))
    assert ended.returncode == 0, ended.stderr
    assert (files / "logs" / "daemon.log").exists()
    assert "not running" in job.shell("stockade-lab status --name a-job").stdout
    (again,) = job.run(DOWN, name="a-job")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "no lab runs")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"install": "pypi"}, "version must be an exact version"),
        ({"install": "pypi", "version": "1.0; id"}, "version must be an exact version"),
        ({"install": "other"}, "install must be action, pypi or none"),
        ({"install": "action", "python": "false"}, "Python 3.11 or newer is needed"),
    ],
)
def test_what_cannot_be_installed(job, inputs, text):
    (done,) = job.run(UP, **inputs)
    assert done.returncode == 2
    assert done.stdout.startswith("::error::")
    assert text in done.stdout


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ({"install": "pypi", "version": "1.2.3rc1"}, "stockade[agent,lab]==1.2.3rc1"),
        ({}, f"{ROOT.parents[1]}[agent,lab]"),
    ],
)
def test_what_is_installed(job, tmp_path, inputs, wanted):
    """With an interpreter that makes no environment, but writes down what it was asked."""
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/bash
echo "$@" >>{tmp_path}/asked
[ "$2" = venv ] || exit 0
mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/stockade"
""")
    python.chmod(0o755)
    (done, *_) = job.run(UP, python=str(python), **inputs)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[1].startswith("-m venv ")
    assert asked[2].startswith("-m pip install")
    assert asked[2].endswith(f"-- {wanted}")
    assert str(job.temp / "stockade/bin") in job.env["PATH"].split(os.pathsep)


@pytest.mark.lab
@lab
def test_inputs_are_no_shell(job, tmp_path):
    job.env["PATH"] = f"{PROGRAMS}{os.pathsep}{job.env['PATH']}"
    trap = f"$(touch {tmp_path}/trap)`touch {tmp_path}/trap`;touch {tmp_path}/trap"
    for name in ("name", "nodes", "ip_family", "images", "install"):
        inputs = {"install": "none", name: f"x{trap}"}
        assert job.run(UP, **inputs)[-1].returncode != 0
    assert job.run(DOWN, name=trap, logs=str(tmp_path / trap.replace("/", "_")))[-1].returncode == 0
    assert not (tmp_path / "trap").exists()


def test_down_without_a_lab(job):
    (done,) = job.run(DOWN)
    assert (done.returncode, done.stdout) == (0, "there is no lab: the action did not get so far\n")
