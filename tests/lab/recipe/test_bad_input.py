"""Bad policies through real kubectl, newest and oldest: what a real cluster shows, exit status 1, nothing stored and nothing
changed in the kernel (reference semantics 1.2-1.4)."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from stockade.lab.preflight import SEARCH_PATH

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
HEAD = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: p
spec:
  podSelector: {}
"""
CASES = {
    "lower case policyTypes": (
        HEAD + "  policyTypes: [egress]\n",
        (
            'The NetworkPolicy "p" is invalid: spec.policyTypes[0]: Unsupported value: "egress": '
            'supported values: "Ingress", "Egress"\n'
        ),
    ),
    "port out of range": (
        HEAD + "  policyTypes: [Egress]\n  egress: [{ports: [{port: 70000}]}]\n",
        (
            'The NetworkPolicy "p" is invalid: spec.egress[0].ports[0].port: Invalid value: 70000: '
            "must be between 1 and 65535, inclusive\n"
        ),
    ),
    "unknown field": (HEAD + "  ingres: []\n", ""),
    "YAML syntax": (
        HEAD + "  egress: [\n",
        "error: error parsing STDIN: error converting YAML to JSON: yaml: line 7: did not find expected node content\n",
    ),
    "except outside cidr": (
        HEAD + "  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]\n",
        (
            'The NetworkPolicy "p" is invalid: spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": '
            "must be a strict subset of `cidr`\n"
        ),
    ),
}


UNKNOWN_FIELD = (
    'Error from server (BadRequest): error when creating "STDIN": NetworkPolicy in version "v1" cannot be '
    'handled as a NetworkPolicy: strict decoding error: unknown field "spec.ingres"\n'
)
UNKNOWN_FIELD_OLD = (
    'error: error validating "STDIN": error validating data: ValidationError(NetworkPolicy.spec): unknown field "ingres" in '
    "io.k8s.api.networking.v1.NetworkPolicySpec; if you choose to ignore these errors, turn validation off with "
    "--validate=false\n"
)
GOOD = HEAD + "  policyTypes: [Egress]\n"
SETTLE = 0.5  # seconds; a change that gets through is in the kernel after some milliseconds


def kernel_rules(lab) -> str:
    """With handles, which a rule that is taken out and put back would change; without counters."""
    nft = shutil.which("nft", path=SEARCH_PATH)
    command = ["nsenter", "-t", lab.paths.pid.read_text().strip(), "-n", nft]
    return subprocess.run(
        [*command, "--stateless", "--handle", "list", "table", "inet", "stockade"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_kubectl_shows_what_a_cluster_shows(each_kubectl) -> None:
    lab = each_kubectl
    lab.run_pod("foo")
    before = kernel_rules(lab)
    for name, (manifest, expected) in CASES.items():
        done = lab.try_kubectl("apply", "-f", "-", stdin=manifest)
        shown = expected or (UNKNOWN_FIELD_OLD if lab.old else UNKNOWN_FIELD)
        assert (name, done.stdout, done.stderr, done.returncode) == (name, "", shown, 1)
    assert lab.get("networkpolicies", "-A")["items"] == []
    time.sleep(SETTLE)
    assert kernel_rules(lab) == before
    lab.apply(GOOD)
    deadline = time.monotonic() + 10
    while kernel_rules(lab) == before:
        assert time.monotonic() < deadline, "the comparison does not see a policy that is in force"
        time.sleep(0.05)
