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


class Membership(msgspec.Struct, frozen=True):
    """``selections``: keys of SelectorPeers whose pods it is among. ``egress``/``ingress``: the policies that isolate it, sorted."""

    selections: tuple[str, ...]
    egress: tuple[ObjectRef, ...]
    ingress: tuple[ObjectRef, ...]


_NOBODY = Membership((), (), ())  # a pod on the host's network


class Memberships:
    """For one set of policies and namespaces; new ones need a new value."""

    def __init__(self, state: ClusterState, selections: Iterable[Selection]) -> None:
        self._state = state
        homes: dict[str, list[tuple[LabelSelector | None, str]]] = {}
        scopes: dict[str, tuple[LabelSelector, list[tuple[LabelSelector | None, str]]]] = {}
        for each in selections:
            if each.namespaces is None:
                homes.setdefault(each.home, []).append((each.pods, each.key))
            else:
                scope = scopes.setdefault(each.namespaces.key, (each.namespaces, []))
                scope[1].append((each.pods, each.key))
        self._homes = {name: SelectorIndex(entries) for name, entries in homes.items()}
        self._scopes = SelectorIndex((chosen, SelectorIndex(entries)) for chosen, entries in scopes.values())
        self._of_namespace: dict[str, tuple[SelectorIndex[str], ...]] = {}
        self._policies: dict[str, SelectorIndex[tuple[ObjectRef, frozenset[str]]]] = {}
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], Membership] = {}

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
            home = self._homes.get(namespace)
            chosen = self._scopes.matching(self._state.namespace(namespace).labels)
            self._of_namespace[namespace] = (*((home,) if home else ()), *chosen)
        return self._of_namespace[namespace]

    def _policies_in(self, namespace: str) -> SelectorIndex[tuple[ObjectRef, frozenset[str]]]:
        if namespace not in self._policies:
            self._policies[namespace] = SelectorIndex(
                (subject_selector(policy), (policy.ref, effective_directions(policy)))
                for policy in self._state.policies_in(namespace)
            )
        return self._policies[namespace]
