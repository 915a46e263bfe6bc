"""A second, slow and literal reading of the specification: the oracle that ``evaluate`` is compared with.

In: a ClusterState and the two ends of a connection. Out: yes or no. Called by tests alone, and it shares no code with
``compile`` and ``evaluate`` (an import contract says so): it walks the objects as the API documents them, one sentence
at a time, with the ``ipaddress`` module for addresses and no cache anywhere.

An end is an ``ObjectRef`` (a pod) or the text of an address. Numbers in comments are rules of the reference; where the
API leaves two readings of rule 19, ``blocks_match_pods`` chooses.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.netpol import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from stockade.model.objects import Pod
from stockade.model.selectors import LabelSelector
from stockade.store.state import ClusterState

IP = IPv4Address | IPv6Address
Who = ObjectRef | str


class _Party(msgspec.Struct, frozen=True):
    pod: Pod | None  # with its own network
    host_pod: Pod | None
    ips: tuple[IP, ...]


class _Packet(msgspec.Struct, frozen=True):
    source: _Party
    destination: _Party
    protocol: str
    port: int | None
    family: int
    blocks_match_pods: bool  # the two readings of 19


def allowed(
    state: ClusterState,
    source: Who,
    destination: Who,
    protocol: str,
    port: int | None,
    family: int,
    *,
    blocks_match_pods: bool = True,
) -> bool:
    """5: the source's egress and the destination's ingress must both allow."""
    asked = state, source, destination, protocol, port, family
    return egress_allowed(*asked, blocks_match_pods=blocks_match_pods) and ingress_allowed(
        *asked, blocks_match_pods=blocks_match_pods
    )


def egress_allowed(
    state: ClusterState,
    source: Who,
    destination: Who,
    protocol: str,
    port: int | None,
    family: int,
    *,
    blocks_match_pods: bool = True,
) -> bool:
    ends = _party(state, source), _party(state, destination)
    packet = _Packet(*ends, protocol, port, family, blocks_match_pods)
    subject = packet.source.pod
    if subject is None or _to_itself(packet):  # 37; 36
        return True
    isolating = [policy for policy in _selecting(state, subject) if _has_type(policy, "Egress")]  # 2
    if not isolating:
        return True  # 3
    for policy in isolating:  # 4: a union
        for rule in policy.spec.egress or []:
            if _rule_allows(state, policy, rule.to or [], rule.ports or [], packet.destination, packet):
                return True
    return False


def ingress_allowed(
    state: ClusterState,
    source: Who,
    destination: Who,
    protocol: str,
    port: int | None,
    family: int,
    *,
    blocks_match_pods: bool = True,
) -> bool:
    ends = _party(state, source), _party(state, destination)
    packet = _Packet(*ends, protocol, port, family, blocks_match_pods)
    subject = packet.destination.pod
    if subject is None or _to_itself(packet):  # 37; 36
        return True
    if _is_node_of(state, packet.source, subject):  # 34
        return True
    isolating = [policy for policy in _selecting(state, subject) if _has_type(policy, "Ingress")]
    if not isolating:
        return True
    for policy in isolating:
        for rule in policy.spec.ingress or []:
            if _rule_allows(state, policy, rule.from_ or [], rule.ports or [], packet.source, packet):
                return True
    return False


# Who is who


def _party(state: ClusterState, who: Who) -> _Party:
    if isinstance(who, ObjectRef):
        pod = state.pods[who]
        if pod.on_host_network:
            own = tuple(_ips(*pod.ips))
            return _Party(None, pod, own or tuple(_node_ips(state, pod.spec.node_name)))
        return _Party(pod, None, tuple(ip for ip in _ips(*pod.ips) if _owner(state, ip) is pod))
    address = ip_address(who)
    return _Party(_owner(state, address), None, (address,))


def _owner(state: ClusterState, address: IP) -> Pod | None:
    """48: finished pods have lost their addresses. A running pod beats one that is on its way out."""
    candidates = [
        state.pods[ref]
        for ref in sorted(state.pods)
        if not state.pods[ref].is_finished
        and not state.pods[ref].on_host_network
        and address in _ips(*state.pods[ref].ips)
    ]
    staying = [pod for pod in candidates if pod.metadata.deletion_timestamp is None] or candidates
    running = [pod for pod in staying if pod.status.phase == "Running"] or staying
    return running[0] if running else None


def _ips(*texts: str) -> list[IP]:
    found: list[IP] = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        found.append(mapped or address)
    return found


def _node_ips(state: ClusterState, name: str) -> list[IP]:
    if not name:
        return []
    given = list(state.nodes[name].ips) if name in state.nodes else []
    given += [pod.status.host_ip for pod in state.pods.values() if pod.spec.node_name == name]
    return _ips(*given)


def _is_node_of(state: ClusterState, party: _Party, pod: Pod) -> bool:
    if party.pod is not None or not pod.spec.node_name:
        return False
    if party.host_pod is not None and party.host_pod.spec.node_name == pod.spec.node_name:
        return True
    return any(ip in _node_ips(state, pod.spec.node_name) for ip in party.ips)


def _to_itself(packet: _Packet) -> bool:
    """36: own address, and loopback."""
    if packet.destination.pod is None:
        return any(ip.is_loopback for ip in packet.destination.ips)
    return packet.source.pod is packet.destination.pod


# Which policies


def _selecting(state: ClusterState, pod: Pod) -> list[NetworkPolicy]:
    """1: policies of the pod's own namespace. 57: what a selector cannot mean does not take a pod out of it."""
    return [
        policy
        for ref, policy in state.policies.items()
        if ref.namespace == pod.ref.namespace and _understood(policy.pod_selector).matches(pod.labels)
    ]


