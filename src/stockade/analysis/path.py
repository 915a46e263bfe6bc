"""The whole way of a connection: name lookup, Service translation, connect. Which step fails first, and what that looks like.

In: ClusterState with its compiled policies, a source, a Target. Out: a Path: ordered steps, each with its proof; the cause; the
symptom; warnings. Pure. Called by ``stockade check`` and ``stockade explain``.

    name ──lookup──► kube-dns pods, 53/UDP ──► address or Service ──translate──► backends ──connect──► verdict per backend
    pod/x, svc/x, IP: no lookup
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stockade.analysis.services import Backend, backends, service_port
from stockade.analysis.symptom import LOOKUP_TIMED_OUT, NO_SUCH_NAME, REFUSED, TIMED_OUT, Symptom, symptoms
from stockade.analysis.target import Target
from stockade.model.meta import ObjectRef
from stockade.model.objects import Service
from stockade.net.cidr import parse_address
from stockade.policy.compiled import CompiledPolicies, PortRange
from stockade.policy.evaluate import endpoint_for, evaluate
from stockade.policy.explain import Proof, explain
from stockade.policy.verdict import AddressEndpoint, Endpoint, Flow, PodEndpoint
from stockade.store.state import ClusterState

CLUSTER_DNS = ObjectRef("kube-system", "kube-dns")
CLUSTER_DOMAIN = "cluster.local"
DNS_PORT = 53
UNKNOWN_ADDRESS = (
    "198.51.100.1"  # RFC 5737: stands for "somewhere outside" when a name's address is not known
)


class PathError(ValueError):
    """The question cannot be answered: something it names does not exist."""


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``kind``: lookup, translate or connect. ``allowed`` None: not a matter of policy."""

    kind: str
    title: str
    allowed: bool | None = None
    proofs: tuple[Proof, ...] = ()
    note: str = ""


