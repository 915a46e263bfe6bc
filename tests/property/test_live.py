"""Step by step, in whatever pieces the news comes: the wanted ruleset is what a fresh start would make of the same state."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.dataplane.diff import diff
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.live.rules import LiveRules
from stockade.dataplane.live.shares import LocalPod
from stockade.dataplane.lower import NodeView, is_local, lower, pair_of
from stockade.dataplane.operations import Operation, Transaction
from stockade.dataplane.patch import Patch, patched, transaction
from stockade.dataplane.strictness import is_stricter
from stockade.net.cidr import Block, parse_block
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.entries import parse_all
from stockade.store.delta import apply
from stockade.store.state import ClusterState
from stockade.testing.events import bursts
from stockade.testing.strategies import worlds


class _Counted(LiveRules):
    def _anew(self, state: ClusterState, node: NodeView) -> Ruleset:
        taken["anew"] += 1
        return super()._anew(state, node)


def _check_local(live: LiveRules, state: ClusterState, compiled: CompiledPolicies) -> None:
    own = [e for e in compiled.pods if is_local(e, node_of(state))]
    assert live.local == {e.ref: LocalPod(e.pod, e.addresses, pair_of(e)) for e in own if e.addresses}
    used = {p.id: p for e in own for p in (e.egress, e.ingress) if p}
    assert live.profiles.keys() == used.keys()
    assert all(live.profiles[name].policies == profile.policies for name, profile in used.items())


CHECKED = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
BOTH = (parse_block("10.244.0.0/29"), parse_block("fd00:244::/64"))  # some addresses are outside
taken: Counter[str] = Counter()


def node_of(state: ClusterState, fenced: tuple[Block, ...] = BOTH) -> NodeView:
    found = state.nodes.get("node-1")
    return NodeView("node-1", fenced, parse_all(found.ips) if found else ())


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
def _follow(data: st.DataObject) -> None:
    state = data.draw(worlds())
    live = _Counted()
    fenced = data.draw(st.sampled_from([BOTH, BOTH, BOTH[:1], ()]))
    before = live.start(state, node_of(state, fenced))
    taken["anew"] -= 1  # that one was asked for
    _check_local(live, state, compile_state(state))
    for _ in range(data.draw(st.integers(1, 10))):
        burst = data.draw(bursts(state))
        state = apply(state, burst)
        found = live.step(state, node_of(state, fenced), burst)
        compiled = compile_state(state)
        after = lower(compiled, node_of(state, fenced))
        if isinstance(found, Patch):
            taken["empty" if found.is_empty else "patch"] += 1
            assert patched(before, [found]) == after
            assert found.stricter or not is_stricter(before, after)
            taken["stricter"] += found.stricter
            assert _operations(transaction(found, before, 5)) == _operations(
                diff(before, after, 5, bump=found.stricter)
            )
        else:
            taken["ruleset"] += 1
            assert found == after
        if data.draw(st.booleans()):
            assert live.wanted() == after
        _check_local(live, state, compiled)
        before = after
    assert live.wanted() == before


def test_steps_end_in_the_ruleset_of_a_fresh_start_and_many_are_patches() -> None:
    _follow()
    assert taken["patch"] >= 40
    assert taken["ruleset"] >= 40
    # News of this node itself are few, and so are first and last addresses of a family.
    assert taken["anew"] <= 0.5 * taken["ruleset"], dict(taken)
