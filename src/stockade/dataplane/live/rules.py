"""LiveRules: the wanted ruleset of one node, kept up to date. Called by the agent, one step for each change of the world.

    deltas ─► what changed? ─► the pods concerned, before and after: addresses, selections, profiles
                                  ├─ the same pairs of profiles in use ─► Patch: elements that come and go
                                  ├─ others ─► Ruleset: those patched, and pieces for profiles that are new
                                  └─ this node changed, an address family is new ─► compile_state, lower: all anew

The last way is the pure functions that everybody uses. The others say what those would have said, looking only at what is concerned;
``tests/property/test_live.py`` holds the two against each other. Whatever is not certain goes the last way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from stockade.dataplane.identity import Pair, identities
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.live.claims import Claims
from stockade.dataplane.live.memberships import Memberships
from stockade.dataplane.live.profiles import Profiles
from stockade.dataplane.live.residents import Residents
from stockade.dataplane.live.shares import LocalPod, Part, Shares, map_changes, set_changes
from stockade.dataplane.live.wanted import Wanted
from stockade.dataplane.lower import families_of, is_local, lower_with_sources, pair_of
from stockade.dataplane.patch import MapChange, Patch, SetChange, patched
from stockade.dataplane.pieces import Contents, ProfileKey, assemble, piece
from stockade.dataplane.sets import SetBuilder
from stockade.dataplane.settings import NodeView, Options
from stockade.dataplane.strictness import in_fence
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.model.objects import Pod
from stockade.model.selectors import LabelSelector
from stockade.net.cidr import Address
from stockade.policy.compile import compile_state, subject_selector
from stockade.policy.compiled import Profile
from stockade.store.delta import Delta, changed
from stockade.store.state import NAMESPACES, PODS, POLICIES, ClusterState

Pods = Mapping[ObjectRef, Pod]
_MANY = 1000  # pods concerned at once: all anew is not slower


class _Changes(msgspec.Struct, frozen=True):
    pods: set[ObjectRef]
    policies: set[ObjectRef]
    namespaces: set[str]

    @property
    def nothing(self) -> bool:
        return not (self.pods or self.policies or self.namespaces)

    @property
    def policed(self) -> set[str]:
        """Namespaces whose policies changed."""
        return {ref.namespace for ref in self.policies}


class LiveRules:
    """``start``, then ``step`` with each change. When a step raises nothing is known, and the next one starts anew."""

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._known = False  # everything below belongs to _state
        self._state = ClusterState()
        self._claims = Claims({})
        self._residents: dict[ObjectRef, LocalPod] = {}  # also those without an address
        self._local: dict[ObjectRef, LocalPod] = {}
        self._wanted: Wanted

    # -- what the agent reads

    @property
    def state(self) -> ClusterState:
        """As of the last step."""
        return self._state

    @property
    def wanted(self) -> Wanted:
        """After the last step. Worked out when it is called, and not before."""
        return self._wanted

    @property
    def local(self) -> Mapping[ObjectRef, LocalPod]:
        """Pods of this node that have an address, after the last step. It changes with the next: copy what is to stay."""
        return self._local

    @property
    def profiles(self) -> dict[str, Profile]:
        """Those of this node's pods, by id, after the last step. Their selectors need not know their pods."""
        return {key[1]: self._profiles.named(*key) for key in self._pieces}

    # -- steps

    def start(self, state: ClusterState, node: NodeView) -> Ruleset:
        self._known = False
        self._claims = Claims(state.pods)
        return self._anew(state, node)

    def step(self, state: ClusterState, node: NodeView, deltas: Iterable[Delta]) -> Patch | Ruleset:
        """``deltas`` led from the state of the last step to ``state``. Without effect on the rules: an empty Patch."""
        if not self._known:
            return self.start(state, node)
        deltas = tuple(deltas)
        found = _Changes(
            *(changed(kind, self._state, state, deltas) for kind in (PODS, POLICIES, NAMESPACES))
        )
        if node == self._node and found.nothing:
            self._state = state
            return Patch()
        self._known = False
        done = self._follow(state, node, found)
        if done is None:
            return self._anew(state, node)
        self._state, self._known = state, True
        return done

    def _anew(self, state: ClusterState, node: NodeView) -> Ruleset:
        compiled = compile_state(state)
        lowered = lower_with_sources(compiled, node, self._options)
        self._profiles = Profiles(state, compiled)
        self._memberships = Memberships(state, compiled.selections.values())
        self._most_selections = 2 * len(compiled.selections) + 1000
        self._pieces, self._frame, self._numbers = lowered.pieces, lowered.frame, lowered.pairs
        self._families = lowered.families
        self._sources = lowered.sources
        self._shares = Shares(self._sources, lowered.ruleset.sets, node.name)
        local = [entry for entry in compiled.pods if is_local(entry, node)]
        self._pairs = Counter(pair_of(entry) for entry in local)
        self._residents = {e.ref: LocalPod(e.pod, e.addresses, pair_of(e)) for e in local}
        self._local = {ref: each for ref, each in self._residents.items() if each.addresses}
        self._wanted = Wanted(lowered.ruleset)
        self._state, self._node, self._known = state, node, True
        return lowered.ruleset

    def _move(self, state: ClusterState, found: _Changes) -> None:
        for ref in found.pods:
            self._claims.move(ref, self._state.pods.get(ref), state.pods.get(ref))

    def _follow(self, state: ClusterState, node: NodeView, found: _Changes) -> Patch | Ruleset | None:
        """None: not from what is known; but the claims are those of ``state``."""
        before, after = self._state.pods, state.pods
        concerned = self._concerned(found, before, after)
        policed = found.policed
        kept = self._subjects(state, found.policies) - concerned
        if node != self._node or len(concerned) > _MANY:
            self._move(state, found)
            return None
        old = self._part(before, concerned, kept)
        self._move(state, found)
        if families_of(self._claims.families, node) != self._families:
            return None
        self._memberships.turn(state, policed, found.namespaces)
        self._profiles.turn(state, found.policies)
        new = self._part(after, concerned, kept)
        self._relocate(old.local, new.local)
        return self._change(state, old, new)

    def _change(self, state: ClusterState, old: Part, new: Part) -> Patch | Ruleset | None:
        came, went = new.pairs, old.pairs
        self._pairs.update(came)
        self._pairs.subtract(went)
        # Only those of the pods concerned can be new, or out of use.
        same = all((self._pairs[pair] > 0) == (pair in self._numbers) for pair in came.keys() | went.keys())
        numbers = self._numbers if same else identities(+self._pairs)
        if not same and any(numbers.get(pair, number) != number for pair, number in self._numbers.items()):
            return None
        sets = dict(set_changes(old, new))
        maps = dict(map_changes(old, new, self._numbers, numbers))
        if same:
            patch = Patch(sets, maps, self._stricter(sets, maps))
            self._wanted = self._wanted.after(patch)
            return patch
        self._pairs = +self._pairs
        self._numbers = numbers
        return self._rebuilt(state, patched(self._wanted(), [Patch(sets, maps)]))

    def _rebuilt(self, state: ClusterState, base: Ruleset) -> Ruleset | None:
        """``base`` has all elements right, of sets and identities that exist. Pieces, and sets that only new ones use, come now."""
        residents = Residents(state, self._claims, self._profiles.selections, self._node.name)
        builder = SetBuilder(residents)
        builder.sets.update(base.sets)
        builder.sources.update(self._sources)
        self._pieces = {
            key: self._pieces.get(key)
            or piece(self._profiles.named(*key), builder, self._families, self._options)
            for key in sorted(_in_use(self._numbers))
        }
        self._memberships.add(self._profiles.selections.values())
        if len(self._profiles.selections) > self._most_selections:
            return None
        own = base.sets["self4"], base.sets["self6"]
        ruleset = assemble(
            self._frame, self._pieces, Contents(own, builder.sets, base.identities, self._numbers)
        )
        self._sources = {n: builder.sources[n] for n in ruleset.sets if n in builder.sources}
        self._shares = Shares(self._sources, ruleset.sets, self._node.name)
        self._wanted = Wanted(ruleset)
        return ruleset

    # -- the pods concerned

    def _concerned(self, found: _Changes, before: Pods, after: Pods) -> set[ObjectRef]:
        """Besides those that changed: who else claims one of their addresses may get it, or lose it; and who lives in a namespace
        that changed is in other selections."""
        concerned = set(found.pods)
        for ref in found.pods:
            for pod in (before.get(ref), after.get(ref)):
                concerned |= self._claims.rivals(ref, pod)
        if found.namespaces:
            concerned |= {
                ref for pods in (before, after) for ref in pods if ref.namespace in found.namespaces
            }
        return concerned

    def _subjects(self, state: ClusterState, policies: Iterable[ObjectRef]) -> set[ObjectRef]:
        """Pods of this node that ``policies`` isolate, as they are or as they were."""
        selectors: dict[str, list[LabelSelector]] = {}
        for ref in policies:
            versions = (self._state.policies.get(ref), state.policies.get(ref))
            selectors.setdefault(ref.namespace, []).extend(
                subject_selector(each) for each in versions if each
            )
        return {
            ref
            for ref, each in (self._residents.items() if selectors else ())
            if ref.namespace in selectors
            and any(selector.matches(each.pod.labels) for selector in selectors[ref.namespace])
        }

    def _part(self, pods: Pods, refs: Iterable[ObjectRef], policed: Iterable[ObjectRef]) -> Part:
        """``policed``: of these only the profiles may be others."""
        part = Part()
        for ref in refs:
            pod = pods.get(ref)
            if pod is not None:
                addresses = self._claims.owned(ref, pod, pods.__getitem__)
                self._place(part, ref, pod, addresses)
                self._shares.add(part, pod, addresses, self._memberships)
        for ref in policed:
            self._place(part, ref, pods[ref], self._residents[ref].addresses)
        return part

    def _place(self, part: Part, ref: ObjectRef, pod: Pod, addresses: tuple[Address, ...]) -> None:
        if pod.spec.node_name == self._node.name and not (pod.is_finished or pod.on_host_network):
            member = self._memberships.of(pod)
            pair = self._profiles.of(EGRESS, member.egress), self._profiles.of(INGRESS, member.ingress)
            part.local[ref] = LocalPod(pod, addresses, pair)

    def _relocate(self, old: dict[ObjectRef, LocalPod], new: dict[ObjectRef, LocalPod]) -> None:
        for ref in old:
            del self._residents[ref]
            self._local.pop(ref, None)
        self._residents.update(new)
        self._local.update((ref, each) for ref, each in new.items() if each.addresses)

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


def _in_use(pairs: Iterable[Pair]) -> set[ProfileKey]:
    found = {
        (direction, id_) for pair in pairs for direction, id_ in zip((EGRESS, INGRESS), pair, strict=True)
    }
    return {key for key in found if key[1]}
