"""A dropped packet in, who was denied what by which policies out: the engine itself is asked, so the answer is its own.

In: a record of the drop log (head of the packet, direction and profile of the chain that dropped it), and what is programmed. Out: an
Attribution, or None when no pod is concerned. Called by ``agent.drops``.
A default deny has no guilty policy (reference dataplane 5): named are the policies that isolate, and the rule that came nearest.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from stockade.agent.addresses import AddressIndex
from stockade.agent.services import service_of_address, service_of_pod
from stockade.dataplane.droptally import DropRecord
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.model.objects import Pod
from stockade.net.cidr import Address, format_address
from stockade.policy.compiled import CompiledPolicies, PodEntry, Profile
from stockade.policy.ends import endpoint_for
from stockade.policy.evaluate import evaluate
from stockade.policy.explain import near_miss
from stockade.policy.verdict import AddressEndpoint, DirectionVerdict, Flow, Miss, PodEndpoint
from stockade.store.state import ClusterState

PREFIX = "stockade.dev/"  # of the annotations


class View(msgspec.Struct, frozen=True):
    """What attribution reads. ``programmed`` is the state whose rules the kernel holds or is being given, ``state`` the newest one
    (Services, pods that are still fenced); ``profiles`` by id, also recent ones that are gone; ``node`` is where we are."""

    state: ClusterState
    programmed: ClusterState
    profiles: Mapping[str, Profile]
    node: str = ""


class PeerKind(StrEnum):
    """SERVICE is a virtual address that was not translated; the backend of a Service is a POD."""

    POD = "pod"
    SERVICE = "service"
    NODE = "node"
    EXTERNAL = "external"


class Peer(msgspec.Struct, frozen=True):
    """The other end: its address, what has it, and the name of that (empty for a stranger)."""

    address: str
    kind: PeerKind = PeerKind.EXTERNAL
    name: str = ""

    def __str__(self) -> str:
        return f"{self.address} ({self.name})" if self.name else self.address


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """``port`` is the connection's destination port. ``ports`` above 1: a summary of so many, of which ``port`` is one. ``why`` is the
    part of the message that says what denied it, the same for all packets that this pod's policies deny in this direction."""

    pod: ObjectRef
    uid: str
    direction: str
    peer: Peer
    port: int | None
    protocol: str
    policies: tuple[ObjectRef, ...] = ()
    nearest: Miss | None = None
    ports: int = 1
    why: str

    @property
    def message(self) -> str:
        near = "" if self.nearest is None or self.ports > 1 else f"; nearest is {_rule_text(self.nearest)}"
        return f"{self._what} denied: {self.why}{near}"

    @property
    def topic(self) -> str:
        """What stays the same while the numbers in the message grow; empty when there is none."""
        if self.ports == 1:
            return ""
        return f"ports {self.direction} {self.peer} {self.protocol} {self.why}"

    @property
    def annotations(self) -> tuple[tuple[str, str], ...]:
        near = None if self.nearest is None or self.ports > 1 else near_miss(self.nearest)
        values = {
            "direction": self.direction.lower(),
            "peer": str(self.peer),
            "peer-kind": str(self.peer.kind),
            "port": "" if self.port is None or self.ports > 1 else str(self.port),
            "ports": str(self.ports) if self.ports > 1 else "",
            "protocol": self.protocol,
            "policies": ",".join(map(str, self.policies)),
            "nearest": f"{near.rule}: {near.detail}" if near else "",
        }
        return tuple((f"{PREFIX}{key}", value) for key, value in values.items())

    @property
    def _what(self) -> str:
        peer = self.peer
        if self.direction == EGRESS:
            name = f" ({peer.name})" if peer.name else ""
            if self.ports > 1:
                return f"egress to {self.ports} more {self.protocol} ports of {peer}"
            port = "" if self.port is None else f":{self.port}"
            address = f"[{peer.address}]" if port and ":" in peer.address else peer.address
            return f"egress to {address}{port}/{self.protocol}{name}"
        if self.ports > 1:
            return f"ingress from {peer} to {self.ports} more {self.protocol} ports"
        to = self.protocol if self.port is None else f"port {self.port}/{self.protocol}"
        return f"ingress from {peer} to {to}"


