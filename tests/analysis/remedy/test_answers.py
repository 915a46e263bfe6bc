"""One remedy for all pods and ports of a question; all pairs before and after say that it is neither more nor less."""

from __future__ import annotations

import pytest

from stockade.analysis.ask import Question
from stockade.analysis.ask import ask as ask_question
from stockade.analysis.remedy.values import Remedy
from stockade.store.delta import Upsert, apply
from stockade.store.state import POLICIES, ClusterState
from stockade.testing.build import node, pod, policy, service
from stockade.testing.pairs import allowed_flows, around, flow_key, key_text
from stockade.testing.worlds import recipe_objects

DENY = policy("deny", {"policyTypes": ["Ingress", "Egress"]})


def world(*more) -> ClusterState:
    replicas = [
        pod(f"shop-{n}", {"app": "shop", "pod-template-hash": "5d"}, f"10.244.0.{60 + n}") for n in range(3)
    ]
    two = [{"name": "a", "port": 8001, "targetPort": 80}, {"name": "b", "port": 8002, "targetPort": 9090}]
    ports = [{**each, "protocol": "TCP"} for each in two]
    front = service("front", {"app": "web"}, "10.96.0.70", *ports)
    return ClusterState.of([*recipe_objects(), *replicas, front, node("other", "172.30.0.2"), DENY, *more])


def ask(state: ClusterState, source: str, target: str, **more) -> Remedy:
    found = ask_question(state, Question(source=source, target=target, **more), with_remedy=True)
    assert not found.allowed
    assert found.remedy is not None
    return found.remedy


def gained(state: ClusterState, remedy: Remedy, ports: set[int]) -> list[str]:
    after = apply(state, [Upsert(POLICIES, each) for each in remedy.policies])
    addresses = ("93.184.216.34", "172.30.0.2", "192.0.2.7")
    before, now = (allowed_flows(each, ports, addresses) for each in (state, after))
    assert not before - now
    return sorted(map(key_text, now - before))


@pytest.mark.parametrize("number", [1, 3])
def test_a_range_of_ports_is_one_rule(number):
    state = world()
    remedy = ask(state, "pod/test", f"pod/web:8000-{7999 + number}")
    assert remedy.complete
    wanted = [f"default/test -> default/web TCP {8000 + at} (IPv4)" for at in range(number)]
    assert gained(state, remedy, around([8000, 8001, 8002])) == wanted
    assert [len(each.spec.egress[0].ports) for each in remedy.policies if each.spec.egress] == [1]


def test_a_part_of_a_range_that_is_open_already_is_not_opened_again():
    rule = {"podSelector": {"matchLabels": {"app": "foo"}}, "policyTypes": ["Egress"]}
    some = policy("some", {**rule, "egress": [{"ports": [{"port": 8001}]}]})
    state = world(some)
    remedy = ask(state, "pod/test", "pod/web:8000-8002")
    ports = [each.spec.egress[0].ports for each in remedy.policies if each.spec.egress]
    assert [[(port.port, port.end_port) for port in each] for each in ports] == [[(8000, None), (8002, None)]]
    wanted = [f"default/test -> default/web TCP {number} (IPv4)" for number in (8000, 8001, 8002)]
    assert gained(state, remedy, around([8001])) == wanted


def test_a_range_over_a_service_names_the_ports_of_its_pods():
    state = world()
    remedy = ask(state, "pod/test", "10.96.0.70:8001-8002")
    wanted = [f"default/test -> default/web TCP {number} (IPv4)" for number in (80, 9090)]
    assert gained(state, remedy, around([80, 81, 8001, 8002, 9090])) == wanted


def test_a_range_that_leaves_the_service_cannot_be_allowed_as_a_whole():
    remedy = ask(world(), "pod/test", "10.96.0.70:8000-8002")
    assert not remedy.complete
    assert any("has no port TCP 8000" in note for note in remedy.notes)


def test_the_pods_of_a_target_workload_and_a_node_that_asks():
    state = world()
    assert gained(state, ask(state, "172.30.0.2", "pod/web:80"), around([80])) == [
        "172.30.0.2 -> default/web TCP 80 (IPv4)"
    ]
    outside = ask(state, "192.0.2.7", "pod/web:80")
    assert gained(state, outside, around([80])) == ["192.0.2.7 -> default/web TCP 80 (IPv4)"]
    assert [str(each.ref) for each in outside.policies] == ["default/allow-web-80-from-192-0-2-7"]
    assert outside.also == ()


def test_replicas_are_named_when_only_one_of_them_asks():
    state = world()
    remedy = ask(state, "pod/shop-0", "pod/web:80")
    assert [str(flow.source) for flow in remedy.also] == ["pod default/shop-1", "pod default/shop-2"]
    new = gained(state, remedy, around([80]))
    assert new == sorted(
        [*(key_text(flow_key(flow)) for flow in remedy.also), "default/shop-0 -> default/web TCP 80 (IPv4)"]
    )
