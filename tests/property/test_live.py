"""Step by step, in whatever pieces the news comes: the wanted ruleset is what a fresh start would make of the same state."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.dataplane.diff import diff
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.live.rules import LiveRules
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.operations import Operation, Transaction
from stockade.dataplane.patch import Patch, patched, transaction
from stockade.dataplane.strictness import is_stricter
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.policy.entries import parse_all
from stockade.store.delta import apply
from stockade.store.state import ClusterState
from stockade.testing.events import bursts
from stockade.testing.strategies import worlds

CHECKED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
FENCED = (parse_block("10.244.0.0/29"), parse_block("fd00:244::/64"))  # some addresses are outside
taken: Counter[str] = Counter()


def node_of(state: ClusterState) -> NodeView:
    found = state.nodes.get("node-1")
    return NodeView("node-1", FENCED, parse_all(found.ips) if found else ())


def fresh(state: ClusterState) -> Ruleset:
    return lower(compile_state(state), node_of(state))


def _operations(done: Transaction) -> tuple[int, list[str]]:
    """In no order, all in one batch."""
    assert len(done.batches) <= 1
    return done.generation, sorted(_text(each) for batch in done.batches for each in batch.operations)


def _text(operation: Operation) -> str:
    """Equal for equal operations, which the text of a frozenset need not be."""
    elements = getattr(operation, "elements", ())
    listed = sorted(elements.items()) if isinstance(elements, dict) else sorted(elements)
    name = getattr(operation, "name", "") or getattr(operation, "chain", "")
    return f"{type(operation).__name__} {name} {listed} {getattr(operation, 'rule', '')}"


@CHECKED
@given(st.data())
def test_steps_end_in_the_ruleset_of_a_fresh_start(data: st.DataObject) -> None:
    state = data.draw(worlds())
    live = LiveRules()
    before = live.start(state, node_of(state))
    assert before == fresh(state)
    for _ in range(data.draw(st.integers(1, 8))):
        burst = data.draw(bursts(state))
        state = apply(state, burst)
        found = live.step(state, node_of(state), burst)
        after = fresh(state)
        if isinstance(found, Patch):
            taken["empty" if found.is_empty else "patch"] += 1
            assert patched(before, [found]) == after
            assert found.stricter or not is_stricter(before, after)
            taken["stricter"] += found.stricter
            assert _operations(transaction(found, before, 5)) == _operations(
                diff(before, after, 5, bump=found.stricter)
            )
        else:
            taken["full"] += 1
            assert found == after
        if data.draw(st.booleans()):
            assert live.wanted() == after
        compiled = compile_state(state)
        own = [e for e in compiled.pods if e.pod.spec.node_name == "node-1" and not e.pod.on_host_network]
        assert {r: (p.pod, p.addresses) for r, p in live.local.items()} == {
            e.ref: (e.pod, e.addresses) for e in own if e.addresses
        }
        before = after
    assert live.wanted() == before


def test_most_steps_are_patches() -> None:
    if not taken:
        pytest.skip("counts what the test above did")
    assert taken["patch"] >= 60
    assert taken["patch"] >= taken["full"] / 2
