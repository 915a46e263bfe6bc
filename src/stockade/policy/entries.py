"""Pods as decisions see them: order, addresses, named ports, and whose address is whose.

In: ClusterState. Out: the pods in index order with their addresses, and the addresses of nodes. Called by ``compile``.
Finished pods are left out (rule 48), host-network pods count as their node (rules 37, 38), and when two live pods claim
one address it belongs to the one that runs (the other is on its way out, or its status is stale).
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.model.objects import Pod
from stockade.net.cidr import Address, parse_address
from stockade.policy.content import MAX_PORT
from stockade.store.state import ClusterState


def live_pods(state: ClusterState) -> tuple[Pod, ...]:
    return tuple(state.pods[ref] for ref in sorted(state.pods) if not state.pods[ref].is_finished)


def parse_all(texts: Iterable[str]) -> tuple[Address, ...]:
    """What does not parse is no address; IPv4 written as IPv6 is IPv4."""
    found = [_parse(text) for text in texts if text]
    return tuple(dict.fromkeys(address for address in found if address is not None))


def _parse(text: str) -> Address | None:
    try:
        family, value = parse_address(text)
    except ValueError:
        return None
    return (4, value & 0xFFFFFFFF) if family == 6 and value >> 32 == 0xFFFF else (family, value)


def node_addresses(state: ClusterState) -> dict[str, tuple[Address, ...]]:
    """From Node.status, and from the pods' status.hostIP (all there is when only pods were given)."""
    texts = {name: list(node.ips) for name, node in state.nodes.items()}
    for pod in state.pods.values():
        if pod.spec.node_name and pod.status.host_ip:
            texts.setdefault(pod.spec.node_name, []).append(pod.status.host_ip)
    return {name: parse_all(texts[name]) for name in sorted(texts)}


def owners(pods: tuple[Pod, ...]) -> dict[Address, int]:
    """Address -> index of the pod with its own network that has it."""
    claims: dict[Address, int] = {}
    for index, pod in enumerate(pods):
        if pod.on_host_network:
            continue
        for address in parse_all(pod.ips):
            rival = claims.get(address)
            if rival is None or claim(pod) > claim(pods[rival]):
                claims[address] = index
    return claims


def claim(pod: Pod) -> tuple[bool, bool]:
    """The greater has the address: one that stays before one on its way out, then one that runs."""
    return pod.metadata.deletion_timestamp is None, pod.status.phase == "Running"


def named_ports(pod: Pod) -> dict[tuple[str, str], tuple[int, ...]]:
    """(protocol, name) -> numbers; the union when containers repeat a name (rule 27)."""
    found: dict[tuple[str, str], set[int]] = {}
    for port in pod.named_ports():
        if 1 <= port.container_port <= MAX_PORT:
            found.setdefault((port.protocol or "TCP", port.name), set()).add(port.container_port)
    return {key: tuple(sorted(numbers)) for key, numbers in found.items()}
