"""Which ports of TO are allowed from FROM: ranges per protocol, exact.

In: a ClusterState and a Question without a port. Out: a PortMap for each pair of ends (for a Service: one for all of its
backends, because nobody chooses which one answers). Called by ``stockade check --all-ports``. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from stockade.analysis import atoms
from stockade.analysis.ask import Question, aim_of, path_to
from stockade.analysis.naming import resolve
from stockade.analysis.path import World, prepare
from stockade.analysis.source import origin_text, origins, parse_source
from stockade.analysis.steps import Origin, Path
from stockade.analysis.target import NAME, SERVICE, Target, TargetError, at_port
from stockade.model.meta import ObjectRef
from stockade.model.objects import Service
from stockade.net.ranges import RangeSet
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.content import MAX_PORT
from stockade.policy.ends import end_of
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import ICMP, Endpoint, Flow
from stockade.store.state import ClusterState

PROTOCOLS = ("TCP", "UDP", "SCTP")
EVERY_PORT = RangeSet.of((atoms.FIRST_PORT, MAX_PORT))


class PortMap(msgspec.Struct, frozen=True, kw_only=True):
    """``ports`` by protocol; ``icmp`` None where nobody answers to it (Services). ``note``: what else stands in the way."""

    source: str
    destination: str
    ports: dict[str, RangeSet]
    icmp: bool | None
    note: str = ""

    @property
    def any_allowed(self) -> bool:
        return bool(self.icmp) or any(self.ports.values())


def all_ports(state: ClusterState, question: Question) -> tuple[PortMap, ...]:
    """Raises TargetError and UnknownPodError."""
    world = prepare(state, blocks_match_pods=question.blocks_match_pods)
    found = origins(world.compiled, parse_source(question.source, question.namespace))
    return tuple(each for origin in found for each in _from(world, question, origin))


def allowed_ports(
    compiled: CompiledPolicies, source: Endpoint, destination: Endpoint, protocol: str, family: int
) -> RangeSet:
    """One verdict for each run of ports on which all rules agree."""
    near, far = end_of(compiled, source).entry, end_of(compiled, destination).entry
    profiles = (near.egress if near else None, far.ingress if far else None)
    named = far.named_ports if far else {}
    first = atoms.starts(profiles, named, protocol)
    return RangeSet(
        (low, following - 1)
        for low, following in zip(first, [*first[1:], MAX_PORT + 1], strict=True)
        if evaluate(compiled, Flow(source, destination, protocol, low, family)).allowed
    )


def _from(world: World, question: Question, origin: Origin) -> Iterator[PortMap]:
    target = aim_of(question, origin)
    if target.port is not None or target.protocol == ICMP:
        raise TargetError(f"{question.target!r} names a port or ICMP; every port is asked about")
    protocols = (target.protocol,) if question.protocol else PROTOCOLS

    def path(port: int, protocol: str) -> Path:
        aim = msgspec.structs.replace(at_port(target, port), protocol=protocol)
        return path_to(world, question, origin, aim)

    space = origin.namespace if isinstance(origin, ObjectRef) else question.namespace
    service = _service(world, target, space)
    if service is not None and not service.is_headless and service.spec.type != "ExternalName":
        yield _to_service(service, origin_text(origin), protocols, path)
    else:
        whole = not question.protocol
        yield from _to_ends(world, path(atoms.FIRST_PORT, protocols[0]), protocols, with_icmp=whole)


def _to_service(
    service: Service, source: str, protocols: Iterable[str], path: Callable[[int, str], Path]
) -> PortMap:
    """Only its own ports are translated."""
    paths = {(each.protocol, each.port): path(each.port, each.protocol) for each in service.spec.ports or []}
    open_ports = [key for key, found in paths.items() if found.allowed]
    return PortMap(
        source=source,
        destination=f"Service {service.ref}",
        ports={name: RangeSet((port, port) for own, port in open_ports if own == name) for name in protocols},
        icmp=None,
        note="; ".join(dict.fromkeys(note for note in map(_hindrance, paths.values()) if note)),
    )


def _to_ends(world: World, path: Path, protocols: Iterable[str], *, with_icmp: bool) -> Iterator[PortMap]:
    """The path's last step has one attempt for each end."""
    for attempt in path.steps[-1].attempts:
        source, end, family = attempt.flow.source, attempt.flow.destination, attempt.flow.family
        icmp = evaluate(world.compiled, Flow(source, end, ICMP, None, family)).allowed
        yield PortMap(
            source=str(source),
            destination=str(end),
            ports={each: allowed_ports(world.compiled, source, end, each, family) for each in protocols},
            icmp=icmp if with_icmp else None,
            note=_stops_before(path),
        )


def _stops_before(path: Path) -> str:
    """A step before the connection that fails: then no port is reached under that name."""
    return next((f"{step.title} fails: {step.detail}" for step in path.steps[:-1] if not step.ok), "")


def _hindrance(path: Path) -> str:
    """Also a connection that only some of the backends refuse."""
    last = path.steps[-1]
    partly = not last.ok and any(attempt.allowed for attempt in last.attempts)
    return _stops_before(path) or (f"{last.title}: {last.detail}" if partly else "")


def _service(world: World, target: Target, namespace: str) -> Service | None:
    if target.kind == SERVICE:
        return world.state.services.get(target.ref)
    if target.kind == NAME:
        return resolve(world.state, target.name, namespace).service
    return next((each for each in world.state.services.values() if target.name in each.virtual_ips), None)
