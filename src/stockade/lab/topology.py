"""Which nodes a lab has, and every address that follows from a node's number. Pure.

In: the lab's name, how many nodes, whether there is IPv6. Out: ``Topology``. Called by ``lab.cluster``; the parts of a node get their ``NodePlan``.

                     the router outside (lab.internet), which is also the simulated Internet
              192.0.2.2 │           192.0.2.6 │            192.0.2.10 │
    node 1    192.0.2.1     node 2  192.0.2.5     node 3   192.0.2.9
    172.30.0.1              172.30.0.2            172.30.0.3
    10.244.0.0/24           10.244.1.0/24         10.244.2.0/24
"""

from __future__ import annotations

import ipaddress

import msgspec

from stockade.lab.addresses import CLUSTER_CIDR, CLUSTER_CIDR_6, NODE_CIDR, NODE_CIDR_6, UPLINK_CIDR

IPV4, IPV6 = "IPv4", "IPv6"
MOST_NODES = 32
"""Each has an agent process of some 40 MB."""


class NodePlan(msgspec.Struct, frozen=True):
    """One node. Addresses and CIDRs in the order of the cluster's families; ``number`` counts from 1."""

    number: int
    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    uplink: str
    uplink_peer: str

    @property
    def address(self) -> str:
        """The primary InternalIP."""
        return self.addresses[0]


class Topology(msgspec.Struct, frozen=True):
    """``families`` of pods and nodes, the primary one first."""

    nodes: tuple[NodePlan, ...]
    families: tuple[str, ...]

    @property
    def dual_stack(self) -> bool:
        return len(self.families) > 1


def plan(lab: str, nodes: int = 1, *, ipv6: bool = True) -> Topology:
    return Topology(
        tuple(_node(lab, number, ipv6=ipv6) for number in range(1, nodes + 1)),
        (IPV4, IPV6) if ipv6 else (IPV4,),
    )


def _node(lab: str, number: int, *, ipv6: bool) -> NodePlan:
    families = 2 if ipv6 else 1
    addresses = (_host(NODE_CIDR, number), _host(NODE_CIDR_6, number))
    cidrs = (_share(CLUSTER_CIDR, 24, number), _share(CLUSTER_CIDR_6, 64, number))
    first = 4 * (number - 1)
    return NodePlan(
        number,
        f"{lab}-node-{number}",
        addresses[:families],
        cidrs[:families],
        _host(UPLINK_CIDR, first + 1),
        _host(UPLINK_CIDR, first + 2),
    )


def _host(cidr: str, number: int) -> str:
    return str(ipaddress.ip_network(cidr)[number])


def _share(cidr: str, length: int, number: int) -> str:
    """The ``number``th block of ``length`` in ``cidr``."""
    whole = ipaddress.ip_network(cidr)
    first = int(whole.network_address) + ((number - 1) << (whole.max_prefixlen - length))
    return str(ipaddress.ip_network((first, length)))
