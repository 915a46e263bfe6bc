"""The pods of one state, found by namespace and label, as elements of new sets. Called by ``sets`` for ``live.rules``.

The same as ``members`` for a whole compiled form; here only the few sets are filled that did not exist before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from stockade.dataplane.live.claims import Claims
from stockade.dataplane.sets import Element, Source
from stockade.model.objects import Pod
from stockade.net.cidr import Address
from stockade.policy.compiled import PodEntry, Selection
from stockade.policy.entries import named_ports
from stockade.store.state import ClusterState


class Residents:
    """``node`` is the name of this one."""

    def __init__(
        self, state: ClusterState, claims: Claims, selections: Mapping[str, Selection], node: str
    ) -> None:
        self._state = state
        self._claims = claims
        self._selections = selections
        self._node = node

    def elements(self, source: Source, family: int) -> frozenset[Element]:
        return frozenset(
            element
            for pod in self._chosen(source)
            if (addresses := self._addresses(pod))
            for element in source.elements(
                PodEntry(0, pod, addresses, named_ports(pod) if source.port else {}, None, None),
                [address for own, address in addresses if own == family],
            )
        )

    def _chosen(self, source: Source) -> Iterable[Pod]:
        if source.peer is not None:
            return self._selected(self._selections[source.peer.key])
        everybody = (pod for pods in self._by_namespace.values() for pod in pods)
        return (pod for pod in everybody if pod.spec.node_name == self._node) if source.local else everybody

    def _selected(self, selection: Selection) -> Iterator[Pod]:
        wanted = selection.pods
        for namespace in self._namespaces(selection):
            for pod in self._by_namespace.get(namespace, ()):
                if wanted is None or wanted.matches(pod.labels):
                    yield pod

    def _namespaces(self, selection: Selection) -> Iterable[str]:
        if selection.namespaces is None:
            return (selection.home,)
        chosen, state = selection.namespaces, self._state
        return [name for name in self._by_namespace if chosen.matches(state.namespace(name).labels)]

    @cached_property
    def _by_namespace(self) -> dict[str, list[Pod]]:
        found: dict[str, list[Pod]] = {}
        for ref, pod in self._state.pods.items():
            if not (pod.is_finished or pod.on_host_network):
                found.setdefault(ref.namespace, []).append(pod)
        return found

    def _addresses(self, pod: Pod) -> tuple[Address, ...]:
        return self._claims.owned(pod.ref, pod, self._state.pods.__getitem__)
