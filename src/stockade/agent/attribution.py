"""A dropped packet in, who was denied what by which policies out: the engine itself is asked, so the answer is its own.

In: a record of the drop log (head of the packet, direction and profile of the chain that dropped it), and what is programmed. Out: an Attribution, or
None when no pod is concerned. Pure. Called by ``agent.drops``.
A default deny has no guilty policy (reference dataplane 5): named are the policies that isolate, and the rule that came nearest.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stockade.agent.services import service_of_address, service_of_pod
from stockade.dataplane.droplog import DropRecord
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.net.cidr import Address, format_address
from stockade.policy.compiled import CompiledPolicies, PodEntry, Profile
from stockade.policy.ends import endpoint_for
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import AddressEndpoint, DirectionVerdict, Flow, Miss, PodEndpoint
from stockade.store.state import ClusterState


class View(msgspec.Struct, frozen=True):
    """What the kernel holds at the moment, and what it was made from. ``profiles`` also has recent ones that are gone."""

    state: ClusterState
    compiled: CompiledPolicies
    profiles: Mapping[str, Profile]


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """``peer`` is the other end: address, and who that is. ``port`` is the connection's destination port."""

    pod: ObjectRef
    uid: str
    direction: str
    peer: str
    peer_name: str = ""
    port: int | None
    protocol: str
    policies: tuple[ObjectRef, ...] = ()
    nearest: Miss | None = None
    message: str

    @property
    def annotations(self) -> tuple[tuple[str, str], ...]:
        values = {
            "direction": self.direction.lower(),
            "peer": f"{self.peer} ({self.peer_name})" if self.peer_name else self.peer,
            "port": "" if self.port is None else str(self.port),
            "protocol": self.protocol,
            "policies": ",".join(map(str, self.policies)),
        }
        return tuple((f"stockade.dev/{key}", value) for key, value in values.items())


def attribute(view: View, record: DropRecord) -> Attribution | None:
    source, destination = (record.family, record.source), (record.family, record.destination)
    flow = Flow(
        source=endpoint_for(view.compiled, source),
        destination=endpoint_for(view.compiled, destination),
        protocol=record.protocol,
        port=record.dport,
        family=record.family,
    )
    if not record.direction:
        return _fenced(view, flow, source, destination)
    index = view.compiled.by_address.get(source if record.direction == EGRESS else destination)
    if index is None:
        return None
    return _explained(view, view.compiled.pods[index], record.direction, flow, record.profile)


def _explained(view: View, entry: PodEntry, direction: str, flow: Flow, profile_id: str) -> Attribution:
    verdicts = evaluate(view.compiled, flow)
    verdict = verdicts.egress if direction == EGRESS else verdicts.ingress
    profile = view.profiles.get(profile_id)
    policies = verdict.isolated_by if profile is None else profile.policies
    peer, name = _peer(view, flow, direction)
    nearest = verdict.misses[0] if verdict.misses else None
    return Attribution(
        pod=entry.ref,
        uid=entry.pod.metadata.uid,
        direction=direction,
        peer=peer,
        peer_name=name,
        port=flow.port,
        protocol=flow.protocol,
        policies=policies,
        nearest=nearest,
        message=f"{_what(direction, peer, name, flow)} denied: {_why(entry.ref, verdict, policies, nearest)}",
    )


def _peer(view: View, flow: Flow, direction: str) -> tuple[str, str]:
    """The other end's address, and who it is (empty for a stranger)."""
    other = flow.destination if direction == EGRESS else flow.source
    if isinstance(other, AddressEndpoint):
        text = format_address(other.family, other.address)
        name = other.text.removesuffix(f" ({text})") if other.text != text else ""
        if not name and (service := service_of_address(view.state, other.family, other.address)):
            name = f"Service {service}, which has no endpoint"
        return text, name
    assert isinstance(other, PodEndpoint)
    entry = view.compiled.pods[view.compiled.by_ref[other.ref]]
    address = next((value for family, value in entry.addresses if family == flow.family), 0)
    name = f"pod {other.ref}"
    if direction == EGRESS and (service := service_of_pod(view.state, other.ref, flow.protocol, flow.port)):
        name += f", Service {service}"
    return format_address(flow.family, address), name


def _what(direction: str, peer: str, name: str, flow: Flow) -> str:
    who = f" ({name})" if name else ""
    port = "" if flow.port is None else f":{flow.port}"
    if direction == EGRESS:
        address = f"[{peer}]" if port and ":" in peer else peer
        return f"egress to {address}{port}/{flow.protocol}{who}"
    to = flow.protocol if flow.port is None else f"port {flow.port}/{flow.protocol}"
    return f"ingress from {peer}{who} to {to}"


def _why(
    pod: ObjectRef, verdict: DirectionVerdict, policies: tuple[ObjectRef, ...], nearest: Miss | None
) -> str:
    if verdict.allowed:
        by = f" ({_names(pod, policies)})" if policies else ""
        return f"by rules that have just been replaced{by}; the policies now in force allow it"
    text = f"isolated by {_names(pod, policies)}, no rule matches"
    if nearest is not None:
        rule = nearest.rule
        text += f"; nearest is {rule.policy.name} {rule.direction.lower()}[{rule.index}]: {nearest.detail}"
    return text


def _names(pod: ObjectRef, policies: tuple[ObjectRef, ...]) -> str:
    kind = "NetworkPolicy" if len(policies) == 1 else "NetworkPolicies"
    return f"{kind} " + ", ".join(
        ref.name if ref.namespace == pod.namespace else str(ref) for ref in policies
    )


def _fenced(view: View, flow: Flow, source: Address, destination: Address) -> Attribution | None:
    """The pod whose address is not programmed yet: it is in the state, if anywhere, and not in the compiled form."""
    for direction, own, other in ((EGRESS, source, destination), (INGRESS, destination, source)):
        text, peer = format_address(*own), format_address(*other)
        pod = next(
            (pod for pod in view.state.pods.values() if text in pod.ips and not pod.on_host_network), None
        )
        if pod is None or own in view.compiled.by_address:
            continue
        what = _what(direction, peer, "", flow)
        return Attribution(
            pod=pod.ref,
            uid=pod.metadata.uid,
            direction=direction,
            peer=peer,
            port=flow.port,
            protocol=flow.protocol,
            message=f"{what} denied: this pod is fenced until its policies are programmed",
        )
    return None
