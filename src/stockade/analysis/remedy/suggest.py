"""The smallest policy change that would allow a path, and nothing else.

In: the state, its compiled form, the steps of paths that are denied. Out: a Remedy. Called by ``analysis.path``. Pure.

    denied attempts --> needs (direction, pod, peer, port) --> grants (selector, rules) --> new NetworkPolicies
                                                                       \\--> what else they would allow (``also``)

A change is always a new policy beside the others: policies add up (rule 4), while an edited one would change for every pod it
selects. A new policy also isolates the pods it selects, so it must select only pods that are isolated in that direction already: those
that carry the same labels as the denied one are (isolation goes by labels), and ``labels`` chooses no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from stockade.analysis.remedy.also import also_allowed
from stockade.analysis.remedy.grant import Grant, GrantRule, Port, merged, policy_of, united
from stockade.analysis.remedy.labels import LabelChooser
from stockade.analysis.remedy.names import PolicyNames
from stockade.analysis.remedy.notes import also_notes, grant_notes
from stockade.analysis.remedy.peers import peers_for
from stockade.analysis.remedy.values import Remedy
from stockade.analysis.steps import CONNECT, LOOKUP, Attempt, Step
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.content import MAX_PORT
from stockade.policy.explain import flow_text
from stockade.policy.verdict import ICMP, Endpoint, Flow
from stockade.store.state import ClusterState

_NO_ADDRESS = "{} is not known here, and a policy needs an address (never a whole 0.0.0.0/0): give it, --resolve NAME=IP"
_PING = (
    "{}: only a rule without ports lets ICMP pass, and it would open every port to that peer as well; so no change"
    " is proposed"
)


class Asked(msgspec.Struct, frozen=True):
    """Who asks, and for what, in words for a policy's name: ``test`` (in ``namespace``), ``web-80``."""

    source: str
    namespace: str
    target: str


class Run(msgspec.Struct, frozen=True):
    """The steps of one path. ``ports``: how many ports, one after the other, the connection speaks for."""

    steps: tuple[Step, ...]
    ports: int = 1


