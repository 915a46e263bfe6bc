"""``check`` and ``explain`` on manifests: verdict, exit status, what the application prints, and errors with their place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockade.cli.main import cli
from stockade.lab.demo.recipes.deny_egress import ALLOW_DNS, DENY_ALL

WORLD = """\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.7.7, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: test, labels: {app: foo}}
spec: {containers: [{name: c, image: alpine}]}
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    (tmp_path / "world.yaml").write_text(WORLD)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_check_says_it_by_exit_status(manifests: Path) -> None:
    question = ("check", "pod/test", "svc/web:80", "-f", str(manifests))
    allowed = run(*question)
    assert (allowed.exit_code, allowed.stdout) == (0, "allowed\n")
    (manifests / "policy.yaml").write_text(DENY_ALL)
    denied = run(*question)
    assert denied.exit_code == 1
    assert denied.stdout.startswith("denied: ")
    assert "default/foo-deny-egress" in denied.stdout


def test_explain_names_the_lookup_first(manifests: Path) -> None:
    (manifests / "policy.yaml").write_text(DENY_ALL)
    text = run("explain", "pod/test", "http://web:80/", "-f", str(manifests))
    assert text.exit_code == 1
    assert "1. lookup of web: fails" in text.stdout
    assert "Cause: lookup of web" in text.stdout
    assert "    wget: bad address 'web:80'\n" in text.stdout


def test_explain_with_dns_allowed_names_the_connection_and_warns(manifests: Path) -> None:
    (manifests / "policy.yaml").write_text(ALLOW_DNS)
    text = run("explain", "pod/test", "http://web", "-f", str(manifests))
    assert text.exit_code == 1
    assert "    Connecting to web (10.96.7.7:80)\n    wget: download timed out\n" in text.stdout
    assert "Warning: " in text.stdout
    assert "53" in text.stdout.partition("Warning: ")[2]


def test_explain_as_json(manifests: Path) -> None:
    (manifests / "policy.yaml").write_text(DENY_ALL)
    data = json.loads(run("explain", "pod/test", "http://web:80/", "-f", str(manifests), "-o", "json").stdout)
    assert data["allowed"] is False
    assert data["symptom"] == ["wget: bad address 'web:80'"]
    assert [step["kind"] for step in data["steps"]] == ["lookup", "translate", "connect"]
    proof = data["steps"][0]["attempts"][0]
    assert proof["egress"]["isolated_by"] == ["default/foo-deny-egress"]


def test_bad_manifests_end_with_their_place_and_status_2(manifests: Path) -> None:
    bad = manifests / "policy.yaml"
    bad.write_text(DENY_ALL.replace("- Egress", "- egress"))
    result = run("check", "pod/test", "svc/web:80", "-f", str(manifests))
    assert result.exit_code == 2
    assert f"{bad}:10:5: error: NetworkPolicy foo-deny-egress: spec.policyTypes[0]:" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pod/nosuch", "svc/web:80"), "pod default/nosuch does not exist"),
        (("pod/test", "svc/nosuch:80"), "nosuch"),
        (("pod/test", "http://web:80/", "--resolve", "x"), "--resolve x: write NAME=IP"),
    ],
)
def test_bad_references_are_one_clear_line(manifests: Path, arguments: tuple[str, ...], says: str) -> None:
    result = run("check", *arguments, "-f", str(manifests))
    assert result.exit_code == 2
    assert result.stderr.startswith("stockade: ")
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_without_files_and_without_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = run("check", "pod/test", "svc/web:80")
    assert result.exit_code == 2
    assert "or name manifests with -f" in result.stderr


@pytest.mark.parametrize(
    "name",
    ["check", "explain", "up", "down", "status", "kubeconfig", "image", "drops", "agent", "demo", "outside"],
)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = run(name, "--help") if name != "image" else run("image", "load", "--help")
    assert result.exit_code == 0
    assert "Example" in result.output


