"""What real kubectl prints when it talks to the lab's API server."""

from __future__ import annotations

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: foo-deny-egress
spec:
  podSelector:
    matchLabels:
      app: foo
  policyTypes:
  - Egress
  egress: []
"""


async def test_apply_get_delete_policy(kubectl):
    made = await kubectl("apply", "-f", "-", stdin=POLICY)
    assert (made.code, made.err) == (0, "")
    assert made.out == "networkpolicy.networking.k8s.io/foo-deny-egress created\n"
    listed = await kubectl("get", "netpol")
    assert listed.out.split()[:5] == ["NAME", "POD-SELECTOR", "AGE", "foo-deny-egress", "app=foo"]
    gone = await kubectl("delete", "networkpolicy", "foo-deny-egress")
    assert gone.code == 0
    assert gone.out.startswith('networkpolicy.networking.k8s.io "foo-deny-egress" deleted')
    empty = await kubectl("get", "netpol")
    assert "No resources found" in empty.err