class _Need(msgspec.Struct):
    """What one pod lacks in one direction: ends by port, each with the family of its traffic. ``open``: ends that it may exchange
    traffic with already, to choose which once more adds nothing."""

    direction: str
    subject: ObjectRef
    lacks: dict[Port, dict[tuple[Endpoint, int], None]] = {}
    open: dict[Port, set[Endpoint]] = {}
    is_lookup: bool = True

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for pods that can share a policy."""
        ends = tuple((port, tuple(found.items())) for port, found in self.lacks.items())
        return self.direction, self.subject.namespace, self.is_lookup, ends


def suggest(state: ClusterState, compiled: CompiledPolicies, runs: Iterable[Run], asked: Asked) -> Remedy:
    """One remedy for all ``runs``: the paths of one question."""
    return _Suggestion(state, compiled, asked).result(tuple(runs))


class _Suggestion:
    def __init__(self, state: ClusterState, compiled: CompiledPolicies, asked: Asked) -> None:
        self.state, self.compiled, self.asked = state, compiled, asked
        self.chooser = LabelChooser(compiled)
        self.names = PolicyNames(state)
        self.needs: dict[tuple[str, ObjectRef], _Need] = {}
        self.meant: list[tuple[Flow, int]] = []
        self.notes: dict[str, None] = {}
        self.complete = True

    def result(self, runs: tuple[Run, ...]) -> Remedy:
        for run in runs:
            for step in run.steps:
                self._read(step, run.ports if step.kind == CONNECT else 1)
        grants = [msgspec.structs.replace(each, ref=self._name(each)) for each in united(self._grants())]
        also, more = also_allowed(self.compiled, grants, self.meant)
        notes = [note for grant in grants for note in grant_notes(grant)]
        notes += also_notes(also, more=more)
        return Remedy(
            policies=tuple(policy_of(grant) for grant in grants),
            complete=self.complete,
            also=also,
            notes=tuple(dict.fromkeys([*notes, *self.notes])),
        )

    # From steps to needs

    def _read(self, step: Step, ports: int) -> None:
        """A lookup that is denied is mended for large answers too."""
        attempts = (*step.attempts, *step.by_tcp) if step.kind == LOOKUP and not step.ok else step.attempts
        if step.undecided:
            self._give_up(f"{step.detail}; a policy needs it")
            return
        for attempt in attempts:
            if attempt.allowed or self._can_mend(step, attempt.flow, ports):
                self._note(step, attempt, ports)
        if not step.ok and all(attempt.allowed for attempt in attempts):
            self._give_up(f"{step.title}: {step.detail}; no policy change helps")

    def _can_mend(self, step: Step, flow: Flow, ports: int) -> bool:
        if step.stand_in:
            self._give_up(_NO_ADDRESS.format(f"the address of {flow.destination}".split(" (")[0]))
        elif flow.protocol == ICMP:
            self._give_up(_PING.format(flow_text(flow)))
        elif not 1 <= (flow.port or 0) <= MAX_PORT + 1 - ports:
            self._give_up(f"{flow_text(flow)}: no rule can name that port")
        else:
            self.meant.append((flow, ports))
            return True
        return False

    def _note(self, step: Step, attempt: Attempt, ports: int) -> None:
        flow = attempt.flow
        first = flow.port or 0
        port = flow.protocol, first, first + ports - 1
        for side in (attempt.verdict.egress, attempt.verdict.ingress):
            if side.subject is None:
                continue
            other = flow.destination if side.direction == EGRESS else flow.source
            key = side.direction, side.subject
            need = self.needs.setdefault(key, _Need(*key))
            if side.allowed:
                need.open.setdefault(port, set()).add(other)
            else:
                need.lacks.setdefault(port, {})[other, flow.family] = None
                need.is_lookup = need.is_lookup and step.kind == LOOKUP

    def _give_up(self, note: str) -> None:
        self.complete = False
        self.notes[note] = None

    # From needs to grants

    def _grants(self) -> Iterator[Grant]:
        """Egress first, as a packet meets it."""
        for direction in (EGRESS, INGRESS):
            alike: dict[tuple[object, ...], list[_Need]] = {}
            for need in self.needs.values():
                if need.lacks and need.direction == direction:
                    alike.setdefault(need.key, []).append(need)
            for needs in alike.values():
                yield from self._shared(needs)

    def _shared(self, needs: list[_Need]) -> Iterator[Grant]:
        """For pods that lack the same: one policy, if labels can say who they are."""
        first = needs[0]
        rules = []
        for port, ends in first.lacks.items():
            spare = set.intersection(*(need.open.get(port, set()) for need in needs))
            found = peers_for(self.compiled, self.chooser, ends, spare, first.subject.namespace)
            for end in found.nameless:
                self._give_up(f"{end} has no address yet that a rule could name")
            if found.found:
                rules.append(GrantRule(found.found, (port,)))
        if not rules:
            return
        subjects = [need.subject for need in needs]
        for choice in self.chooser.choose(subjects, likely=self._likely(subjects)):
            yield Grant(
                direction=first.direction, subjects=choice, rules=merged(rules), is_lookup=first.is_lookup
            )

    def _likely(self, subjects: Iterable[ObjectRef]) -> set[str]:
        """Labels by which the policies at hand mean these pods: their authors think in them."""
        keys: set[str] = set()
        for subject in subjects:
            entry = self.compiled.pods[self.compiled.by_ref[subject]]
            for profile in (entry.egress, entry.ingress):
                for ref in profile.policies if profile else ():
                    keys |= (self.state.policies[ref].pod_selector.match_labels or {}).keys()
        return keys

    def _name(self, grant: Grant) -> ObjectRef:
        """``allow-test-to-web-80`` beside the source, ``allow-web-80-from-test`` beside the target."""
        asked, namespace = self.asked, grant.subjects.pods[0].namespace
        target = "dns" if grant.is_lookup and grant.direction == INGRESS else asked.target
        if grant.direction == EGRESS:
            return self.names.pick(namespace, f"allow-{asked.source}-to-{target}")
        foreign = asked.namespace if asked.namespace != namespace else ""
        return self.names.pick(namespace, f"allow-{target}-from-{foreign}-{asked.source}")
