"""Which Service a packet was meant for. The kernel logs what remains after translation: a backend's address and port.

In: the cluster's state, a pod or address, protocol and port. Out: the Service's name or "". Called by ``agent.drops``.
"""

from __future__ import annotations

from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod, Service, ServicePort
from stockade.net.cidr import format_address
from stockade.store.state import ClusterState


def service_of_pod(state: ClusterState, ref: ObjectRef, protocol: str, port: int | None) -> str:
    """The first Service (by name) that sends ``protocol``/``port`` to this pod."""
    pod = state.pods.get(ref)
    if pod is None or port is None:
        return ""
    names = (
        service.ref.name
        for service in state.services.values()
        if service.ref.namespace == ref.namespace
        and _selects(service, pod)
        and _sends(service, pod, protocol, port)
    )
    return min(names, default="")


def service_of_address(state: ClusterState, family: int, address: int) -> str:
    """``namespace/name`` of the Service with this ClusterIP: it has no backend, or its translation is missing."""
    text = format_address(family, address)
    refs = (str(service.ref) for service in state.services.values() if text in service.virtual_ips)
    return min(refs, default="")


def _selects(service: Service, pod: Pod) -> bool:
    selector = service.spec.selector or {}
    return bool(selector) and all(pod.labels.get(key) == value for key, value in selector.items())


def _sends(service: Service, pod: Pod, protocol: str, port: int) -> bool:
    return any(
        (entry.protocol or "TCP") == protocol and port in _targets(entry, pod)
        for entry in service.spec.ports or []
    )


def _targets(entry: ServicePort, pod: Pod) -> set[int]:
    target = entry.target_port
    if isinstance(target, str) and not target.isdigit():
        return {port.container_port for port in pod.named_ports() if port.name == target}
    return {int(target) if target else entry.port}