class Path(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``cause`` is one sentence about the first step that fails; empty when nothing does. ``mixed``: some backends are
    allowed and others are not."""

    source: str
    target: str
    allowed: bool
    steps: tuple[Step, ...]
    cause: str = ""
    mixed: bool = False
    symptoms: tuple[Symptom, ...] = ()
    warnings: tuple[str, ...] = ()


class World(msgspec.Struct, frozen=True):
    """A state, its compiled policies, and addresses of names outside the cluster that somebody knows."""

    state: ClusterState
    compiled: CompiledPolicies
    known_names: Mapping[str, str] = {}


class _Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where the name leads: a virtual address with its backends, or one endpoint."""

    address: str
    port: int
    ends: tuple[tuple[Endpoint, int], ...]
    step: Step | None = None


def find_path(world: World, source: Endpoint, target: Target, protocol: str, port: int | None = None) -> Path:
    """Raises PathError, TargetError or NoSuchPortError when the question names what does not exist."""
    wanted = port if port is not None else target.port
    steps: list[Step] = []
    if target.kind == "name":
        steps.append(_lookup(world, source, target))
    destination = _destination(world, source, target, protocol, wanted)
    if destination is None:
        return _finish(world, source, target, steps, NO_SUCH_NAME, None)
    if destination.step is not None:
        steps.append(destination.step)
    if not destination.ends:
        return _finish(world, source, target, steps, REFUSED, destination)
    steps.append(_connect(world, source, destination, protocol))
    return _finish(world, source, target, steps, TIMED_OUT, destination)


def _lookup(world: World, source: Endpoint, target: Target) -> Step:
    """One query to each DNS pod; a resolver asks by UDP first (rule 45). Allowed when every DNS pod can be asked."""
    service = world.state.services.get(CLUSTER_DNS)
    if service is None:
        raise PathError(
            f"no Service {CLUSTER_DNS}: without cluster DNS the name {target.host!r} cannot be looked up"
        )
    port = service_port(service, DNS_PORT, "UDP")
    proofs = tuple(
        _judge(world, source, _end(world, backend), "UDP", backend.port)
        for backend in backends(world.state, service, port)
    )
    title = f"look up {target.host}: ask kube-dns, {DNS_PORT}/UDP"
    if not proofs:
        return Step(kind="lookup", title=title, allowed=False, note=f"Service {CLUSTER_DNS} has no endpoints")
    return Step(kind="lookup", title=title, allowed=all(proof.allowed for proof in proofs), proofs=proofs)


def _destination(
    world: World, source: Endpoint, target: Target, protocol: str, port: int | str | None
) -> _Destination | None:
    """None: the name does not exist."""
    if target.kind == "name":
        service = _service_named(world.state, source, target.host)
        if service is not None:
            return _through(world, service, port, protocol)
        return _outside(world, target, port)
    assert target.ref is not None or target.kind == "address"
    if target.kind == "service":
        assert target.ref is not None
        service = world.state.services.get(target.ref)
        if service is None:
            raise PathError(f"Service {target.ref} does not exist")
        return _through(world, service, port, protocol)
    if target.kind == "address":
        return _at_address(world, target, port, protocol)
    return _pods(world, target, port, protocol)


def _service_named(state: ClusterState, source: Endpoint, host: str) -> Service | None:
    """By the search list of the pod's resolv.conf: ``web``, ``web.ns``, ``web.ns.svc``, ``web.ns.svc.cluster.local``."""
    namespace = source.ref.namespace if isinstance(source, PodEndpoint) else "default"
    name = host.rstrip(".").lower().removesuffix(f".{CLUSTER_DOMAIN}").removesuffix(".svc")
    short, _, space = name.partition(".")
    return state.services.get(ObjectRef(space or namespace, short))


def _through(world: World, service: Service, port: int | str | None, protocol: str) -> _Destination:
    chosen = service_port(service, port, protocol)
    found = backends(world.state, service, chosen)
    address = next(iter(service.virtual_ips), "") or (found[0].address if found else "None")
    listed = ", ".join(f"{backend.address or backend.pod}:{backend.port}" for backend in found)
    step = Step(
        kind="translate",
        title=f"Service {service.ref} {address}:{chosen.port}/{chosen.protocol} leads to {listed or 'no ready endpoint'}",
        note="policies are judged on the pod behind the Service and its own port" if found else "",
    )
    ends = tuple((_end(world, backend), backend.port) for backend in found)
    return _Destination(address=address, port=chosen.port, ends=ends, step=step)


def _outside(world: World, target: Target, port: int | str | None) -> _Destination | None:
    if "." not in target.host.rstrip("."):
        return None
    known = world.known_names.get(target.host.rstrip("."))
    family, value = parse_address(known or UNKNOWN_ADDRESS)
    text = f"{target.host} ({known})" if known else target.host
    note = "" if known else "its address is not known here; it is judged as some address outside the cluster"
    step = Step(
        kind="translate",
        title=f"{target.host} is outside the cluster{f': {known}' if known else ''}",
        note=note,
    )
    number = _number(target, port)
    end = AddressEndpoint(family, value, text)
    return _Destination(address=known or "its address", port=number, ends=((end, number),), step=step)


def _at_address(world: World, target: Target, port: int | str | None, protocol: str) -> _Destination:
    for service in world.state.services.values():
        if target.host in service.virtual_ips:
            return _through(world, service, port, protocol)
    number = _number(target, port)
    end = endpoint_for(world.compiled, parse_address(target.host))
    return _Destination(address=target.host, port=number, ends=((end, number),))


def _pods(world: World, target: Target, port: int | str | None, protocol: str) -> _Destination:
    refs = pods_of(world.state, target)
    pod = world.state.pods[refs[0]]
    named = {p.name: p.container_port for p in pod.named_ports() if p.protocol == protocol}
    declared = [
        p.container_port for c in pod.spec.containers or [] for p in c.ports or [] if p.protocol == protocol
    ]
    number: int | str | None = port if port is not None else (declared[0] if len(declared) == 1 else None)
    if isinstance(number, str):
        if number not in named:
            raise PathError(f"pod {refs[0]} has no {protocol} port named {number!r}")
        number = named[number]
    number = _number(target, number)
    ends = tuple((PodEndpoint(ref), number) for ref in refs)
    return _Destination(address=next(iter(pod.ips), "its address"), port=number, ends=ends)


def pods_of(state: ClusterState, target: Target) -> list[ObjectRef]:
    """The pod, or the pods of a Deployment (their ReplicaSets are named after it). Raises PathError."""
    ref = target.ref
    assert ref is not None
    if target.kind == "pod":
        if ref in state.pods:
            return [ref]
        others = sorted(str(other) for other in state.pods if other.name == ref.name)
        hint = f"; there is {', '.join(others)}" if others else ""
        raise PathError(f"pod {ref} does not exist{hint}")
    found = [
        pod.ref
        for pod in state.pods.values()
        if pod.metadata.namespace == ref.namespace and not pod.is_finished
        if any(
            (owner.kind, owner.name) == ("Deployment", ref.name)
            or (owner.kind == "ReplicaSet" and owner.name.rpartition("-")[0] == ref.name)
            for owner in pod.metadata.owner_references or []
        )
    ]
    if not found:
        raise PathError(f"deployment {ref} has no pods")
    return sorted(found)


def _number(target: Target, port: int | str | None) -> int:
    if isinstance(port, int):
        return port
    if port is None:
        raise PathError(f"which port of {target.text}? write it as {target.text}:PORT")
    raise PathError(f"{target.text}: port {port!r} has a name, but only Services and pods name their ports")


def _end(world: World, backend: Backend) -> Endpoint:
    if backend.pod is not None and backend.pod in world.compiled.by_ref:
        return PodEndpoint(backend.pod)
    return endpoint_for(world.compiled, parse_address(backend.address))


def _connect(world: World, source: Endpoint, destination: _Destination, protocol: str) -> Step:
    proofs = tuple(_judge(world, source, end, protocol, port) for end, port in destination.ends)
    title = "connect to " + ", ".join(f"{end} {port}/{protocol}" for end, port in destination.ends)
    return Step(kind="connect", title=title, allowed=any(proof.allowed for proof in proofs), proofs=proofs)


def _judge(world: World, source: Endpoint, end: Endpoint, protocol: str, port: int) -> Proof:
    family = end.family if isinstance(end, AddressEndpoint) else 4
    flow = Flow(source=source, destination=end, protocol=protocol, port=port, family=family)
    return explain(evaluate(world.compiled, flow))


def _finish(
    world: World,
    source: Endpoint,
    target: Target,
    steps: list[Step],
    failure: str,
    destination: _Destination | None,
) -> Path:
    denied = next((step for step in steps if step.allowed is False), None)
    last = steps[-1] if steps else None
    mixed = last is not None and last.kind == "connect" and len({proof.allowed for proof in last.proofs}) > 1
    reached = destination is not None and bool(destination.ends)
    if denied is not None and denied.kind == "lookup":
        failure = LOOKUP_TIMED_OUT
    fails = denied is not None or not reached
    return Path(
        source=str(source),
        target=target.text,
        allowed=not fails and not mixed,
        steps=tuple(steps),
        cause=_cause(denied, target, reached=reached, mixed=mixed, lookup=failure == LOOKUP_TIMED_OUT),
        mixed=mixed,
        symptoms=_symptoms(failure, target, destination) if fails else (),
        warnings=_warnings(world, source),
    )


def _cause(denied: Step | None, target: Target, *, reached: bool, mixed: bool, lookup: bool) -> str:
    if denied is not None:
        reason = next((proof.summary for proof in denied.proofs if not proof.allowed), denied.note)
        return f"the lookup of {target.host} fails, before any connection: {reason}" if lookup else reason
    if not reached:
        return f"{target.text}: {'no such name' if target.kind == 'name' else 'no ready endpoint'}; policies play no part"
    return "some backends are allowed and others are not" if mixed else ""


def _symptoms(failure: str, target: Target, destination: _Destination | None) -> tuple[Symptom, ...]:
    host = target.host or (destination.address if destination else target.text)
    return symptoms(
        failure,
        authority=target.authority or host,
        host=host,
        address=destination.address if destination else "",
        port=destination.port if destination else 0,
    )


def _warnings(world: World, source: Endpoint) -> tuple[str, ...]:
    """Egress rules of the source that open port 53 of every host: a way out for data (the recipe's own warning)."""
    if not isinstance(source, PodEndpoint):
        return ()
    index = world.compiled.by_ref.get(source.ref)
    profile = world.compiled.pods[index].egress if index is not None else None
    return tuple(
        f"{rule.ref} opens port {DNS_PORT} without `to`: it reaches port {DNS_PORT} of any host, not only kube-dns"
        for rule in (profile.rules if profile else ())
        if rule.peers is None
        if any(isinstance(p, PortRange) and p.lo == p.hi == DNS_PORT for p in rule.ports or ())
    )
