"""A cluster whose nodes are rulesets: every flow walked through the lowered rules of each node on its way.

In: compiled policies and one NodeView for each node. Out: for a flow the packet that opens it, and what the rules of the nodes say to it
and to its answer. Pure. Called by the property tests and by ``stockade.testing.witnesses``.
"""

from __future__ import annotations

from collections.abc import Mapping

from stockade.dataplane.ir import PROTOCOLS, Ruleset
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.simulate import Outcome, Packet, hook_of, simulate, simulate_connection
from stockade.net.cidr import Address
from stockade.policy.compiled import CompiledPolicies, PodEntry
from stockade.policy.ends import end_of
from stockade.policy.verdict import ICMP, Endpoint, Flow

SOURCE_PORT = 53  # an allowed port as the source must open nothing


class SimulatedCluster:
    """``rules`` are the rulesets by node."""

    def __init__(
        self, compiled: CompiledPolicies, views: Mapping[str, NodeView], options: Options | None = None
    ) -> None:
        self.compiled = compiled
        self.views = dict(views)
        self.rules: dict[str, Ruleset] = {
            name: lower(compiled, view, options) for name, view in views.items()
        }

    def packet(self, flow: Flow) -> Packet | None:
        """None when an end has no address of the flow's family, or is loopback, which leaves nobody."""
        source, destination = (
            self._address(flow.source, flow.family),
            self._address(flow.destination, flow.family),
        )
        if source is None or destination is None:
            return None
        if flow.protocol != ICMP:
            return Packet(
                family=flow.family,
                source=source,
                destination=destination,
                protocol=PROTOCOLS[flow.protocol],
                sport=SOURCE_PORT,
                dport=flow.port or 0,
            )
        return Packet(
            family=flow.family,
            source=source,
            destination=destination,
            protocol=PROTOCOLS["ICMP" if flow.family == 4 else "ICMPv6"],
            icmp_type=8 if flow.family == 4 else 128,
        )

    def works(self, packet: Packet) -> bool:
        """Packet and answer pass every node on the way."""
        return all(
            simulate_connection(self.rules[name], packet, self._own(name)).accepted
            for name in self._on_the_way(packet)
        )

    def outcomes(self, packet: Packet) -> list[Outcome]:
        """Of this packet alone, one for each node on its way."""
        return [
            simulate(self.rules[name], packet, hook_of(packet, self._own(name)), self._own(name))
            for name in self._on_the_way(packet)
        ]

    def _own(self, name: str) -> frozenset[Address]:
        return frozenset(self.views[name].addresses)

    def owner(self, family: int, value: int) -> PodEntry | None:
        index = self.compiled.by_address.get((family, value))
        return None if index is None else self.compiled.pods[index]

    def _address(self, end: Endpoint, family: int) -> int | None:
        found = end_of(self.compiled, end)
        return None if found.is_loopback else found.address(family)

    def _on_the_way(self, packet: Packet) -> list[str]:
        """The nodes of the pods at both ends, those whose own address is an end, those that fence one."""
        ends = [(packet.family, value) for value in (packet.source, packet.destination)]
        pods = [self.owner(*address) for address in ends]
        names = {entry.pod.spec.node_name for entry in pods if entry}
        for name, view in self.views.items():
            fenced = any(
                family == block.family and block.low <= value <= block.high
                for block in view.pod_cidrs
                for family, value in ends
            )
            if fenced or any(address in view.addresses for address in ends):
                names.add(name)
        return sorted(names & set(self.views))
