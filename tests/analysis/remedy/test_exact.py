"""A remedy, applied, allows exactly the path: all pairs before and after, on the recipe and on random worlds."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from stockade.analysis.path import trace
from stockade.analysis.remedy.values import manifest
from stockade.analysis.steps import LOOKUP, Path, PathQuery
from stockade.analysis.target import TargetError
from stockade.manifests.load import load_text
from stockade.model.meta import ObjectRef
from stockade.net.cidr import format_address
from stockade.policy.compile import compile_state
from stockade.policy.verdict import ICMP
from stockade.report.manifest_text import documents
from stockade.store.delta import Upsert, apply
from stockade.store.state import POLICIES, ClusterState
from stockade.testing.build import namespace, pod, policy, service
from stockade.testing.pairs import Key, allowed_flows, around, flow_key, key_text, mentioned_ports
from stockade.testing.strategies import NAMESPACES, NODES, OUTSIDE, worlds
from stockade.testing.worlds import EXAMPLE_COM, GOOGLE_COM, STAGES, recipe

HOSTS = {"www.example.com": EXAMPLE_COM, "google.com": GOOGLE_COM}


def ask(state: ClusterState, target: str, source: ObjectRef) -> Path:
    return trace(state, PathQuery(source, target, HOSTS))


def patched(state: ClusterState, path: Path) -> ClusterState:
    return apply(state, [Upsert(POLICIES, each) for each in path.remedy.policies])


def asked_keys(path: Path) -> set[Key]:
    """The connection and the lookups it needs, for every family: a pod is itself by any of its addresses."""
    flows = []
    for step in path.steps:
        flows += [attempt.flow for attempt in step.attempts]
        if step.kind == LOOKUP and not step.ok:
            flows += [attempt.flow for attempt in step.by_tcp]
    return {(*flow_key(flow)[:4], family) for flow in flows for family in (4, 6)}


def check_exact(state: ClusterState, path: Path, ports: set[int], addresses: Collection[str]) -> set[Key]:
    """The newly allowed flows, after the checks that hold for every remedy."""
    after = patched(state, path)
    assert not path.remedy.policies or after is not state
    before_keys, after_keys = (allowed_flows(each, ports, addresses) for each in (state, after))
    new = after_keys - before_keys
    named = {flow_key(flow) for flow in path.remedy.also}
    assert not before_keys - after_keys, "the change takes something away"
    unasked = sorted(map(key_text, new - asked_keys(path) - named))
    assert not unasked, f"allows more than was asked and named: {unasked}"
    assert named <= new, "names connections that it does not allow"
    assert not named & asked_keys(path)
    assert trace(after, path.query).allowed == path.remedy.complete
    return new


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "target",
    [
        "http://web:80",
        "http://www.example.com/",
        "pod/web:80",
        "93.184.216.34:443",
        "svc/web:80",
        "icmp://web",
    ],
)
def test_on_the_recipe_exactly_the_path_becomes_allowed(stage, target):
    state = recipe(stage)
    path = ask(state, target, ObjectRef("default", "test"))
    if path.allowed:
        assert path.remedy is None
        return
    ports = mentioned_ports(state.policies.values()) | around([53, 80, 443, 8080])
    new = check_exact(state, path, ports, (EXAMPLE_COM, GOOGLE_COM, "172.30.0.1", "2001:db8::7"))
    assert path.remedy.also == ()
    if path.remedy.complete:
        assert path.remedy.notes == () or "93.184.216.34/32" in path.remedy.notes[0]
        denied = {flow_key(a.flow) for step in path.steps for a in step.attempts if not a.allowed}
        assert denied <= new
        tcp = (*flow_key(path.steps[0].by_tcp[0].flow),) if path.steps[0].by_tcp else None
        assert new == denied | ({tcp} if tcp and not path.steps[0].ok else set())


def test_the_four_stages_differ_where_they_should():
    answers = {stage: ask(recipe(stage), "http://web:80", ObjectRef("default", "test")) for stage in STAGES}
    rules = {
        stage: [len(rule.ports) for each in path.remedy.policies for rule in each.spec.egress]
        for stage, path in answers.items()
        if path.remedy
    }
    assert rules == {"deny-all": [2, 1], "dns": [1], "kube-dns": [1]}
    assert answers["none"].allowed
    assert [len(path.warnings) for path in answers.values()] == [0, 0, 1, 0]


@st.composite
def questions(draw: st.DrawFn) -> tuple[ClusterState, PathQuery]:
    """A random world with kube-dns, sometimes closed, and a Service; and something to reach in it."""
    state = draw(worlds(invalid=draw(st.booleans())))
    closed = draw(st.sampled_from([None, {}, {"policyTypes": ["Egress", "Ingress"]}]))
    dns = {"k8s-app": "kube-dns"}
    ports = [{"port": 53, "protocol": protocol, "targetPort": 53} for protocol in ("UDP", "TCP")]
    extra = [
        pod("kube-system/dns-1", dns, "10.244.0.100"),
        pod("kube-system/other", draw(st.sampled_from([{}, dns, {"app": "x"}])), "10.244.0.101"),
        service("kube-system/kube-dns", dns, "10.96.0.10", *ports),
    ]
    if closed is not None:
        extra.append(policy("kube-system/closed", closed))
    home = draw(st.sampled_from(NAMESPACES))
    selector = draw(st.sampled_from([{"app": "x"}, {"tier": "x"}, {"app": "y", "tier": "x"}]))
    port = {"port": 80, "targetPort": draw(st.sampled_from([80, 8080, "http"])), "protocol": "TCP"}
    extra += [namespace("kube-system"), service(f"{home}/front", selector, "10.96.0.77", port)]
    live = sorted(ref for ref, each in state.pods.items() if not each.is_finished)
    assume(live)
    source, other = draw(st.sampled_from(live)), draw(st.sampled_from(live))
    for number, ref in enumerate((source, other)):
        if draw(st.booleans()):  # as replicas are: labels alone cannot tell them apart
            extra.append(
                pod(f"{ref.namespace}/twin-{number}", state.pods[ref].labels, f"10.244.0.{110 + number}")
            )
    tables = (state.namespaces, state.nodes, state.pods, state.policies)
    state = ClusterState.of([*(each for table in tables for each in table.values()), *extra])
    number = draw(st.sampled_from([53, 80, 443]))
    protocol = draw(st.sampled_from(["tcp", "tcp", "udp", "sctp"]))
    outside = [text for text in OUTSIDE if text not in {"127.0.0.1", "::1"}]
    address = draw(st.sampled_from([*outside, NODES["node-2"][0]]))
    bracketed = f"[{address}]" if ":" in address else address
    target = draw(
        st.sampled_from(
            [
                f"{other.namespace}:pod/{other.name}:{number}/{protocol}",
                f"{other.namespace}:pod/{other.name}:{number}/{protocol}",
                f"{home}:svc/front",
                f"http://front.{home}:80/",
                f"{bracketed}:{number}/{protocol}",
                "http://www.example.com/",
                "http://elsewhere.example/",
                f"icmp://front.{home}/",
            ]
        )
    )
    return state, PathQuery(source, target, HOSTS)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(questions())
def test_on_random_worlds_exactly_the_path_becomes_allowed(question):
    state, query = question
    try:
        path = trace(state, query)
    except TargetError:
        event("not a question")
        return
    if path.remedy is None:
        event("allowed")
        return
    event(f"complete {path.remedy.complete}, policies {len(path.remedy.policies)}")
    event(f"also {bool(path.remedy.also)}")
    ports = around({key[3] for key in asked_keys(path) if key[3]}) | {53, 81}
    on_nodes = {
        address
        for each in compile_state(state).pods
        if each.pod.on_host_network
        for address in each.addresses
    }
    asked = {end for key in asked_keys(path) for end in key[:2] if isinstance(end, tuple)} - on_nodes
    addresses = {"93.184.216.34", "10.200.0.1", "2001:db8::7", *(format_address(*each) for each in asked)}
    check_exact(state, path, ports, addresses)
    check_named(path)
    check_loads(path, state)


def check_named(path: Path) -> None:
    """Whoever gains something is named in a note (five of each at most)."""
    text = "\n".join(path.remedy.notes)
    assert bool(path.remedy.also) == ("also allows" in text)
    sources = {str(flow.source.ref) for flow in path.remedy.also}
    assert len(sources) > 5 or all(source in text for source in sources)


def check_loads(path: Path, state: ClusterState) -> None:
    """kubectl's reading of the YAML is what was meant, and the API would accept it under a name that is free."""
    text = documents(manifest(each) for each in path.remedy.policies)
    loaded = load_text(text)
    assert not loaded.has_errors, loaded.diagnostics
    assert [each.view.ref for each in loaded.objects] == [each.ref for each in path.remedy.policies]
    assert not {each.ref for each in path.remedy.policies} & set(state.policies)
    again = ClusterState.of(each.view for each in loaded.objects)
    meant = ClusterState.of(path.remedy.policies)
    assert {ref: each.spec for ref, each in again.policies.items()} == {
        ref: each.spec for ref, each in meant.policies.items()
    }


def test_ping_is_never_bought_with_every_port():
    path = ask(recipe("kube-dns"), "icmp://google.com", ObjectRef("default", "test"))
    assert path.remedy.policies == ()
    assert not path.remedy.complete
    assert ICMP in path.remedy.notes[0]
    assert "would open every port" in path.remedy.notes[0]
