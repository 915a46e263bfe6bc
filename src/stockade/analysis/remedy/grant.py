"""One new policy, before it is written down: whom it selects, and what it lets them do.

In: choices of subjects and peers. Out: the NetworkPolicy. Called by ``suggest``; ``also`` and ``notes`` read Grants.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stockade.analysis.remedy.labels import Choice
from stockade.analysis.remedy.peers import Peer
from stockade.model.meta import ObjectMeta, ObjectRef
from stockade.model.netpol import (
    EGRESS,
    EgressRule,
    IngressRule,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from stockade.net.ranges import RangeSet

Port = tuple[str, int, int]  # protocol, first and last number, as the destination itself knows them (rule 23)


class GrantRule(msgspec.Struct, frozen=True):
    """Each of ``peers`` on each of ``ports``."""

    peers: tuple[Peer, ...]
    ports: tuple[Port, ...]

    def has_port(self, protocol: str, number: int | None) -> bool:
        return number is not None and any(
            own == protocol and first <= number <= last for own, first, last in self.ports
        )


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """``is_lookup``: for nothing but lookups."""

    ref: ObjectRef = ObjectRef("", "")
    direction: str
    subjects: Choice
    rules: tuple[GrantRule, ...]
    is_lookup: bool = False


def merged(rules: Iterable[GrantRule]) -> tuple[GrantRule, ...]:
    """Rules with the same peers become one; that is still each of its peers on each of its ports."""
    found: list[GrantRule] = []
    for rule in rules:
        at = next((at for at, each in enumerate(found) if each.peers == rule.peers), None)
        if at is None:
            found.append(rule)
        else:
            found[at] = GrantRule(rule.peers, found[at].ports + rule.ports)
    return tuple(GrantRule(rule.peers, _joined(rule.ports)) for rule in found)


def _joined(ports: Iterable[Port]) -> tuple[Port, ...]:
    """Neighbouring numbers as one range; protocols in the order of their first mention."""
    numbers: dict[str, list[tuple[int, int]]] = {}
    for protocol, first, last in ports:
        numbers.setdefault(protocol, []).append((first, last))
    return tuple((protocol, *pair) for protocol, pairs in numbers.items() for pair in RangeSet(pairs))


def united(grants: Iterable[Grant]) -> list[Grant]:
    """Grants for the same subjects become one: several pods with the same labels may each have asked."""
    found: list[Grant] = []
    for grant in grants:
        same = (grant.direction, grant.subjects)
        at = next((at for at, each in enumerate(found) if (each.direction, each.subjects) == same), None)
        if at is None:
            found.append(grant)
        else:
            rules = merged((*found[at].rules, *grant.rules))
            lookup = found[at].is_lookup and grant.is_lookup
            found[at] = msgspec.structs.replace(found[at], rules=rules, is_lookup=lookup)
    return found


def policy_of(grant: Grant) -> NetworkPolicy:
    """policyTypes names the one direction: the other one stays as it is."""
    spec = NetworkPolicySpec(pod_selector=grant.subjects.selector, policy_types=[grant.direction])
    if grant.direction == EGRESS:
        egress = [EgressRule(to=_items(rule), ports=_ports(rule)) for rule in grant.rules]
        spec = msgspec.structs.replace(spec, egress=egress)
    else:
        ingress = [IngressRule(from_=_items(rule), ports=_ports(rule)) for rule in grant.rules]
        spec = msgspec.structs.replace(spec, ingress=ingress)
    return NetworkPolicy(metadata=ObjectMeta(name=grant.ref.name, namespace=grant.ref.namespace), spec=spec)


def _items(rule: GrantRule) -> list[NetworkPolicyPeer]:
    return [peer.item for peer in rule.peers]


def _ports(rule: GrantRule) -> list[NetworkPolicyPort]:
    return [
        NetworkPolicyPort(protocol=protocol, port=first, end_port=last if last > first else None)
        for protocol, first, last in rule.ports
    ]