BLOCK = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: block}
spec:
  podSelector: {matchLabels: {app: foo}}
  policyTypes: [Egress]
  egress:
  - ports: [{port: 53, protocol: UDP}]
  - to: [{ipBlock: {cidr: 198.51.100.0/24}}]
"""


@pytest.mark.parametrize("command", ["check", "explain"])
def test_an_unknown_address_that_decides_leaves_it_undecided(manifests: Path, command: str) -> None:
    (manifests / "policy.yaml").write_text(BLOCK)
    question = (command, "pod/test", "http://elsewhere.example/", "-f", str(manifests))
    found = run(*question)
    assert found.exit_code == 2
    assert "undecided" in found.stdout.lower()
    assert "elsewhere.example=IP" in found.stdout
    assert "203.0.113.1" not in found.output
    assert run(*question, "--resolve", "elsewhere.example=198.51.100.9").exit_code == 0
    assert run(*question, "--resolve", "elsewhere.example=192.0.2.9").exit_code == 1


def test_check_warns_on_stderr(manifests: Path) -> None:
    (manifests / "policy.yaml").write_text(ALLOW_DNS)
    found = run("check", "pod/test", "http://web", "-f", str(manifests))
    assert "warning: default/foo-deny-egress egress[0] allows port 53 of every host" in found.stderr
    assert "warning" not in found.stdout


def test_a_pod_without_an_address_has_a_placeholder(manifests: Path) -> None:
    found = run("explain", "pod/test", "pod/web", "-f", str(manifests))
    assert "Connecting to <pod IP>:80 (<pod IP>:80)" in found.stdout


def test_a_file_that_may_not_be_read_is_one_line_and_never_a_verdict(tmp_path: Path) -> None:
    """Exit status 1 would say "denied"."""
    command = [sys.executable, "-m", "stockade.cli.main", "check", "pod/a", "pod/b"]
    done = subprocess.run(
        command,
        env={"KUBECONFIG": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("stockade: ")


def test_an_unknown_address_that_decides_leaves_the_answer_undecided(manifests: Path) -> None:
    """Whether an outside name is in a block depends on its address: no verdict, no patch, exit status 2, until somebody says it."""
    only_a_block = DENY_ALL.replace(
        "egress: []",
        "egress: [{to: [{ipBlock: {cidr: 93.184.216.0/24}}]}, {ports: [{port: 53, protocol: UDP}]}]",
    )
    (manifests / "policy.yaml").write_text(only_a_block)
    question = ("pod/test", "https://www.example.org/", "-f", str(manifests))
    for command in (("check", *question), ("explain", *question), ("explain", *question, "-o", "patch")):
        result = run(*command)
        assert result.exit_code == 2, command
        assert "undecided" in result.output.lower(), command
        assert "203.0.113.1" not in result.output, command
    assert run("check", *question, "--resolve", "www.example.org=93.184.216.9").exit_code == 0
    assert run("check", *question, "--resolve", "www.example.org=198.51.100.9").exit_code == 1


def test_each_address_family_is_judged_by_itself(manifests: Path) -> None:
    dual = WORLD.replace(
        "spec: {containers: [{name: web",
        "status: {podIPs: [{ip: 10.1.0.1}, {ip: 'fd00::1'}]}\nspec: {containers: [{name: web",
    ).replace(
        "spec: {containers: [{name: c,",
        "status: {podIPs: [{ip: 10.1.0.2}, {ip: 'fd00::2'}]}\nspec: {containers: [{name: c,",
    )
    (manifests / "world.yaml").write_text(dual)
    (manifests / "policy.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: v4}\n"
        "spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}\n"
    )
    assert run("check", "pod/test", "10.1.0.1:80", "-f", str(manifests)).exit_code == 0
    assert run("check", "pod/test", "[fd00::1]:80", "-f", str(manifests)).exit_code == 1
