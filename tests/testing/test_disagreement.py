"""A difference between the two readings is found, and its world shrinks to what it needs."""

from __future__ import annotations

import pytest

from stockade.model.netpol import NetworkPolicyPort
from stockade.policy import reference
from stockade.store.state import ClusterState
from stockade.testing import longrun
from stockade.testing.ask import flow
from stockade.testing.build import pod, policy
from stockade.testing.disagreement import disagreements, smallest, still_differs, written
from stockade.testing.worlds import nine_pods

ASKED = [flow("x/a", "y/b", "UDP 80"), flow("x/a", "y/b", "TCP 80"), flow("x/b", "y/c", "TCP 81")]


@pytest.fixture
def world() -> ClusterState:
    ports = [{"port": 81}, {"port": 80, "protocol": "UDP"}]
    spec = {
        "podSelector": {"matchLabels": {"pod": "b"}},
        "ingress": [{"from": [{"namespaceSelector": {}}], "ports": ports}],
    }
    return ClusterState.of(
        [*nine_pods(), policy("y/p", spec), policy("z/q", {}), pod("z/extra", {}, "10.244.2.9")]
    )


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that takes UDP for TCP."""
    real = reference._port_is

    def port_is(port: NetworkPolicyPort, packet: reference._Packet) -> bool:
        return port.protocol != "UDP" and real(port, packet)

    monkeypatch.setattr(reference, "_port_is", port_is)


def test_no_difference_where_there_is_none(world):
    assert list(disagreements(world, ASKED)) == []


def test_a_difference_is_found_and_only_it(world, forgetful):
    assert list(disagreements(world, ASKED)) == ASKED[:1]


def test_the_smallest_world_has_only_what_it_needs(world, forgetful):
    found = smallest(world, still_differs(ASKED[0]))
    assert sorted(map(str, found.pods)) == ["x/a", "y/b"]
    (rule,) = next(iter(found.policies.values())).spec.ingress or []
    assert rule.from_ is None
    assert [port.protocol for port in rule.ports or []] == ["UDP"]
    assert len(found.policies) == 1
    assert written(found).count("\n") == 2


def test_a_batch_counts_what_it_drew_and_reports_differences(monkeypatch):
    monkeypatch.setattr(reference, "_rule_allows", lambda *_: True)
    result = longrun.batch(3, size=10, flows=10)
    assert (result.worlds, result.flows) == (10, 100)
    assert result.disagreements
    assert "NetworkPolicy" in result.disagreements[0]
    assert "disagreements" in next(longrun.table(result))


def test_batches_meet_every_feature():
    result = longrun.batch(1, size=150, flows=10)
    assert longrun.never_met(result) == []
    assert result.disagreements == []
