"""Every address of a node follows from its number, and no two nodes share one."""

from __future__ import annotations

import ipaddress

from stockade.lab.addresses import CLUSTER_CIDR, CLUSTER_CIDR_6, SERVICE_CIDR, SERVICE_CIDR_6
from stockade.lab.topology import MOST_NODES, plan


def test_the_first_node_is_where_it_always_was() -> None:
    (node,) = plan("lab").nodes
    assert (node.name, node.address) == ("lab-node-1", "172.30.0.1")
    assert node.pod_cidrs == ("10.244.0.0/24", "fd00:10:244::/64")
    assert (node.uplink, node.uplink_peer) == ("192.0.2.1", "192.0.2.2")


def test_nodes_share_nothing() -> None:
    nodes = plan("lab", MOST_NODES).nodes
    addresses = [address for node in nodes for address in (*node.addresses, node.uplink, node.uplink_peer)]
    assert len(addresses) == len(set(addresses)) == 4 * MOST_NODES
    blocks = [ipaddress.ip_network(cidr) for node in nodes for cidr in node.pod_cidrs]
    for index, block in enumerate(blocks):
        others = blocks[:index]
        assert not any(block.version == other.version and block.overlaps(other) for other in others)
        whole = ipaddress.ip_network(CLUSTER_CIDR if block.version == 4 else CLUSTER_CIDR_6)
        assert block.subnet_of(whole)  # type: ignore[arg-type]
        service = ipaddress.ip_network(SERVICE_CIDR if block.version == 4 else SERVICE_CIDR_6)
        assert not block.overlaps(service)


def test_without_ipv6_nothing_has_a_second_address() -> None:
    topology = plan("lab", 2, ipv6=False)
    assert not topology.dual_stack
    assert topology.families == ("IPv4",)
    assert all(len(node.addresses) == len(node.pod_cidrs) == 1 for node in topology.nodes)
