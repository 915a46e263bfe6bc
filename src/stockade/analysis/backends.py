"""A Service's port, translated to the pods behind it, as the node's proxy does before any policy is asked.

In: state, Service, port. Out: Backends (endpoint and the pod's own port), from EndpointSlices when the Service has any,
else from its selector. Called by ``analysis.path``. Rules 23, 39-44.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stockade.analysis.target import TargetError
from stockade.model.meta import ObjectRef
from stockade.model.objects import EndpointSlice, Pod, Service, ServicePort
from stockade.net.cidr import parse_address
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.evaluate import endpoint_for
from stockade.policy.verdict import Endpoint, PodEndpoint
from stockade.store.state import ClusterState


class Backend(msgspec.Struct, frozen=True):
    """``family``: of the EndpointSlice that lists it; None when no slice does."""

    endpoint: Endpoint
    port: int
    family: int | None = None


def service_port(service: Service, port: int | None, protocol: str) -> ServicePort | None:
    """The asked port, or the only one (the first of several) when none was asked for."""
    candidates = [each for each in service.spec.ports or [] if each.protocol == protocol]
    if port is None:
        return candidates[0] if candidates else None
    return next((each for each in candidates if each.port == port), None)


def exposed_at(
    state: ClusterState, compiled: CompiledPolicies, address: str, port: int | None, protocol: str
) -> tuple[Service, ServicePort] | None:
    """Who answers at a node's address on a nodePort, or at an external address: both are translated on the way, and a
    policy sees the pod behind (rule 41)."""
    on_node = any(parse_address(address) in own for own in compiled.node_addresses.values())
    for _, service in sorted(state.services.items()):
        for each in service.spec.ports or []:
            if port is None or each.protocol != protocol:
                continue
            if (on_node and each.node_port == port) or (each.port == port and address in service.outside_ips):
                return service, each
    return None


def backends(
    state: ClusterState, compiled: CompiledPolicies, service: Service, port: ServicePort
) -> tuple[Backend, ...]:
    """Distinct, in a stable order; empty when nothing is ready: the proxy then refuses (rule 44)."""
    slices = [each for _, each in sorted(state.endpoint_slices.items()) if each.service == service.ref]
    found = _from_slices(slices, compiled, port) if slices else _from_selector(compiled, service, port)
    return tuple(dict.fromkeys(found))


def _from_slices(
    slices: list[EndpointSlice], compiled: CompiledPolicies, port: ServicePort
) -> Iterator[Backend]:
    for each in slices:
        numbers = [
            own.port
            for own in each.ports or []
            if own.port is not None and (own.name or "") == port.name and own.protocol == port.protocol
        ]
        for endpoint in each.endpoints or []:
            if endpoint.conditions.ready is False:  # absent means ready
                continue
            for address in endpoint.addresses:
                try:
                    family, value = parse_address(address)
                    who = endpoint_for(compiled, (family, value))
                except ValueError:
                    continue
                if endpoint.target_ref is not None and endpoint.target_ref.kind == "Pod":
                    ref = ObjectRef(endpoint.target_ref.namespace, endpoint.target_ref.name)
                    who = _named_pod(compiled, ref) or who
                yield from (Backend(who, number, family) for number in numbers)


def _named_pod(compiled: CompiledPolicies, ref: ObjectRef) -> PodEndpoint | None:
    """By name rather than by address: the pod may not have reported its address yet."""
    return PodEndpoint(ref) if ref in compiled.by_ref else None


def _from_selector(compiled: CompiledPolicies, service: Service, port: ServicePort) -> Iterator[Backend]:
    selector = service.spec.selector
    if not selector:
        return
    for entry in compiled.pods:
        pod = entry.pod
        if pod.ref.namespace != service.ref.namespace or pod.metadata.deletion_timestamp is not None:
            continue
        if selector.items() <= pod.labels.items():
            yield from (Backend(PodEndpoint(pod.ref), number) for number in target_numbers(pod, port))


def target_numbers(pod: Pod, port: ServicePort) -> tuple[int, ...]:
    """targetPort on one pod: a number, a name that the pod defines, or the Service's own number when not given."""
    target = port.target_port
    if isinstance(target, str):
        named = (each for each in pod.named_ports() if each.name == target and each.protocol == port.protocol)
        return tuple(each.container_port for each in named)[:1]
    return (target or port.port,)


def node_address(compiled: CompiledPolicies, name: str) -> tuple[int, int]:
    """The first address, which is the one that packets to pods carry. Raises TargetError."""
    known = compiled.node_addresses.get(name)
    if not known:
        names = ", ".join(sorted(compiled.node_addresses)) or "none"
        raise TargetError(f"node {name} is not known here, or has no address (known: {names})")
    return known[0]
