"""The lab's addresses: one place for every constant that several parts must agree on.

Pods, Services and the node use the ranges a small cluster commonly has. The link to the simulated Internet uses a
documentation range (RFC 5737); its hosts carry the well-known addresses their names have in public write-ups, and exist
only inside the lab's network namespaces.
"""

from __future__ import annotations

CLUSTER_DOMAIN = "cluster.local"

POD_CIDR = "10.244.0.0/24"
"""The first node's share of CLUSTER_CIDR."""
CLUSTER_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/12"
API_SERVICE_IP = "10.96.0.1"
"""default/kubernetes: the first address of the service range."""
DNS_SERVICE_IP = "10.96.0.10"

NODE_IP = "172.30.0.1"
"""InternalIP of the first node."""

GATEWAY = "169.254.1.1"
"""Every pod's next hop; the node answers for it on every pod's link, so no pod address is spent on gateways."""

OUTSIDE_NODE = "192.0.2.1"
OUTSIDE_PEER = "192.0.2.2"
"""The two ends of the link from the node to the simulated Internet."""

EXAMPLE_IP = "93.184.216.34"
GOOGLE_IP = "74.125.129.101"

OUTSIDE_NAMES: dict[str, str] = {
    "example.com": EXAMPLE_IP,
    "www.example.com": EXAMPLE_IP,
    "google.com": GOOGLE_IP,
    "www.google.com": GOOGLE_IP,
}
"""Every name the simulated Internet knows; all others do not exist."""

OUTSIDE_RESOLVER = GOOGLE_IP
"""The host outside that answers DNS: port 53 of any host is what a rule without ``to`` opens."""

LOAD_BALANCER_CIDR = "203.0.113.0/24"
"""Addresses of Services of type LoadBalancer (RFC 5737): the simulated Internet routes them to the first node."""
