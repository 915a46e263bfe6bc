"""The smallest policy change that would allow a path, and nothing else.

In: the state, its compiled form, the steps of a path that is denied. Out: a Remedy. Called by ``analysis.path``. Pure.

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
from stockade.analysis.remedy.grant import Grant, GrantRule, merged, policy_of
from stockade.analysis.remedy.labels import LabelChooser
from stockade.analysis.remedy.names import PolicyNames
from stockade.analysis.remedy.notes import also_notes, grant_notes
from stockade.analysis.remedy.peers import Peers, peers_for
from stockade.analysis.remedy.values import Remedy
from stockade.analysis.steps import LOOKUP, Attempt, Step
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.content import MAX_PORT
from stockade.policy.explain import flow_text
from stockade.policy.verdict import ICMP, DirectionVerdict, Endpoint, Flow
from stockade.store.state import ClusterState

Port = tuple[str, int]
_NO_ADDRESS = "{} is not known here, and a policy needs an address (never a whole 0.0.0.0/0): give it, --resolve NAME=IP"
_PING = (
    "{}: only a rule without ports lets ICMP pass, and it would open every port to that peer as well; so no change"
    " is proposed"
)


class Asked(msgspec.Struct, frozen=True):
    """Who asks, and for what: ``target`` is words for a policy's name."""

    source: ObjectRef
    target: str


def suggest(state: ClusterState, compiled: CompiledPolicies, steps: Iterable[Step], asked: Asked) -> Remedy:
    return _Suggestion(state, compiled, tuple(steps), asked).result()


class _Suggestion:
    def __init__(
        self, state: ClusterState, compiled: CompiledPolicies, steps: tuple[Step, ...], asked: Asked
    ) -> None:
        self.state, self.compiled, self.steps, self.asked = state, compiled, steps, asked
        self.chooser = LabelChooser(compiled)
        self.names = PolicyNames(state)
        self.notes: dict[str, None] = {}
        self.complete = True
        self.wanted = {id(step): tuple(self._wanted(step)) for step in steps}

    def result(self) -> Remedy:
        grants = [*self._egress(), *self._ingress()]
        asked = [attempt.flow for attempts in self.wanted.values() for attempt in attempts]
        also, more = also_allowed(self.compiled, grants, asked)
        notes = [note for grant in grants for note in grant_notes(grant)]
        notes += also_notes(also, more=more)
        return Remedy(
            policies=tuple(policy_of(grant) for grant in grants),
            complete=self.complete,
            also=also,
            notes=tuple(dict.fromkeys([*notes, *self.notes])),
        )

    def _wanted(self, step: Step) -> Iterator[Attempt]:
        """Denied attempts of a step that a policy can mend. A lookup that is denied is mended for large answers too."""
        if step.ok:
            return
        attempts = (*step.attempts, *step.by_tcp) if step.kind == LOOKUP else step.attempts
        denied = [attempt for attempt in attempts if not attempt.allowed]
        if not denied:
            self._give_up(f"{step.title}: {step.detail}; no policy change helps")
        for attempt in denied:
            if step.stand_in:
                self._give_up(_NO_ADDRESS.format(f"the address of {attempt.flow.destination}".split(" (")[0]))
            elif attempt.flow.protocol == ICMP:
                self._give_up(_PING.format(flow_text(attempt.flow)))
            elif not 1 <= (attempt.flow.port or 0) <= MAX_PORT:
                self._give_up(f"{flow_text(attempt.flow)}: no rule can name that port")
            else:
                yield attempt

    def _give_up(self, note: str) -> None:
        self.complete = False
        self.notes[note] = None

    def _egress(self) -> Iterator[Grant]:
        """One policy for the pod that asks; its rules in the order of the steps."""
        by_port: dict[Port, dict[Flow, None]] = {}
        for attempt in self._denied(EGRESS):
            by_port.setdefault(_port(attempt.flow), {})[attempt.flow] = None
        rules = []
        for port, flows in by_port.items():
            ends = [(flow.destination, flow.family) for flow in flows]
            found = self._peers(ends, self.asked.source.namespace, self._open_on(port))
            rules.append(GrantRule(found.found, (port,)))
        yield from self._grants(EGRESS, [self.asked.source], merged(rules), self.asked.target)

    def _ingress(self) -> Iterator[Grant]:
        """Policies for the pods that are asked: one for all that need the same ports, if labels can say who they are."""
        needs: dict[ObjectRef, dict[Port, Flow]] = {}
        lookups: dict[ObjectRef, bool] = {}
        for step in self.steps:
            for attempt in self.wanted[id(step)]:
                subject = attempt.verdict.ingress.subject
                if attempt.verdict.ingress.allowed or subject is None:
                    continue
                needs.setdefault(subject, {})[_port(attempt.flow)] = attempt.flow
                lookups[subject] = step.kind == LOOKUP and lookups.get(subject, True)
        alike: dict[tuple[str, bool, tuple[Port, ...], int], list[ObjectRef]] = {}
        for subject, ports in needs.items():
            family = next(iter(ports.values())).family
            key = subject.namespace, lookups[subject], tuple(ports), family
            alike.setdefault(key, []).append(subject)
        for (namespace, is_lookup, port_list, family), subjects in alike.items():
            source = needs[subjects[0]][port_list[0]].source
            found = self._peers([(source, family)], namespace, ())
            rules = [GrantRule(found.found, port_list)]
            yield from self._grants(INGRESS, subjects, rules, "dns" if is_lookup else self.asked.target)

    def _grants(
        self, direction: str, subjects: list[ObjectRef], rules: list[GrantRule], target: str
    ) -> Iterator[Grant]:
        useful = [rule for rule in rules if rule.peers]
        if not useful:
            return
        for choice in self.chooser.choose(subjects, likely=self._likely(subjects)):
            ref = self.names.pick(direction, choice.pods[0].namespace, self.asked.source, target)
            yield Grant(ref=ref, direction=direction, subjects=choice, rules=tuple(useful))

    def _peers(self, ends: Iterable[tuple[Endpoint, int]], home: str, free: Iterable[Endpoint]) -> Peers:
        found = peers_for(self.compiled, self.chooser, ends, tuple(free), home)
        for end in found.nameless:
            self._give_up(f"{end} has no address yet that a rule could name")
        return found

    def _denied(self, direction: str) -> Iterator[Attempt]:
        for step in self.steps:
            for attempt in self.wanted[id(step)]:
                if not _side(attempt, direction).allowed:
                    yield attempt

    def _open_on(self, port: Port) -> Iterator[Endpoint]:
        """Backends that the pod may send to already: to choose them once more adds nothing."""
        for step in self.steps:
            for attempt in (*step.attempts, *step.by_tcp):
                if _port(attempt.flow) == port and attempt.verdict.egress.allowed:
                    yield attempt.flow.destination

    def _likely(self, subjects: Iterable[ObjectRef]) -> set[str]:
        """Labels by which the policies at hand mean these pods: their authors think in them."""
        keys: set[str] = set()
        for subject in subjects:
            entry = self.compiled.pods[self.compiled.by_ref[subject]]
            for profile in (entry.egress, entry.ingress):
                for ref in profile.policies if profile else ():
                    keys |= (self.state.policies[ref].pod_selector.match_labels or {}).keys()
        return keys


def _port(flow: Flow) -> Port:
    return flow.protocol, flow.port or 0


def _side(attempt: Attempt, direction: str) -> DirectionVerdict:
    return attempt.verdict.egress if direction == EGRESS else attempt.verdict.ingress
