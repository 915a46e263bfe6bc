"""The objects that every cluster has before anybody creates one: the system namespaces and the Service ``kubernetes``.

Called once by the daemon when the store is ready; harmless when they exist already. Rule: kube-apiserver's system namespaces
and kubernetesservice controllers, which keep the same set.
"""

from __future__ import annotations

from stockade.lab.apiserver.registry import JsonObject, Registry

SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
API_SERVICE_ADDRESS = "10.96.0.1"
LABELS = {"component": "apiserver", "provider": "kubernetes"}
PORT_NAME, SERVICE_PORT = "https", 443


def create_system_objects(registry: Registry, address: str = "", port: int = 6443) -> None:
    """``address`` and ``port`` are where pods would reach this API server; without an address the Service has no endpoints."""
    for name in SYSTEM_NAMESPACES:
        _ensure(registry, "namespaces", "", {"metadata": {"name": name}})
    metadata = {"name": "kubernetes", "labels": LABELS}
    ports = [{"name": PORT_NAME, "port": SERVICE_PORT, "targetPort": port, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "clusterIP": API_SERVICE_ADDRESS, "ports": ports}
    _ensure(registry, "services", "default", {"metadata": metadata, "spec": spec})
    if address:
        _publish(registry, address, port)


def _publish(registry: Registry, address: str, port: int) -> None:
    ports = [{"name": PORT_NAME, "port": port, "protocol": "TCP"}]
    subsets = [{"addresses": [{"ip": address}], "ports": ports}]
    _ensure(registry, "endpoints", "default", {"metadata": {"name": "kubernetes"}, "subsets": subsets})
    labels = {"kubernetes.io/service-name": "kubernetes"}
    endpoints = [{"addresses": [address], "conditions": {"ready": True}}]
    piece = {"metadata": {"name": "kubernetes", "labels": labels}, "addressType": "IPv4"}
    _ensure(
        registry,
        "endpointslices.discovery.k8s.io",
        "default",
        {**piece, "ports": ports, "endpoints": endpoints},
    )


def _ensure(registry: Registry, resource: str, namespace: str, wanted: JsonObject) -> None:
    """Create it, or bring everything but metadata and allocated fields up to date (the port may be a new one)."""
    name = wanted["metadata"]["name"]
    if registry.find(resource, namespace, name) is None:
        registry.create(resource, namespace, wanted)
        return

    def refresh(obj: JsonObject) -> None:
        for key, value in wanted.items():
            if key == "spec":
                obj["spec"] = {**obj["spec"], **value}
            elif key != "metadata":
                obj[key] = value

    registry.mutate(resource, namespace, name, refresh)
