"""View of networking.k8s.io/v1 NetworkPolicy (reference semantics 1.1).

``None`` and empty differ where the API says so: a peer's ``pod_selector`` of ``None`` is "not given", an empty
LabelSelector is "all"; absent and empty lists of rules, peers and ports are the same thing.
"""

from __future__ import annotations

import msgspec

from stockade.model.meta import ObjectMeta, ObjectRef, View
from stockade.model.selectors import LabelSelector

INGRESS, EGRESS = "Ingress", "Egress"


class IPBlock(View, frozen=True, kw_only=True):
    cidr: str = ""
    except_: list[str] | None = msgspec.field(name="except", default=None)


class NetworkPolicyPeer(View, frozen=True, kw_only=True):
    """Exactly one of ip_block, or any of the two selectors (both: AND, rule 15)."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyPort(View, frozen=True, kw_only=True):
    """``port`` absent: all ports of ``protocol``; a string is a container port's name (rule 25)."""

    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None


class IngressRule(View, frozen=True, kw_only=True):
    from_: list[NetworkPolicyPeer] | None = msgspec.field(name="from", default=None)
    ports: list[NetworkPolicyPort] | None = None

    @property
    def peers(self) -> list[NetworkPolicyPeer]:
        return self.from_ or []


class EgressRule(View, frozen=True, kw_only=True):
    to: list[NetworkPolicyPeer] | None = None
    ports: list[NetworkPolicyPort] | None = None

    @property
    def peers(self) -> list[NetworkPolicyPeer]:
        return self.to or []


class NetworkPolicySpec(View, frozen=True, kw_only=True):
    pod_selector: LabelSelector | None = None
    policy_types: list[str] | None = None
    ingress: list[IngressRule] | None = None
    egress: list[EgressRule] | None = None


class NetworkPolicy(View, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: NetworkPolicySpec = NetworkPolicySpec()

    @property
    def ref(self) -> ObjectRef:
        return self.metadata.ref

    @property
    def pod_selector(self) -> LabelSelector:
        """Absent or null selects every pod of the namespace (rule 7)."""
        return self.spec.pod_selector or LabelSelector()

    @property
    def directions(self) -> frozenset[str]:
        """policyTypes with the API's default: Ingress, plus Egress when there are egress rules (1.1)."""
        if self.spec.policy_types:
            return frozenset(self.spec.policy_types)
        return frozenset({INGRESS, EGRESS} if self.spec.egress else {INGRESS})
