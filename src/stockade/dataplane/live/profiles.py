"""The profile of each set of policies that isolates some pod, and how the selectors in them choose. Called by ``live.rules``.

Those of the last full compile are known from the start; others are compiled when a pod first needs them, without looking at pods.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from stockade.model.meta import ObjectRef
from stockade.policy.compile import compile_profiles
from stockade.policy.compiled import CompiledPolicies, Profile, Selection
from stockade.store.state import ClusterState

Refs = tuple[ObjectRef, ...]


class Profiles:
    """Of one state. ``selections`` only grows."""

    def __init__(self, state: ClusterState, compiled: CompiledPolicies) -> None:
        self._state = state
        self.selections: dict[str, Selection] = dict(compiled.selections)
        self._known: dict[tuple[str, Refs], Profile] = {}
        for entry in compiled.pods:
            for profile in (entry.egress, entry.ingress):
                if profile is not None:
                    self._known[profile.direction, profile.policies] = profile
        self._by_id = {(each.direction, each.id): each for each in self._known.values()}
        self._compile = compile_profiles()

    def turn(self, state: ClusterState, policies: AbstractSet[ObjectRef]) -> None:
        """To another state, in which ``policies`` changed."""
        self._state = state
        if policies:
            self._known = {key: each for key, each in self._known.items() if policies.isdisjoint(key[1])}
            self._by_id = {(each.direction, each.id): each for each in self._known.values()}
            self._compile = compile_profiles()

    def of(self, direction: str, policies: Refs) -> str:
        """Its id; empty for no policies: not isolated."""
        if not policies:
            return ""
        found = self._known.get((direction, policies))
        if found is None:
            found, selections = self._compile(direction, [self._state.policies[ref] for ref in policies])
            self._known[direction, policies] = self._by_id[direction, found.id] = found
            self.selections.update(selections)
        return found.id

    def named(self, direction: str, profile: str) -> Profile:
        """By an id that ``of`` gave in this state."""
        return self._by_id[direction, profile]