def _has_type(policy: NetworkPolicy, direction: str) -> bool:
    given = [value for value in policy.spec.policy_types or [] if value in ("Ingress", "Egress")]
    if given:
        return direction in given
    return direction == "Ingress" or bool(policy.spec.egress)  # 11


def _bad_requirements(selector: LabelSelector) -> int:
    bad = 0
    for requirement in selector.match_expressions or []:
        needs_values = requirement.operator in ("In", "NotIn")
        known = needs_values or requirement.operator in ("Exists", "DoesNotExist")
        if not known or needs_values != bool(requirement.values):
            bad += 1
    return bad


def _understood(selector: LabelSelector) -> LabelSelector:
    good = [
        r
        for r in selector.match_expressions or []
        if not _bad_requirements(LabelSelector(match_expressions=[r]))
    ]
    return LabelSelector(match_labels=selector.match_labels, match_expressions=good)


# Which rules


def _rule_allows(
    state: ClusterState,
    policy: NetworkPolicy,
    peers: list[NetworkPolicyPeer],
    ports: list[NetworkPolicyPort],
    other: _Party,
    packet: _Packet,
) -> bool:
    """12: any peer and any port; none listed means all of them."""
    if _bad_requirements(policy.pod_selector):
        return False  # 57: for whom the rule was meant is not known
    if peers and not any(_peer_is(state, policy, peer, other, packet) for peer in peers):
        return False
    return not ports or any(_port_is(port, packet) for port in ports)


def _peer_is(
    state: ClusterState, policy: NetworkPolicy, peer: NetworkPolicyPeer, other: _Party, packet: _Packet
) -> bool:
    pods, namespaces = peer.pod_selector, peer.namespace_selector
    if peer.ip_block is not None:
        of_pods = [ip for ip in other.ips if ip.version == packet.family and _owner(state, ip)]
        if of_pods and not packet.blocks_match_pods:
            return False
        return pods is None and namespaces is None and _in_block(peer.ip_block, other, packet.family)
    if other.pod is None or (pods is None and namespaces is None):  # 16, 18, 38
        return False
    if (pods and _bad_requirements(pods)) or (namespaces and _bad_requirements(namespaces)):
        return False
    if namespaces is None:  # 13
        in_namespace = other.pod.ref.namespace == policy.ref.namespace
    else:  # 14, 17
        in_namespace = namespaces.matches(state.namespace(other.pod.ref.namespace).labels)
    return in_namespace and (pods is None or pods.matches(other.pod.labels))  # 15


def _in_block(block: IPBlock, other: _Party, family: int) -> bool:
    pattern = re.compile(r"[0-9a-fA-F.:]+/\d{1,3}")
    texts = [block.cidr, *(block.except_ or [])]
    try:
        network, *holes = [ip_network(text, strict=False) for text in texts if pattern.fullmatch(text)]
    except ValueError:
        return False
    if 1 + len(holes) < len(texts):
        return False
    for hole in holes:
        if hole.version != network.version or hole.prefixlen <= network.prefixlen or hole[0] not in network:
            return False
    seen = [ip for ip in other.ips if ip.version == family][:1]  # 21
    return any(ip in network and not any(ip in hole for hole in holes) for ip in seen)  # 19, 20


def _port_is(port: NetworkPolicyPort, packet: _Packet) -> bool:
    protocol = port.protocol if port.protocol is not None else "TCP"  # 24
    if protocol not in ("TCP", "UDP", "SCTP") or protocol != packet.protocol:  # 30, 31, 33
        return False
    if isinstance(port.port, str):
        return port.end_port is None and _named(port.port) and packet.port in _resolve(port.port, packet)
    if port.port is None:
        return port.end_port is None
    if packet.port is None or not 1 <= port.port <= 65535:
        return False
    if port.end_port is None:
        return packet.port == port.port
    return port.end_port <= 65535 and port.port <= packet.port <= port.end_port  # 29


def _named(name: str) -> bool:
    return (
        0 < len(name) <= 15
        and re.fullmatch(r"[-a-z0-9]+", name) is not None
        and re.search(r"[a-z]", name) is not None
        and "--" not in name
        and not name.startswith("-")
        and not name.endswith("-")
    )


def _resolve(name: str, packet: _Packet) -> set[int]:
    """25-27: on the destination pod, by name and protocol."""
    if packet.destination.pod is None:
        return set()
    return {
        port.container_port
        for port in packet.destination.pod.named_ports()
        if port.name == name
        and (port.protocol or "TCP") == packet.protocol
        and 1 <= port.container_port <= 65535
    }
