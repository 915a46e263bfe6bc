"""Service translation as the kernel's DNAT does it: from a Service and a port to the pods behind it (rules 23, 39-44).

In: ClusterState, a Service, a port. Out: Backend values. Pure; called by ``path`` and, to say which Service a pod answers for, by reports.
"""

from __future__ import annotations

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod, Service, ServicePort
from stockade.model.selectors import LabelSelector
from stockade.store.state import ClusterState


class Backend(msgspec.Struct, frozen=True):
    """One endpoint: ``pod`` is None for endpoints that are no pods; ``port`` is the pod's own."""

    pod: ObjectRef | None
    address: str
    port: int


class NoSuchPortError(ValueError):
    """The Service has no such port; the message lists those it has."""


def service_port(service: Service, port: int | str | None, protocol: str) -> ServicePort:
    """The port meant by a number or a name; the only one when ``port`` is None. Raises NoSuchPortError."""
    ports = service.spec.ports or []
    if port is None and len(ports) == 1:
        return ports[0]
    for candidate in ports:
        if candidate.protocol == protocol and port in (candidate.port, candidate.name):
            return candidate
    listed = ", ".join(f"{p.port}/{p.protocol}" + (f" ({p.name})" if p.name else "") for p in ports) or "none"
    asked = "which port?" if port is None else f"no port {port}/{protocol}:"
    raise NoSuchPortError(f"Service {service.ref}: {asked} it has {listed}")


def backends(state: ClusterState, service: Service, port: ServicePort) -> tuple[Backend, ...]:
    """From the EndpointSlices when the state has some of this Service (live clusters), else by selector (files)."""
    slices = [s for s in state.endpoint_slices.values() if s.service == service.ref]
    if slices:
        return tuple(
            Backend(
                ObjectRef(endpoint.target_ref.namespace, endpoint.target_ref.name)
                if endpoint.target_ref
                else None,
                address,
                slice_port.port,
            )
            for part in slices
            for slice_port in part.ports or []
            if slice_port.port
            and slice_port.protocol == port.protocol
            and (slice_port.name or "") == port.name
            for endpoint in part.endpoints or []
            if endpoint.conditions.ready is not False
            for address in endpoint.addresses[:1]
        )
    return tuple(backend for pod in _selected(state, service) if (backend := _backend(pod, port)))


def _selected(state: ClusterState, service: Service) -> list[Pod]:
    if not service.spec.selector:
        return []
    selector = LabelSelector(match_labels=service.spec.selector)
    return [
        pod
        for ref, pod in sorted(state.pods.items())
        if ref.namespace == service.metadata.namespace
        and selector.matches(pod.labels)
        and not pod.is_finished
    ]


def _backend(pod: Pod, port: ServicePort) -> Backend | None:
    """A named targetPort resolves on each pod, by name and protocol; a pod without it is no endpoint."""
    target = port.target_port if port.target_port not in (None, 0, "") else port.port
    if isinstance(target, str):
        named = (
            p.container_port for p in pod.named_ports() if (p.name, p.protocol) == (target, port.protocol)
        )
        number = next(named, None)
        if number is None:
            return None
        target = number
    assert isinstance(target, int)
    return Backend(pod.ref, pod.ips[0] if pod.ips else "", target)