class Attributor:
    """Remembers whose address is whose, and compiles what decides about two addresses once for as long as it stays the same."""

    def __init__(self) -> None:
        self._programmed = AddressIndex()
        self._newest = AddressIndex()

    def basis(self, view: View, record: DropRecord) -> tuple[object, ...]:
        """Equal for equal records means an equal attribution; cheap to ask."""
        if not record.direction:
            return view.state, view.programmed
        self._programmed.follow(view.programmed)
        compiled = self._programmed.compiled(*_ends(record))
        return compiled, view.profiles.get(record.profile), view.state.services

    def attribute(self, view: View, record: DropRecord) -> Attribution | None:
        source, destination = _ends(record)
        self._programmed.follow(view.programmed)
        if not record.direction:
            return self._fenced(view, record, source, destination)
        compiled = self._programmed.compiled(source, destination)
        flow = Flow(
            source=endpoint_for(compiled, source),
            destination=endpoint_for(compiled, destination),
            protocol=record.protocol,
            port=record.dport,
            family=record.family,
        )
        index = compiled.by_address.get(source if record.direction == EGRESS else destination)
        if index is None:
            return None
        return _explained(view, compiled, compiled.pods[index], record, flow)

    def _fenced(
        self, view: View, record: DropRecord, source: Address, destination: Address
    ) -> Attribution | None:
        """The pod of this node that is not programmed yet: the newest state knows it, if anybody does."""
        self._newest.follow(view.state)
        ways = ((EGRESS, source, destination), (INGRESS, destination, source))
        found = [
            (bool(self._programmed.pods(own)), direction, pod, other)
            for direction, own, other in ways
            for pod in self._newest.pods(own)[:1]
            if view.node in {"", pod.spec.node_name}
        ]
        # Also one that is being programmed at this moment may still be fenced, but rather one that is not.
        for _, direction, pod, other in sorted(found, key=lambda each: each[0]):
            return Attribution(
                pod=pod.ref,
                uid=pod.metadata.uid,
                direction=direction,
                peer=self._fence_peer(other),
                port=record.dport,
                protocol=record.protocol,
                ports=record.ports,
                why="this pod is fenced until its policies are programmed",
            )
        return None

    def _fence_peer(self, address: Address) -> Peer:
        text = format_address(*address)
        pods: tuple[Pod, ...] = self._newest.pods(address)
        return Peer(text, PeerKind.POD, f"pod {pods[0].ref}") if pods else Peer(text)


def _ends(record: DropRecord) -> tuple[Address, Address]:
    return (record.family, record.source), (record.family, record.destination)


def _explained(
    view: View, compiled: CompiledPolicies, entry: PodEntry, record: DropRecord, flow: Flow
) -> Attribution:
    verdicts = evaluate(compiled, flow)
    verdict = verdicts.egress if record.direction == EGRESS else verdicts.ingress
    profile = view.profiles.get(record.profile)
    policies = verdict.isolated_by if profile is None else profile.policies
    return Attribution(
        pod=entry.ref,
        uid=entry.pod.metadata.uid,
        direction=record.direction,
        peer=_peer(view, record, flow),
        port=record.dport,
        protocol=record.protocol,
        policies=policies,
        nearest=verdict.misses[0] if verdict.misses else None,
        ports=record.ports,
        why=_why(entry.ref, verdict, policies),
    )


def _peer(view: View, record: DropRecord, flow: Flow) -> Peer:
    outward = record.direction == EGRESS
    end = flow.destination if outward else flow.source
    address = record.destination if outward else record.source
    text = format_address(record.family, address)
    if isinstance(end, PodEndpoint):
        name = f"pod {end.ref}"
        if outward and (service := service_of_pod(view.state, end.ref, record.protocol, record.dport)):
            name += f", Service {service}"
        return Peer(text, PeerKind.POD, name)
    assert isinstance(end, AddressEndpoint)
    if end.text != text:
        return Peer(text, PeerKind.NODE, end.text.removesuffix(f" ({text})"))
    if service := service_of_address(view.state, record.family, address):
        return Peer(text, PeerKind.SERVICE, f"Service {service}, which has no endpoint")
    return Peer(text)


def _why(pod: ObjectRef, verdict: DirectionVerdict, policies: tuple[ObjectRef, ...]) -> str:
    if verdict.allowed:
        by = f" ({_names(pod, policies)})" if policies else ""
        return f"by rules that have just been replaced{by}; the policies now in force allow it"
    return f"isolated by {_names(pod, policies)}, no rule matches"


def _rule_text(miss: Miss) -> str:
    rule = miss.rule
    return f"{rule.policy.name} {rule.direction.lower()}[{rule.index}]: {miss.detail}"


def _names(pod: ObjectRef, policies: tuple[ObjectRef, ...]) -> str:
    kind = "NetworkPolicy" if len(policies) == 1 else "NetworkPolicies"
    return f"{kind} " + ", ".join(
        ref.name if ref.namespace == pod.namespace else str(ref) for ref in policies
    )
