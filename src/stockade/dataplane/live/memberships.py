"""What one pod is to the policies: the selections it is in, and the policies that isolate it.

In: the policies and namespaces of a ClusterState, and the selections that rules name. Out: ``Membership`` of a pod. Says for one pod what
``policy.compile`` says for all of them at once; both read policies by the same functions (rules 1-4, 7-17, 37, 38). Pods are all
alike that have the same labels in the same namespace, so the answer is kept for each such kind. Called by ``live.rules``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from stockade.dataplane.live.labels import SelectorIndex
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.model.objects import Pod
from stockade.model.selectors import LabelSelector
from stockade.policy.compile import effective_directions, subject_selector
from stockade.policy.compiled import Selection
from stockade.store.state import ClusterState

_REMEMBERED = 50_000  # kinds of pods

_Entries = list[tuple[LabelSelector | None, str]]


class Membership(msgspec.Struct, frozen=True):
    """``selections``: keys of SelectorPeers whose pods it is among. ``egress``/``ingress``: the policies that isolate it, sorted."""

    selections: tuple[str, ...]
    egress: tuple[ObjectRef, ...]
    ingress: tuple[ObjectRef, ...]


_NOBODY = Membership((), (), ())  # a pod on the host's network


class Memberships:
    """Of one state. Indexes are made when they are first asked, and again when ``turn`` or ``add`` changed what they are made of."""

    def __init__(self, state: ClusterState, selections: Iterable[Selection]) -> None:
        self._state = state
        self._selections: set[str] = set()
        self._homes: dict[str, _Entries] = {}
        self._scopes: dict[str, _Entries] = {}
        self._choosers: dict[str, LabelSelector] = {}  # key -> the namespace selector of a scope
        self._indexes: dict[tuple[str, str], SelectorIndex[str]] = {}
        self._scope_index: SelectorIndex[str] | None = None
        self._of_namespace: dict[str, tuple[SelectorIndex[str], ...]] = {}
        self._policies: dict[str, SelectorIndex[tuple[ObjectRef, frozenset[str]]]] = {}
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], Membership] = {}
        self.add(selections)

    def add(self, selections: Iterable[Selection]) -> None:
        """Selections that new rules name. Those of rules that are gone stay, and nobody asks for them."""
        fresh = [each for each in selections if each.key not in self._selections]
        for each in fresh:
            self._selections.add(each.key)
            if each.namespaces is None:
                self._homes.setdefault(each.home, []).append((each.pods, each.key))
                self._indexes.pop(("home", each.home), None)
            else:
                scope = each.namespaces.key
                if scope not in self._choosers:
                    self._choosers[scope] = each.namespaces
                    self._scope_index = None
                self._scopes.setdefault(scope, []).append((each.pods, each.key))
                self._indexes.pop(("scope", scope), None)
        if fresh:
            self._of_namespace.clear()
            self._known.clear()

    def turn(self, state: ClusterState, policies_in: Iterable[str], namespaces: Iterable[str]) -> None:
        """To another state, in which policies changed in some namespaces, and some namespaces themselves."""
        self._state = state
        for name in policies_in:
            self._policies.pop(name, None)
            self._known.clear()
        for name in namespaces:
            self._of_namespace.pop(name, None)
            self._known.clear()

    def of(self, pod: Pod) -> Membership:
        if pod.on_host_network:
            return _NOBODY
        labels = pod.labels
        kind = pod.metadata.namespace, tuple(labels.items())
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[kind] = self._find(pod.metadata.namespace, labels)
        return known

    def _find(self, namespace: str, labels: Mapping[str, str]) -> Membership:
        chosen = tuple(key for index in self._selections_in(namespace) for key in index.matching(labels))
        isolating = sorted(self._policies_in(namespace).matching(labels), key=lambda each: each[0])
        egress, ingress = (
            tuple(ref for ref, directions in isolating if direction in directions)
            for direction in (EGRESS, INGRESS)
        )
        return Membership(chosen, egress, ingress)

    def _selections_in(self, namespace: str) -> tuple[SelectorIndex[str], ...]:
        if namespace not in self._of_namespace:
            if self._scope_index is None:
                self._scope_index = SelectorIndex((chooser, key) for key, chooser in self._choosers.items())
            found = (
                [self._index("home", namespace, self._homes[namespace])] if namespace in self._homes else []
            )
            scopes = self._scope_index.matching(self._state.namespace(namespace).labels)
            found += [self._index("scope", scope, self._scopes[scope]) for scope in scopes]
            self._of_namespace[namespace] = tuple(found)
        return self._of_namespace[namespace]

    def _index(self, sort: str, name: str, entries: _Entries) -> SelectorIndex[str]:
        if (sort, name) not in self._indexes:
            self._indexes[sort, name] = SelectorIndex(entries)
        return self._indexes[sort, name]

    def _policies_in(self, namespace: str) -> SelectorIndex[tuple[ObjectRef, frozenset[str]]]:
        if namespace not in self._policies:
            self._policies[namespace] = SelectorIndex(
                (subject_selector(policy), (policy.ref, effective_directions(policy)))
                for policy in self._state.policies_in(namespace)
            )
        return self._policies[namespace]
