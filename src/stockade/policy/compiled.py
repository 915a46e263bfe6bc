"""The compiled form that ``evaluate`` and ``dataplane.lower`` both read. Values only; ``compile`` makes them.

Shape: pods of the state get an index (sorted by namespace/name); a selector peer is a bitmask over these indexes
(bit i = pod i); pods with the same applicable policies share one Profile per direction.
Cost: compile is O(policies x pods) label matches, cached by equal selectors; a Profile is shared, so memory grows with
distinct policy sets, not with pods.
"""

from __future__ import annotations

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.model.selectors import LabelSelector
from stockade.net.ranges import RangeSet


class SelectorPeer(msgspec.Struct, frozen=True):
    """Pods chosen by podSelector and/or namespaceSelector. ``key`` is equal for equal selections."""

    key: str
    pods: int  # bitmask over CompiledPolicies.pods; no hostNetwork, no finished pod (rules 38, 48)
    text: str  # for people: "pods app=web in namespaces team=a"
    in_namespaces: int = 0  # pods of the chosen namespaces, whatever their labels; for explanations only
    labelled: int = 0  # pods with the chosen labels, wherever they are; for explanations only


class Selection(msgspec.Struct, frozen=True):
    """What was written of a SelectorPeer with this key: pods of ``home`` (one namespace, when no namespaces were written), or of
    ``namespaces``; ``pods`` None is every pod of them."""

    key: str
    home: str
    pods: LabelSelector | None
    namespaces: LabelSelector | None


class BlockPeer(msgspec.Struct, frozen=True):
    """ipBlock minus its excepts as disjoint integer ranges of one family (rules 19-21)."""

    family: int  # 4 or 6
    ranges: RangeSet
    text: str  # "10.0.0.0/8 except 10.1.0.0/16"
    whole: RangeSet = RangeSet()  # before the excepts; for explanations only


class PortRange(msgspec.Struct, frozen=True):
    """Numeric ports ``lo..hi`` inclusive of one protocol; all ports of a protocol is 0..65535."""

    protocol: str  # TCP, UDP or SCTP
    lo: int
    hi: int


class NamedPort(msgspec.Struct, frozen=True):
    """Resolved on the destination pod by name and protocol (rules 25-27)."""

    protocol: str
    name: str


class RuleRef(msgspec.Struct, frozen=True, order=True):
    """``policy`` spec.<direction>[index]."""

    policy: ObjectRef
    direction: str  # model.netpol.INGRESS or EGRESS
    index: int

    def __str__(self) -> str:
        return f"{self.policy} {self.direction.lower()}[{self.index}]"


class CompiledRule(msgspec.Struct, frozen=True):
    """peers None: every source/destination. ports None: every port and every protocol, ICMP too (rule 33).
    An empty tuple matches nothing: that is what invalid content compiles to (rule 57)."""

    ref: RuleRef
    peers: tuple[SelectorPeer | BlockPeer, ...] | None
    ports: tuple[PortRange | NamedPort, ...] | None


class Profile(msgspec.Struct, frozen=True):
    """What one set of policies does to the pods they isolate in one direction. ``id`` is 12 hex digits of a content hash
    that is stable between processes; ``policies`` isolate, sorted; ``rules`` are in policy order."""

    id: str
    direction: str
    policies: tuple[ObjectRef, ...]
    rules: tuple[CompiledRule, ...]


class PodEntry(msgspec.Struct, frozen=True):
    """One pod with what decisions need at hand. ``addresses``: (family, integer) of each podIP.
    ``egress``/``ingress`` is None when the pod is not isolated in that direction (rule 3)."""

    index: int
    pod: Pod
    addresses: tuple[tuple[int, int], ...]
    named_ports: dict[tuple[str, str], tuple[int, ...]]  # (protocol, name) -> numbers
    egress: Profile | None
    ingress: Profile | None

    @property
    def ref(self) -> ObjectRef:
        return self.pod.ref


class CompiledPolicies(msgspec.Struct, frozen=True):
    """Everything ``evaluate`` and ``lower`` need. hostNetwork pods have an entry without profiles (rule 37);
    finished pods have none."""

    pods: tuple[PodEntry, ...]
    by_ref: dict[ObjectRef, int]
    by_address: dict[tuple[int, int], int]  # address of a live pod with its own network -> index
    node_addresses: dict[str, tuple[tuple[int, int], ...]]  # node name -> its addresses
    selections: dict[str, Selection] = {}  # key of a SelectorPeer -> how its pods are chosen
