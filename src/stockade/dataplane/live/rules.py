"""LiveRules: the wanted ruleset of one node, kept up to date. Called by the agent, one step for each change of the world.

    deltas ──► which pods changed? ──► their addresses, selections, profiles before and after ──► Patch: elements that come and go
                      └─ anything else, or a pod that needs what is not there yet ──► compile_state, lower: a whole Ruleset

The full way is the pure functions that everybody uses; a patch is what they would have said of the pods concerned, and
``tests/property/test_live.py`` holds the two against each other. Where a step is not certain, it takes the full way: a policy, a
namespace or this node changed; a pair of profiles is new or no longer used (chains and identities come and go with it); the first or
the last address of a family.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from stockade.dataplane.identity import Pair
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.live.claims import Claims
from stockade.dataplane.live.memberships import Memberships
from stockade.dataplane.live.shares import LocalPod, Part, Shares, map_changes, set_changes
from stockade.dataplane.live.wanted import Wanted
from stockade.dataplane.lower import is_local, lower_with_sources, pair_of
from stockade.dataplane.patch import MapChange, Patch, SetChange
from stockade.dataplane.settings import NodeView, Options
from stockade.dataplane.strictness import in_fence
from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.store.delta import Delta, changed_pods
from stockade.store.state import ClusterState

Pods = Mapping[ObjectRef, Pod]


class LiveRules:
    """``start`` before anything else, then ``step`` with each change. When either raises, nothing is known and ``start`` is next."""

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._known = False  # everything below belongs to _state
        self._state = ClusterState()
        self._claims = Claims({})
        self._local: dict[ObjectRef, LocalPod] = {}
        self._compiled: CompiledPolicies
        self._wanted: Wanted

    # -- what the agent reads

    @property
    def state(self) -> ClusterState:
        """As of the last step."""
        return self._state

    @property
    def compiled(self) -> CompiledPolicies:
        """As of the last full step: its profiles are those in force, its pods may be older."""
        return self._compiled

    @property
    def wanted(self) -> Wanted:
        """After the last step. Worked out when it is called, and not before."""
        return self._wanted

    @property
    def local(self) -> Mapping[ObjectRef, LocalPod]:
        """Pods of this node that have an address, after the last step."""
        return self._local

    # -- steps

    def start(self, state: ClusterState, node: NodeView) -> Ruleset:
        self._known = False
        self._claims = Claims(state.pods)
        return self._full(state, node)

    def step(self, state: ClusterState, node: NodeView, deltas: Iterable[Delta]) -> Patch | Ruleset:
        """``deltas`` led from the state of the last step to ``state``. Without effect on the rules: an empty Patch."""
        if not self._known:
            return self.start(state, node)
        before, after = self._state.pods, state.pods
        changed = changed_pods(self._state, state, deltas)
        only_pods = self._only_pods(state, node)
        self._known = False
        concerned = self._concerned(changed, before, after) if only_pods else set()
        old = self._part(before, concerned)
        for ref in changed:
            self._claims.move(ref, before.get(ref), after.get(ref))
        patch = self._patch(old, self._part(after, concerned)) if only_pods else None
        if patch is None:
            return self._full(state, node)
        self._state, self._known = state, True
        self._wanted = self._wanted.after(patch)
        return patch

    def _full(self, state: ClusterState, node: NodeView) -> Ruleset:
        self._compiled = compiled = compile_state(state)
        lowered = lower_with_sources(compiled, node, self._options)
        memberships = Memberships(state, compiled.selections.values())
        self._shares = Shares(compiled, lowered, memberships, node.name)
        self._families = self._claims.families
        self._numbers = lowered.pairs
        local = [entry for entry in compiled.pods if is_local(entry, node)]
        self._pairs = Counter(pair_of(entry) for entry in local)
        self._local = {e.ref: LocalPod(e.pod, e.addresses) for e in local if e.addresses}
        self._wanted = Wanted(lowered.ruleset)
        self._state, self._node, self._known = state, node, True
        return lowered.ruleset

    def _only_pods(self, state: ClusterState, node: NodeView) -> bool:
        last = self._state
        return state.policies is last.policies and state.namespaces is last.namespaces and node == self._node

    def _concerned(self, changed: set[ObjectRef], before: Pods, after: Pods) -> set[ObjectRef]:
        """Besides those that changed: who else claims one of their addresses may get it, or lose it."""
        found = set(changed)
        for ref in changed:
            for pod in (before.get(ref), after.get(ref)):
                found |= self._claims.rivals(ref, pod)
        return found

    def _part(self, pods: Pods, refs: Iterable[ObjectRef]) -> Part:
        part = Part()
        for ref in refs:
            pod = pods.get(ref)
            if pod is not None:
                self._shares.add(part, pod, self._claims.owned(ref, pod, pods.__getitem__))
        return part

    def _patch(self, old: Part, new: Part) -> Patch | None:
        """None: more than elements change."""
        if self._claims.families != self._families or not self._same_pairs(old.pairs, new.pairs):
            return None
        for ref in old.local.keys() - new.local.keys():
            del self._local[ref]
        self._local.update(new.local)
        sets, identities = dict(set_changes(old, new)), dict(map_changes(old, new))
        return Patch(sets, identities, self._stricter(sets, identities))

    def _same_pairs(self, old: Counter[Pair], new: Counter[Pair]) -> bool:
        """Chains and identities are those of the pairs in use: is none new, and none out of use?"""
        for pair in old.keys() | new.keys():
            self._pairs[pair] += new[pair] - old[pair]
        return all(pair in self._numbers for pair in new) and all(self._pairs[pair] for pair in old)

    def _stricter(self, sets: dict[str, SetChange], identities: dict[str, MapChange]) -> bool:
        """As ``strictness.is_stricter`` says of whole rulesets."""
        base = self._wanted.base
        if any(change.gone or not base.sets[name].widens for name, change in sets.items()):
            return True
        return any(
            moved.gone
            or any(not in_fence(base, base.identities[name].key, address) for address in moved.come)
            for name, moved in identities.items()
        )
