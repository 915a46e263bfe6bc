"""The lab's addresses: one place for every constant that several parts must agree on.

Pods, Services and the node use the ranges a small cluster commonly has. The link to the simulated Internet uses a
documentation range (RFC 5737); its hosts carry the well-known addresses their names have in public write-ups, and exist
only inside the lab's network namespaces.
"""

from __future__ import annotations

CLUSTER_DOMAIN = "cluster.local"

CLUSTER_CIDR = "10.244.0.0/16"
CLUSTER_CIDR_6 = "fd00:10:244::/56"
"""Of these each node gets a share: a /24 and a /64, in the order of the nodes."""
SERVICE_CIDR = "10.96.0.0/12"
SERVICE_CIDR_6 = "fd00:10:96::/112"
API_SERVICE_IP = "10.96.0.1"
"""default/kubernetes: the first address of the service range."""
DNS_SERVICE_IP = "10.96.0.10"

NODE_CIDR = "172.30.0.0/24"
NODE_CIDR_6 = "fd00:172:30::/64"
NODE_IP = "172.30.0.1"
"""InternalIP of the first node; the others follow."""

GATEWAY = "169.254.1.1"
GATEWAY_6 = "fe80::1"
"""Every pod's next hop; the node answers for it on every pod's link, so no pod address is spent on gateways."""

UPLINK_CIDR = "192.0.2.0/24"
"""Of this each node has four for its link to the outside: the second is the node's end, the third the other's."""
UPLINK_NODE_6, UPLINK_PEER_6 = "fe80::2", "fe80::1"
OUTSIDE_6 = "2001:db8::2"
"""What the router outside calls itself when it speaks IPv6 to pods (RFC 3849)."""

EXAMPLE_IP = "93.184.216.34"
GOOGLE_IP = "74.125.129.101"
GOOGLE_IP_6 = "2607:f8b0:4004:c06::71"

OUTSIDE_NAMES: dict[str, str] = {
    "example.com": EXAMPLE_IP,
    "www.example.com": EXAMPLE_IP,
    "google.com": GOOGLE_IP,
    "www.google.com": GOOGLE_IP,
}
"""Every name the simulated Internet knows; all others do not exist."""

OUTSIDE_NAMES_6: dict[str, str] = {"ipv6.google.com": GOOGLE_IP_6}
"""Names with IPv6 alone, as that one has in public; the names above have none, so that what programs print stays the same."""

OUTSIDE_RESOLVER = GOOGLE_IP
"""The host outside that answers DNS: port 53 of any host is what a rule without ``to`` opens."""

LOAD_BALANCER_CIDR = "203.0.113.0/24"
LOAD_BALANCER_CIDR_6 = "2001:db8:cb::/112"
"""Addresses of Services of type LoadBalancer (RFC 5737, 3849): the simulated Internet routes them to the first node."""
