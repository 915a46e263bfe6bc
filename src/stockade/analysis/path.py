"""From a pod to a name, step by step: lookup, Service translation, connection; which step stops, and what it looks like.

In: a ClusterState and a PathQuery. Out: a Path. Called by ``stockade explain`` and ``check``. Pure.

    name --lookup--> kube-dns pods, 53/UDP --> address --translate--> backend pods --connect--> egress and ingress

A policy judges packets, not names: a Service is seen as the pod behind it (rules 23, 39), and a lookup is traffic like
any other (rule 45), so a pod that may reach nobody fails before it has an address to connect to.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stockade.analysis import families, pitfalls
from stockade.analysis.backends import Backend, backends, exposed_at, node_address, service_port
from stockade.analysis.naming import resolve
from stockade.analysis.remedy.suggest import Asked, Run, suggest
from stockade.analysis.steps import (
    CONNECT,
    LOOKUP,
    NO_FAMILY,
    NO_NAME,
    TRANSLATE,
    UNKNOWN_ADDRESS,
    Attempt,
    Path,
    PathQuery,
    Step,
    attempts_step,
)
from stockade.analysis.symptom import Request, symptom
from stockade.analysis.target import ADDRESS, NODE, POD, SERVICE, WORKLOAD, Target, TargetError, parse_target
from stockade.analysis.wording import wordings
from stockade.analysis.workloads import nothing_runs, pods_of
from stockade.model.meta import ObjectMeta, ObjectRef
from stockade.model.objects import Pod, Service, ServicePort
from stockade.net.cidr import format_address, parse_address
from stockade.policy.compile import compile_state
from stockade.policy.compiled import BlockPeer, CompiledPolicies, PodEntry
from stockade.policy.ends import end_of
from stockade.policy.evaluate import UnknownPodError, endpoint_for, evaluate
from stockade.policy.matching import Candidate, any_port_matches
from stockade.policy.verdict import ICMP, AddressEndpoint, Endpoint, Flow, PodEndpoint
from stockade.store.delta import Upsert, apply
from stockade.store.state import PODS, ClusterState

DNS_SERVICE = ObjectRef("kube-system", "kube-dns")
DNS_LABELS = {"k8s-app": "kube-dns"}
_DNS_PORT = 53
# Stands for a host whose address nobody told us; from the block kept for documentation, so that no rule means it.
_SOMEWHERE = "203.0.113.1"
_SOMEWHERE_6 = "2001:db8::1"
_POD_IP = "<pod IP>"


class World(msgspec.Struct, frozen=True):
    """A state made ready for any number of paths. ``assumed``: what had to be added to it, for people."""

    state: ClusterState
    compiled: CompiledPolicies
    assumed: str = ""


def prepare(state: ClusterState, *, blocks_match_pods: bool = True) -> World:
    """Files seldom hold kube-dns; a lookup is judged on the pod that every cluster has. ``blocks_match_pods`` as in PathQuery."""
    known = DNS_SERVICE in state.services or any(_is_dns(pod) for pod in state.pods.values())
    if known:
        return World(state, compile_state(state, blocks_match_pods=blocks_match_pods))
    meta = ObjectMeta(name=DNS_SERVICE.name, namespace=DNS_SERVICE.namespace, labels=DNS_LABELS)
    state = apply(state, [Upsert(PODS, Pod(metadata=meta))])
    assumed = "no kube-dns in the input: assumed a pod labelled k8s-app=kube-dns in namespace kube-system"
    return World(state, compile_state(state, blocks_match_pods=blocks_match_pods), assumed)


def trace(state: ClusterState, query: PathQuery, *, with_remedy: bool = True) -> Path:
    """Raises TargetError and UnknownPodError, both with a sentence for people. ``with_remedy=False`` for whoever only wants
    to know whether it is allowed."""
    world = prepare(state, blocks_match_pods=query.blocks_match_pods)
    path = trace_in(world, query)
    if path.allowed or path.undecided or not with_remedy:
        return path
    target = query.aim or parse_target(query.target, query.namespace)
    asked = Asked(query.source.name, query.namespace, target_words(target, query.namespace, path.port))
    found = suggest(world.state, world.compiled, [Run(path.steps)], asked)
    return msgspec.structs.replace(path, remedy=found)


def trace_in(world: World, query: PathQuery) -> Path:
    """For callers with several questions about one state, whose reading of ipBlock then holds; without a remedy."""
    tracer = _Tracer(world, query)
    tracer.run()
    return tracer.result()


def target_words(target: Target, home: str, port: int | None) -> str:
    """For the name of a policy: ``web-80``, ``api-other-53-udp``, ``web-8000-8100``. ``port``: the one that was found."""
    namespace = "" if target.namespace == home else target.namespace
    protocol = "" if target.protocol == "TCP" else target.protocol.lower()
    ports = [str(port) for port in (target.port or port, target.last_port) if port is not None]
    return "-".join(part for part in (target.name, namespace, *ports, protocol) if part)


class _Tracer:
    def __init__(self, world: World, query: PathQuery) -> None:
        self.query = query
        self.target = query.aim or parse_target(query.target, query.namespace)
        self.steps: list[Step] = []
        self.warnings: dict[str, None] = {}
        self.address, self.port = "", self.target.port
        self.world, self.state, self.compiled = world, world.state, world.compiled
        self.source: Endpoint = query.outside or PodEndpoint(query.source)
        self.entry: PodEntry | None = None  # None for a host outside
        if query.outside is None:
            index = self.compiled.by_ref.get(query.source)
            if index is None:
                raise UnknownPodError(f"pod {query.source} does not exist or has finished")
            self.entry = self.compiled.pods[index]
        self.near = self._source_families()

    def _source_families(self) -> families.Families:
        if self.query.family is not None:
            return (self.query.family,)
        if self.query.outside is not None:
            return tuple(families.of_node(self.compiled, self.query.outside))
        return families.families_of(self.compiled, self.source)

    def run(self) -> None:
        if self.target.kind in {POD, WORKLOAD}:
            self._to_pods(self._named_pods())
        elif self.target.kind == ADDRESS:
            self._to_address(self.target.name)
        elif self.target.kind == NODE:
            node_address(self.compiled, self.target.name)  # raises when the node is not known
            own = self.compiled.node_addresses[self.target.name]
            shared = (each for each in own if each[0] in self.near)
            self._to_address(format_address(*next(shared, own[0])))
        elif self.target.kind == SERVICE:
            service = self.state.services.get(self.target.ref)
            if service is None:
                raise TargetError(f"service {self.target.ref} does not exist")
            if self.entry is None:
                self._from_outside_to(service)
            else:
                self._to_name(self.entry, self._service_name())
        elif self.entry is None:
            raise TargetError(
                f"{self.query.target!r}: names mean nothing to a host outside the cluster; write pod/NAME, svc/NAME or IP:PORT"
            )
        else:
            self._to_name(self.entry, self.target.name)
        for text in pitfalls.open_dns(self.entry) if self.entry else ():
            self._warn(text)

    def result(self) -> Path:
        failed = next((at for at, step in enumerate(self.steps) if not step.ok), None)
        stopped = None if failed is None else self.steps[failed]
        undecided = stopped is not None and stopped.undecided
        cause = "" if stopped is None else f"{stopped.title}: {stopped.detail}"
        if stopped is not None and undecided:
            cause, failed = stopped.detail, None
        return Path(
            query=self.query,
            steps=tuple(self.steps),
            allowed=stopped is None,
            undecided=undecided,
            failed=failed,
            port=self.port,
            cause=cause,
            symptom=() if undecided else symptom(self._request(), stopped),
            elsewhere=()
            if undecided
            else tuple((each.client, each.text) for each in wordings(self._request(), stopped)),
            warnings=tuple(self.warnings),
        )

    def _request(self) -> Request:
        """A reference has no URL: the application is taken to write the Service's name, or the pod's address."""
        target, host = self.target, self.target.as_written
        if not host:
            numeric = f"[{self.address}]" if ":" in self.address else self.address
            host = self._service_name() if target.kind == SERVICE else numeric
            port = target.port if target.kind == SERVICE else self.port
            host = f"{host}:{port}" if port and target.protocol == "TCP" else host
        return Request(host=host, protocol=target.protocol, address=self.address, port=self.port)

    def _service_name(self) -> str:
        near = self.target.namespace == self.query.namespace
        return self.target.name if near else f"{self.target.name}.{self.target.namespace}"

    # The ways to start

    def _named_pods(self) -> tuple[ObjectRef, ...]:
        if self.target.kind == WORKLOAD:
            found = pods_of(self.compiled, self.target.workload, self.target.ref)
            if not found:
                raise TargetError(nothing_runs(self.target.workload, self.target.ref))
            return found
        if self.target.ref not in self.compiled.by_ref:
            raise UnknownPodError(f"pod {self.target.ref} does not exist or has finished")
        return (self.target.ref,)

    def _to_pods(self, refs: tuple[ObjectRef, ...]) -> None:
        first = self.compiled.pods[self.compiled.by_ref[refs[0]]].pod
        if self.port is None and self.target.protocol != ICMP:
            self.port = _first_port(first, self.target.protocol)
        self.address = self._address_of(PodEndpoint(refs[0]))
        self._connect([Backend(PodEndpoint(ref), self.port or 0) for ref in refs])

    def _to_address(self, text: str) -> None:
        self.address = text
        exposed = exposed_at(self.state, self.compiled, text, self.port, self.target.protocol)
        if exposed is not None:
            self._translate(*exposed)
            return
        service = next((each for each in self.state.services.values() if text in each.virtual_ips), None)
        if service is not None:
            self._to_service(service, text)
        else:
            self._require_port()
            end = endpoint_for(self.compiled, parse_address(text))
            self._connect([Backend(end, self.port or 0)], families.family_of(text))

    def _from_outside_to(self, service: Service) -> None:
        for text in pitfalls.from_outside(service, str(self.source)):
            self._warn(text)
        self._to_service(service)

    def _to_name(self, entry: PodEntry, name: str) -> None:
        naming = resolve(self.state, name, self.query.namespace)
        self._lookup(entry, name, naming.questions, outside=naming.exists and naming.service is None)
        if naming.service is not None and naming.service.spec.type == "ExternalName":
            self._to_outside(naming.service.spec.external_name.rstrip("."))
        elif naming.service is not None:
            self._to_service(naming.service)
        elif naming.exists:
            self._to_outside(name.rstrip("."))
        elif self.steps[-1].ok:
            missing = f"nobody answers to {name!r}: no Service of that name (asked for {', '.join(naming.questions)})"
            self.steps[-1] = msgspec.structs.replace(self.steps[-1], ok=False, detail=missing)

    # The three steps

    def _lookup(self, entry: PodEntry, name: str, questions: tuple[str, ...], *, outside: bool) -> None:
        if self.world.assumed:
            self._warn(self.world.assumed)
        title = f"lookup of {name}"
        policy = entry.pod.spec.dns_policy
        inside = policy == "ClusterFirstWithHostNet" or (
            policy == "ClusterFirst" and not entry.pod.on_host_network
        )
        if not inside:
            whose = "its own" if policy == "None" else "the node's"
            detail = f"asks its resolver (dnsPolicy {policy}: {whose}), which is not judged here"
            if outside:
                self._warn(f"the {title} goes to a resolver that is not judged (dnsPolicy {policy}: {whose})")
            else:
                detail = f"its resolver (dnsPolicy {policy}: {whose}) does not know cluster names"
            self.steps.append(
                Step(kind=LOOKUP, title=title, ok=outside, detail=detail, trouble="" if outside else NO_NAME)
            )
            return
        servers = self._dns_backends("UDP")
        step = self._judged(LOOKUP, title, servers, "UDP", self._resolver_family(servers))
        step = msgspec.structs.replace(step, questions=questions)
        if not servers:
            detail = f"Service {DNS_SERVICE} has no endpoints: no policy is to blame"
            step = msgspec.structs.replace(step, detail=detail)
        by_tcp = self._dns_backends("TCP")
        large = self._judged(LOOKUP, title, by_tcp, "TCP", self._resolver_family(by_tcp)).attempts
        step = msgspec.structs.replace(step, by_tcp=large)
        self.steps.append(step)
        self._warn_translation(step, self.state.services.get(DNS_SERVICE), _DNS_PORT)
        if step.ok and not all(attempt.allowed for attempt in large):
            self._warn(
                "lookups by TCP are denied, and answers that do not fit into a datagram need TCP port 53"
            )

    def _dns_backends(self, protocol: str) -> tuple[Backend, ...]:
        service = self.state.services.get(DNS_SERVICE)
        if service is None:
            pods = (pod for pod in self.state.pods.values() if _is_dns(pod) and not pod.is_finished)
            return tuple(Backend(PodEndpoint(pod.ref), _DNS_PORT) for pod in pods)
        port = service_port(service, _DNS_PORT, protocol)
        return backends(self.state, self.compiled, service, port) if port else ()

    def _resolver_family(self, servers: tuple[Backend, ...]) -> families.Families:
        """A pod is told one address of kube-dns, the first."""
        service = self.state.services.get(DNS_SERVICE)
        if service is not None:
            return families.of_service(service, self.compiled, servers)[:1]
        ends = (families.families_of(self.compiled, each.endpoint) for each in servers)
        return next((own[:1] for own in ends if own), self.near[:1])

    def _to_service(self, service: Service, typed: str = "") -> None:
        port = service_port(service, None if service.is_headless else self.port, self.target.protocol)
        shared = (ip for ip in service.virtual_ips if families.family_of(ip)[0] in self.near)
        self.address = typed or next(shared, next(iter(service.virtual_ips), "<ClusterIP>"))
        if port is None:
            title = f"translation of Service {service.ref}"
            if self.target.protocol == ICMP:
                detail = (
                    f"Service {service.ref} is an address for its ports only: nobody answers to ping there"
                )
                self.steps.append(Step(kind=TRANSLATE, title=title, ok=False, detail=detail))
                return
            listed = ", ".join(f"{each.protocol} {each.port}" for each in service.spec.ports or []) or "none"
            asked = f"{self.target.protocol} {self.port or ''}".rstrip()
            detail = f"Service {service.ref} has no port {asked} (it has {listed}): no policy is to blame"
            self.steps.append(Step(kind=TRANSLATE, title=title, ok=False, detail=detail))
            return
        self.port = self.port or port.port
        self._translate(service, port, by_name=not typed)

    def _translate(self, service: Service, port: ServicePort, *, by_name: bool = False) -> None:
        """``self.address`` and ``self.port`` are what the application connects to: the Service's own, or a node's."""
        title = f"translation of Service {service.ref}"
        every = self._service_backends(service, port)
        wanted = families.family_of(self.address)
        if by_name:
            wanted = families.of_service(service, self.compiled, every)
        found = families.in_family(self.compiled, every, wanted)
        if not found:
            kind = f"{families.names(wanted)} " if every else ""
            detail = f"Service {service.ref} has no ready {kind}endpoints: no policy is to blame"
            self.steps.append(Step(kind=TRANSLATE, title=title, ok=False, detail=detail))
            return
        if service.is_headless:
            self.address = self._address_of(found[0].endpoint, wanted)
        behind = ", ".join(dict.fromkeys(f"{each.endpoint} port {each.port}" for each in found))
        address = f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
        self.steps.append(Step(kind=TRANSLATE, title=title, ok=True, detail=f"{address} is {behind}"))
        self._warn_translation(self._connect(list(found), wanted), service, self.port or port.port)

    def _warn_translation(self, step: Step, service: Service | None, port: int) -> None:
        if service is None:
            return
        denied = [attempt for attempt in step.attempts if not attempt.allowed]
        for text in pitfalls.service_port_in_rules(self.compiled, denied, service, port):
            self._warn(text)
        for text in pitfalls.service_address_in_rules(self.compiled, denied, service):
            self._warn(text)

    def _service_backends(self, service: Service, port: ServicePort) -> tuple[Backend, ...]:
        """Nothing translates a headless Service: the pod is asked on the port that was written (rule 43)."""
        found = backends(self.state, self.compiled, service, port)
        if service.is_headless and self.target.port is not None:
            return tuple(
                dict.fromkeys(Backend(each.endpoint, self.target.port, each.family) for each in found)
            )
        return found

    def _to_outside(self, name: str) -> None:
        self._require_port()
        known = self.query.hosts.get(name)
        self.address = known or "ADDRESS"
        family, value = parse_address(known or (_SOMEWHERE_6 if self.near == (6,) else _SOMEWHERE))
        endpoint = endpoint_for(self.compiled, (family, value))
        if isinstance(endpoint, AddressEndpoint):
            text = f"{name} ({known})" if known else f"{name} (address not known here)"
            endpoint = AddressEndpoint(family, value, text)
        step = self._connect([Backend(endpoint, self.port or 0)])
        if known is None:
            self.steps[-1] = msgspec.structs.replace(step, stand_in=True)
            if self._address_decides(step):
                detail = UNKNOWN_ADDRESS.format(name)
                self.steps[-1] = Step(
                    kind=CONNECT, title=step.title, ok=False, detail=detail, stand_in=True, undecided=True
                )

    def _address_decides(self, step: Step) -> bool:
        """With blocks among the rules for that port, a verdict without the address is a guess."""
        if not step.attempts:
            return False
        flow, verdict = step.attempts[0].flow, step.attempts[0].verdict.egress
        rules = self.entry.egress.rules if self.entry and self.entry.egress else ()
        if any(rule.peers is None and rule.ref in verdict.allowed_by for rule in rules):
            return False
        end = end_of(self.compiled, flow.destination)
        seen = Candidate(
            other=end, destination=end, protocol=flow.protocol, port=flow.port, family=flow.family
        )
        asked = (rule for rule in rules if any_port_matches(rule, seen))
        return any(isinstance(peer, BlockPeer) for rule in asked for peer in rule.peers or ())

    def _connect(self, targets: list[Backend], wanted: families.Families = ()) -> Step:
        port = "" if self.target.protocol == ICMP else f" {self.target.protocol} {self.port}"
        title = f"connection to {self.target.name}{port}"
        step = self._judged(CONNECT, title, targets, self.target.protocol, wanted)
        self.steps.append(step)
        return step

    def _judged(
        self, kind: str, title: str, targets: Iterable[Backend], protocol: str, wanted: families.Families
    ) -> Step:
        """Every backend in every family in which the application may meet it. ``wanted``: those of the address it has."""
        attempts: list[Attempt] = []
        apart = ""
        for each in targets:
            far = (each.family,) if each.family else families.families_of(self.compiled, each.endpoint)
            near = () if families.is_loopback(self.address) else self.near
            shared = families.common(near, far, wanted)
            attempts += [self._attempt(each, protocol, family) for family in shared]
            if not shared:
                has = families.names(tuple(each for each in far if each in (wanted or far)) or far)
                apart = apart or (
                    f"{NO_FAMILY}: {self.source} has {families.names(near)}, {each.endpoint} is met by {has};"
                    " no policy is to blame"
                )
        step = attempts_step(kind, title, tuple(attempts))
        if not apart:
            return step
        detail = f"{apart}; {step.detail}" if attempts and not step.ok else apart
        return msgspec.structs.replace(step, ok=False, detail=detail, trouble=NO_FAMILY)

    def _attempt(self, backend: Backend, protocol: str, family: int) -> Attempt:
        port = None if protocol == ICMP else backend.port
        source = self.source
        if isinstance(source, AddressEndpoint) and source.family != family:
            source = families.of_node(self.compiled, source).get(family, source)
        flow = Flow(source, backend.endpoint, protocol, port, family)
        return Attempt(flow, evaluate(self.compiled, flow))

    # Small facts

    def _address_of(self, endpoint: Endpoint, wanted: families.Families = ()) -> str:
        if isinstance(endpoint, AddressEndpoint):
            return format_address(endpoint.family, endpoint.address)
        ips = self.compiled.pods[self.compiled.by_ref[endpoint.ref]].pod.ips
        allowed = wanted or self.near
        shared = (ip for ip in ips if set(families.family_of(ip)) & set(allowed))
        return next(shared, ips[0] if ips else _POD_IP)

    def _require_port(self) -> None:
        if self.port is None and self.target.protocol != ICMP:
            raise TargetError(
                f"{self.query.target!r} names no port; write {self.query.target}:80, for example"
            )

    def _warn(self, text: str) -> None:
        self.warnings[text] = None


def _is_dns(pod: Pod) -> bool:
    return pod.ref.namespace == DNS_SERVICE.namespace and DNS_LABELS.items() <= pod.labels.items()


def _first_port(pod: Pod, protocol: str) -> int:
    for container in pod.spec.containers or []:
        for port in container.ports or []:
            if port.protocol == protocol:
                return port.container_port
    raise TargetError(f"pod {pod.ref} declares no {protocol} port; write pod/{pod.ref.name}:PORT")
