"""Bad policies through real kubectl: what a real cluster shows, exit status 1, nothing stored (reference semantics 1.2-1.4)."""

from __future__ import annotations

import pytest

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
    "unknown field": (
        HEAD + "  ingres: []\n",
        (
            'Error from server (BadRequest): error when creating "STDIN": NetworkPolicy in version "v1" cannot be '
            'handled as a NetworkPolicy: strict decoding error: unknown field "spec.ingres"\n'
        ),
    ),
    "except outside cidr": (
        HEAD + "  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]\n",
        (
            'The NetworkPolicy "p" is invalid: spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": '
            "must be a strict subset of `cidr`\n"
        ),
    ),
}


def test_kubectl_shows_what_a_cluster_shows(lab) -> None:
    for name, (manifest, expected) in CASES.items():
        done = lab.try_kubectl("apply", "-f", "-", stdin=manifest)
        assert (name, done.stderr, done.returncode) == (name, expected, 1)
    broken = lab.try_kubectl("apply", "-f", "-", stdin=HEAD + "  egress: [\n")
    assert broken.returncode == 1
    assert "error converting YAML to JSON" in broken.stderr
    assert lab.get("networkpolicies", "-A")["items"] == []
