"""The recipe's four stages as files: cause, symptom, warning and change, as ``stockade explain`` prints them; and the change, applied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stockade.cli.main import cli
from stockade.lab.demo.recipes.deny_egress import ALLOW_DNS, DENY_ALL, POLICY
from stockade.manifests.load import load, load_text
from stockade.model.meta import ObjectRef
from stockade.store.state import ClusterState
from stockade.testing.pairs import Key, allowed_flows, around, mentioned_ports

WORLD = """\
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
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
---
apiVersion: v1
kind: Pod
metadata: {name: other, labels: {app: other}}
spec: {containers: [{name: c, image: alpine}]}
---
apiVersion: v1
kind: Pod
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {containers: [{name: dns, image: coredns}]}
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  selector: {k8s-app: kube-dns}
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
"""
KUBE_DNS = (
    POLICY
    + """\
  egress:
  - to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
    ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
"""
)
HEAD = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-test-to-web-80
  namespace: default
spec:
  podSelector:
    matchLabels:
      app: foo
  policyTypes:
  - Egress
  egress:
"""
LOOKUP_RULE = """\
  - to:
    - podSelector:
        matchLabels:
          k8s-app: kube-dns
      namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
"""
WEB_RULE = """\
  - to:
    - podSelector:
        matchLabels:
          app: web
    ports:
    - protocol: TCP
      port: 80
"""
TIMED_OUT = "    Connecting to web:80 (10.96.7.7:80)\n    wget: download timed out\n"
TEST, WEB, DNS = (
    ObjectRef("default", "test"),
    ObjectRef("default", "web"),
    ObjectRef("kube-system", "kube-dns"),
)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(arguments), input=stdin)


def explain(tmp_path: Path, policy: str, *more: str) -> Result:
    (tmp_path / "world.yaml").write_text(WORLD)
    if policy:
        (tmp_path / "policy.yaml").write_text(policy)
    return run("explain", "pod/test", "http://web:80", "-f", str(tmp_path), *more)


def test_no_policy_needs_no_change(tmp_path: Path) -> None:
    said = explain(tmp_path, "")
    assert said.exit_code == 0
    assert "ALLOWED" in said.stdout
    assert "change" not in said.stdout
    patch = explain(tmp_path, "", "-o", "patch")
    assert (patch.exit_code, patch.stdout) == (0, "")
    assert patch.stderr == "stockade: nothing to change, it is allowed already\n"
    assert json.loads(explain(tmp_path, "", "-o", "json").stdout)["remedy"] is None


@pytest.mark.parametrize(
    ("policy", "cause", "symptom", "warning", "change"),
    [
        (
            DENY_ALL,
            (
                "lookup of web: pod default/test -> pod kube-system/kube-dns UDP 53: denied, egress of pod default/test: isolated"
                " by default/foo-deny-egress, which has no egress rules"
            ),
            "    wget: bad address 'web:80'\n",
            "",
            HEAD + LOOKUP_RULE + WEB_RULE,
        ),
        (
            ALLOW_DNS,
            "connection to web TCP 80: pod default/test -> pod default/web TCP 80: denied",
            TIMED_OUT,
            "Warning: default/foo-deny-egress egress[0] allows port 53 of every host, not only of kube-dns",
            HEAD + WEB_RULE,
        ),
        (
            KUBE_DNS,
            "connection to web TCP 80: pod default/test -> pod default/web TCP 80: denied",
            TIMED_OUT,
            "",
            HEAD + WEB_RULE,
        ),
    ],
    ids=["deny-all", "dns-to-anywhere", "dns-to-kube-dns"],
)
def test_cause_symptom_warning_and_change(
    tmp_path: Path, policy: str, cause: str, symptom: str, warning: str, change: str
) -> None:
    said = explain(tmp_path, policy)
    assert said.exit_code == 1
    assert f"Cause: {cause}" in said.stdout
    assert f"The application prints:\n{symptom}" in said.stdout
    assert ("Warning: " in said.stdout) == bool(warning)
    assert warning in said.stdout
    assert (
        f"\nSmallest change that allows it:\n{change}To apply it, add `-o patch | kubectl apply -f -`"
        in said.stdout
    )
    assert "Note: " not in said.stdout

    patch = explain(tmp_path, policy, "-o", "patch")
    assert patch.exit_code == 0
    assert patch.stdout == f"# Allows pod default/test → http://web:80\n{change}"
    assert patch.stderr == ""

    data = json.loads(explain(tmp_path, policy, "-o", "json").stdout)["remedy"]
    assert (data["complete"], data["also"], data["notes"]) == (True, [], [])
    (loaded,) = load_text(change).objects
    assert [loaded.raw] == data["manifests"]


def everything(*files: Path) -> set[Key]:
    loaded = load([str(file) for file in files])
    assert not loaded.has_errors
    state = ClusterState.of(each.view for each in loaded.objects)
    ports = mentioned_ports(state.policies.values()) | around([53, 80, 8080])
    return allowed_flows(state, ports, ("93.184.216.34", "10.96.7.7", "2001:db8::7"))


@pytest.mark.parametrize("policy", [DENY_ALL, ALLOW_DNS, KUBE_DNS], ids=["deny-all", "dns", "kube-dns"])
def test_the_change_applied_allows_exactly_that_path(tmp_path: Path, policy: str) -> None:
    patch = explain(tmp_path, policy, "-o", "patch").stdout
    before = everything(tmp_path)
    (tmp_path / "patch.yaml").write_text(patch)
    after = everything(tmp_path)
    lookups = [(TEST, DNS, "UDP", 53), (TEST, DNS, "TCP", 53)] if policy == DENY_ALL else []
    wanted = {(*key, family) for key in [(TEST, WEB, "TCP", 80), *lookups] for family in (4, 6)}
    assert after - before == wanted
    assert not before - after
    assert run("check", "pod/test", "http://web:80", "-f", str(tmp_path)).exit_code == 0


def lines_of(text: str, start: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line.startswith(start))


def test_what_is_not_enough_ends_with_1_and_says_why_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(WORLD)
    (tmp_path / "policy.yaml").write_text(DENY_ALL)
    patch = run("explain", "pod/test", "http://nosuch.example/", "-f", str(tmp_path), "-o", "patch")
    assert patch.exit_code == 1
    comments = list(lines_of(patch.stdout, "# "))
    assert comments[0] == "# Not enough by itself to allow pod default/test → http://nosuch.example/"
    assert "the address of nosuch.example is not known here" in comments[1]
    assert "the address of nosuch.example is not known here" in patch.stderr
    assert not load_text(patch.stdout).has_errors
    said = run("explain", "pod/test", "icmp://web", "-f", str(tmp_path))
    assert "\nSmallest change towards it (not enough by itself, see the notes):\n" in said.stdout
    ping = run("explain", "pod/test", "93.184.216.34:443", "-f", str(tmp_path), "-o", "patch")
    assert ping.exit_code == 0


def test_nothing_a_user_types_becomes_a_line_of_the_patch(tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(WORLD)
    (tmp_path / "policy.yaml").write_text(DENY_ALL)
    patch = run("explain", "pod/test", "http://web:80/\nkind: Secret", "-f", str(tmp_path), "-o", "patch")
    assert [each.kind for each in load_text(patch.stdout).objects] == ["NetworkPolicy"]
    assert "\nkind: Secret" not in patch.stdout
    assert patch.stdout.startswith("# Allows pod default/test → http://web:80/\\x0akind: Secret\n")
