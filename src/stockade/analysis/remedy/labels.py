"""Which labels tell these pods from all others? The narrowest selector, in as few labels as possible.

In: compiled policies and the pods of one namespace that are meant. Out: Choices: label selectors that together choose them, and
nobody else as far as labels allow. Called by ``peers`` and ``suggest``. Rules 7, 8, 38 (host-network pods have no labels here).

Pods that carry the same labels cannot be told apart by any selector; all others can, by what they carry or by what they
lack. A selector is made of stable labels first; those that a controller invents (hashes, indexes) come in when nothing else will do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod
from stockade.model.selectors import DOES_NOT_EXIST, LabelSelector, LabelSelectorRequirement
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.selection import LabelIndex, bits

# Names by which people mean an application; the first one wins among equals.
_USUAL = (
    "app.kubernetes.io/name",
    "k8s-app",
    "app",
    "app.kubernetes.io/component",
    "component",
    "run",
    "name",
)
# Stable in a running pod, yet likely to change with the next release of the application.
_PASSING = ("app.kubernetes.io/version", "helm.sh/chart", "version", "app.kubernetes.io/managed-by")
# Set by controllers, most lasting first: a StatefulSet's pod keeps its name, a hash goes with the next rollout.
_GENERATED = (
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
    "pod-template-generation",
    "controller-revision-hash",
    "pod-template-hash",
)
FLEETING = frozenset(_GENERATED[3:])
_MOST_TOGETHER = 4

Pairs = tuple[tuple[str, str], ...]


class Choice(msgspec.Struct, frozen=True):
    """A selector and the pods it chooses today."""

    selector: LabelSelector
    pods: tuple[ObjectRef, ...]

    @property
    def fleeting(self) -> tuple[str, ...]:
        """Labels in it that do not outlive the pods they are on."""
        return tuple(key for key in self.selector.match_labels or {} if key in FLEETING)


class LabelChooser:
    """Caches one label index per namespace."""

    def __init__(self, compiled: CompiledPolicies) -> None:
        self._compiled = compiled
        self._namespaces: dict[str, tuple[list[Pod], LabelIndex]] = {}

    def choose(
        self,
        wanted: Iterable[ObjectRef],
        free: Collection[ObjectRef] = (),
        likely: Collection[str] = (),
    ) -> list[Choice]:
        """``wanted``: pods of one namespace with a network of their own. ``free``: pods that may be chosen as well, for they
        gain nothing. ``likely``: label keys to prefer."""
        refs = set(wanted)
        if not refs:
            return []
        pods, index = self._index(next(iter(refs)).namespace)
        search = _Search(pods, index, free, likely)
        mask = _mask(pod.ref in refs for pod in pods)
        return [Choice(found, _refs(pods, index.select(found))) for found in search.cover(mask)]

    def _index(self, namespace: str) -> tuple[list[Pod], LabelIndex]:
        known = self._namespaces.get(namespace)
        if known is None:
            entries = (entry.pod for entry in self._compiled.pods if entry.ref.namespace == namespace)
            pods = [pod for pod in entries if not pod.on_host_network]
            known = self._namespaces[namespace] = pods, LabelIndex(pod.labels for pod in pods)
        return known


class _Search:
    """One question to one namespace; sets of pods are bitmasks over ``pods``."""

    def __init__(
        self, pods: list[Pod], index: LabelIndex, free: Collection[ObjectRef], likely: Collection[str]
    ) -> None:
        self.pods, self.index, self.likely = pods, index, likely
        self.free = _mask(pod.ref in free for pod in pods)

    def cover(self, wanted: int) -> list[LabelSelector]:
        """One selector for all, or else one for each kind of pod."""
        together = self._exact(wanted, self._alike(wanted) | self.free)
        if together is not None:
            return [together]
        found, left = [], wanted
        while left:
            kind = self._alike(left & -left)
            part = self._exact(left & kind, kind | self.free)
            assert part is not None  # pods of one kind share every label, and lack every other one
            found.append(part)
            left &= ~self.index.select(part)
        return found

    def _alike(self, mask: int) -> int:
        """``mask`` and every pod that carries exactly the labels of one in it."""
        kinds = {frozenset(self.pods[at].labels.items()) for at in bits(mask)}
        return _mask(frozenset(pod.labels.items()) in kinds for pod in self.pods)

    def _exact(self, wanted: int, allowed: int) -> LabelSelector | None:
        """Chooses all of ``wanted``, and nobody outside ``allowed``; at least one label when they share any."""
        shared = self._shared(wanted)
        for pairs in _few(shared):
            selector = LabelSelector(match_labels=dict(pairs))
            if not self.index.select(selector) & ~allowed:
                return selector
        return self._by_absence(wanted, allowed, shared)

    def _shared(self, wanted: int) -> Pairs:
        """Labels that every wanted pod carries, best first."""
        first, *rest = [self.pods[at].labels for at in bits(wanted)]
        pairs = (pair for pair in first.items() if all(pair in each.items() for each in rest))
        return tuple(sorted(pairs, key=lambda pair: _rank(pair[0], self.likely)))

    def _by_absence(self, wanted: int, allowed: int, shared: Pairs) -> LabelSelector | None:
        """All shared labels, and keys that must be missing; then without whatever turns out not to be needed."""
        own = {key for at in bits(wanted) for key in self.pods[at].labels}
        absent: list[str] = []
        too_many = self.index.select(_selector(shared, absent)) & ~allowed
        while too_many:
            counts: dict[str, int] = {}
            for at in bits(too_many):
                for key in self.pods[at].labels.keys() - own:
                    counts[key] = counts.get(key, 0) + 1
            if not counts:
                return None
            absent.append(min(counts, key=lambda key: (-counts[key], key)))
            too_many = self.index.select(_selector(shared, absent)) & ~allowed
        for key in tuple(absent):
            fewer = [each for each in absent if each != key]
            if not self.index.select(_selector(shared, fewer)) & ~allowed:
                absent = fewer
        for pair in reversed(shared):
            rest = tuple(each for each in shared if each != pair)
            if rest and not self.index.select(_selector(rest, absent)) & ~allowed:
                shared = rest
        return _selector(shared, absent)


def _few(shared: Pairs) -> Iterator[Pairs]:
    """Small subsets, smallest first; those without generated labels before all others."""
    stable = tuple(pair for pair in shared if pair[0] not in _GENERATED)
    for labels, skip in ((stable, ()), (shared, stable)):
        for size in range(1, min(len(labels), _MOST_TOGETHER) + 1):
            for pairs in combinations(labels, size):
                if not (skip and all(pair in skip for pair in pairs)):
                    yield pairs


def _rank(key: str, likely: Collection[str]) -> tuple[int, int, str]:
    if key in _GENERATED:
        return 4, _GENERATED.index(key), key
    if key in likely:
        return 0, 0, key
    if key in _USUAL:
        return 1, _USUAL.index(key), key
    return (3 if key in _PASSING else 2), 0, key


def _selector(pairs: Pairs, absent: Iterable[str]) -> LabelSelector:
    missing = [LabelSelectorRequirement(key=key, operator=DOES_NOT_EXIST) for key in sorted(absent)]
    return LabelSelector(match_labels=dict(pairs) or None, match_expressions=missing or None)


def _mask(chosen: Iterable[bool]) -> int:
    """Bit i for the i-th. By way of text: adding up single bits takes time that grows with the square."""
    text = "".join("1" if each else "0" for each in chosen)
    return int(text[::-1] or "0", 2)


def _refs(pods: list[Pod], mask: int) -> tuple[ObjectRef, ...]:
    return tuple(pods[at].ref for at in bits(mask))
