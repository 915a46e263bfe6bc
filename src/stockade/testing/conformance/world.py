"""The suites' cluster in memory, and the actions of their cases: one change, told to two readers.

A ``World`` keeps plain JSON for ``truth`` and hands out store deltas for the engine, so that the two share nothing but the words
of the API. Namespaces x, y, z (labelled ``ns=<name>`` in cyclonus, not in e2e), pods a, b, c labelled ``pod=<name>``; each pod serves 80
and 81 by TCP, UDP and SCTP under the names ``serve-80-tcp`` and so on. The suites leave addresses to the cluster; in memory two thirds of
the pods share z/c's /24 and some of these its /28, so that blocks and excepts tell pods apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import Namespace, Pod
from stockade.store.delta import Delete, Delta, Upsert
from stockade.testing.conformance.case import PROBES, Json, Name, port_name

SPACES, PODS = "xyz", "abc"
PORTS = [
    {"name": port_name(protocol, port), "containerPort": port, "protocol": protocol}
    for protocol, port in PROBES
]
ADDRESSES = {
    ("x", "a"): "10.244.0.10",
    ("x", "b"): "10.244.1.12",
    ("x", "c"): "10.244.1.33",
    ("y", "a"): "10.244.0.11",
    ("y", "b"): "10.244.1.34",
    ("y", "c"): "10.244.1.200",
    ("z", "a"): "10.244.0.12",
    ("z", "b"): "10.244.1.47",
    ("z", "c"): "10.244.1.36",
}


class World:
    """The cluster at one moment, as plain JSON; ``deltas`` collects what a watch would have told."""

    def __init__(self, *, labelled: bool = True) -> None:
        self.namespaces: dict[str, dict[str, str]] = {}
        self.pods: dict[Name, Json] = {}  # labels and ip
        self.policies: dict[Name, Json] = {}
        self.deltas: list[Delta] = []
        for space in SPACES:
            self.create_namespace(space, {"ns": space} if labelled else {})
            for name in PODS:
                self.create_pod(space, name, {"pod": name})

    def take_deltas(self) -> list[Delta]:
        taken, self.deltas = self.deltas, []
        return taken

    def create_namespace(self, space: str, labels: dict[str, str]) -> None:
        self.namespaces[space] = labels
        raw = {"metadata": {"name": space, "labels": labels}}
        self.deltas.append(Upsert("namespaces", msgspec.convert(raw, Namespace)))

    set_namespace_labels = create_namespace

    def delete_namespace(self, space: str) -> None:
        for owner, name in [*self.pods]:
            if owner == space:
                self.delete_pod(space, name)
        for owner, name in [*self.policies]:
            if owner == space:
                self.delete_policy(space, name)
        del self.namespaces[space]
        self.deltas.append(Delete("namespaces", ObjectRef("", space)))

    def create_pod(self, space: str, name: str, labels: dict[str, str]) -> None:
        ip = ADDRESSES.get((space, name)) or f"10.244.2.{10 + len(self.pods)}"
        self.pods[space, name] = {"labels": labels, "ip": ip}
        raw = {
            "metadata": {"namespace": space, "name": name, "labels": labels},
            "spec": {"nodeName": "node-1", "containers": [{"name": "c", "ports": PORTS}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
        }
        self.deltas.append(Upsert("pods", msgspec.convert(raw, Pod)))

    set_pod_labels = create_pod

    def delete_pod(self, space: str, name: str) -> None:
        del self.pods[space, name]
        self.deltas.append(Delete("pods", ObjectRef(space, name)))

    def create_policy(self, policy: Json) -> None:
        self.policies[policy["metadata"]["namespace"], policy["metadata"]["name"]] = policy["spec"]
        self.deltas.append(Upsert("networkpolicies", msgspec.convert(policy, NetworkPolicy)))

    update_policy = create_policy

    def delete_policy(self, space: str, name: str) -> None:
        del self.policies[space, name]
        self.deltas.append(Delete("networkpolicies", ObjectRef(space, name)))

    def flows(self) -> Iterator[tuple[Name, Name, str, int]]:
        """Every pair of two pods on the six ports; a pod and itself are not asked (as with --ignore-loopback)."""
        for source in self.pods:
            for destination in self.pods:
                if source != destination:
                    yield from ((source, destination, protocol, port) for protocol, port in PROBES)
