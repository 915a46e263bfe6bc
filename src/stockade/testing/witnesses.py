"""Three witnesses on the same flows: the engine, the simulated rules, and the kernel. ``python -m stockade.testing.witnesses --probes 50000``

Random worlds (``strategies.worlds``) are put on the namespaces of a ``Fabric``: pods on two nodes, each node with a ruleset of its own (one by nft, one by netlink) that is
programmed as the differences to that of the world before come in, in any order. Real TCP, UDP, SCTP and ICMP packets ask every question, directly and through Services,
and connections of the world before are asked again by either end. ``evaluate``, ``simulate_connection`` and what arrived must agree.
An address without a pod must be held by the fence. Needs root.

Output: progress on stderr; then how many probes of each kind there were, and each disagreement with the world that shows it. Exit status 1
on a disagreement or when some kind of probe was never met. The same ``--first`` draws the same worlds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random

import msgspec

from stockade.dataplane.programmer import Programmer
from stockade.dataplane.simulate import Packet
from stockade.net.cidr import Address, parse_address
from stockade.policy.compile import compile_state
from stockade.policy.ends import endpoint_for
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import ICMP, DirectionVerdict, Flow
from stockade.store.state import ClusterState
from stockade.testing.disagreement import written
from stockade.testing.driven import DrivenNode, backend
from stockade.testing.fabric import BEYOND, Fabric, node_of, place_at, service_address
from stockade.testing.namespaces import Namespaces, missing
from stockade.testing.placing import random_worlds, steps, views
from stockade.testing.sampling import aimed, sample
from stockade.testing.simulated import SimulatedCluster
from stockade.testing.spoiled import MISTAKES, Spoiled
from stockade.testing.wires import PORTS, Kept, Probe, Wires

KEPT = 24  # connections that live on into the next world
OPEN_EACH = 4  # probes of a protocol that no policy concerns, in each world
CANDIDATES = 8  # flows looked at for one that is asked
BACKENDS = {"node-1": "nft", "node-2": "netlink"}
RESTARTS = 0.05  # how often an agent is replaced
GRACE = 0.03  # seconds for a packet that should not arrive; one that may is there in far less
PATIENCE = 2.0  # seconds for one that should, on a busy machine
_DULL = {("open", "open", protocol) for protocol in ("TCP", "UDP", "SCTP", ICMP)}
_STATES = ("open", "by rule", "denied")
KINDS = (
    *(f"egress {one}, ingress {other}" for one in _STATES for other in _STATES),
    *(
        f"{protocol} {outcome}"
        for protocol in ("TCP", "UDP", "SCTP", ICMP)
        for outcome in ("allowed", "denied")
    ),
    "fenced",
    "through a Service",
    "to itself",
    "kept alive",
    "kept, now cut",
    "IPv6",
    "between nodes",
)


class Result(msgspec.Struct):
    """``kinds``: probes by KINDS."""

    worlds: int = 0
    probes: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    disagreements: list[str] = msgspec.field(default_factory=list)

    @property
    def never_met(self) -> list[str]:
        return [kind for kind in KINDS if not self.kinds[kind]]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A probe and what is expected of it. ``reaches``: its packet gets there, though the answer may not come back."""

    number: int
    flow: Flow
    probe: Probe
    simulated: bool
    allowed: bool
    reaches: bool
    kinds: tuple[str, ...]


class Witnesses:
    """Everything that lasts from world to world: the rules in the kernel, and connections that are still open."""

    def __init__(
        self, fabric: Fabric, wires: Wires, programmer: Callable[[str], Programmer], luck: int
    ) -> None:
        self.result = Result()
        self._fabric = fabric
        self._wires = wires
        self._random = Random(luck)  # noqa: S311 - no secret
        self._nodes = {
            name: DrivenNode(fabric.full(name), view, partial(programmer, name), self._random)
            for name, view in views().items()
        }
        self._kept: list[Kept] = []
        self._numbers = 0
        self._before = ""
        self._asked: dict[int, str] = {}

    def warm_up(self) -> None:
        """Neighbours find each other, so that no first packet waits for that. Without rules everything arrives."""
        ends = [address for address, short in self._fabric.where.items() if short != BEYOND]
        ends += [parse_address(text) for text in ("93.184.216.34", "2001:db8::7")]
        pairs = [(one, other) for one in ends for other in ends if one[0] == other[0] and one != other]
        for one, other in pairs:
            probe = self._probe(one, other, ICMP, 0, other)
            self._wires.send([probe])
            self._wires.collect([probe.number], [probe.number], 0, PATIENCE)
            if probe.number not in self._wires.answered:
                raise RuntimeError(f"without rules {one} does not reach {other}")

    def ask(self, state: ClusterState, count: int) -> None:
        """Program one world and put ``count`` questions to the three witnesses."""
        cluster = SimulatedCluster(compile_state(state), views())
        for driven in self._nodes.values():
            if self._random.random() < RESTARTS:
                driven.restart()
            driven.go_to(state, pieces=self._random.choice((1, 1, 2, 4)))
            if not driven.settled:
                raise RuntimeError("the rules could not be programmed")
        again = [self._again(cluster, kept) for kept in self._kept]
        fresh = [
            found for flow in self._chosen(cluster, state, count) if (found := self._fresh(cluster, flow))
        ]
        for (question, server_first), kept in zip(again, self._kept, strict=True):
            self._wires.ask_again(kept, question.number, server_first=server_first)
        self._wires.send(question.probe for question in fresh)
        asked = [*(question for question, _ in again), *fresh]
        self._wires.collect(
            [each.number for each in asked if each.reaches],
            [each.number for each in asked if each.allowed],
            GRACE,
            PATIENCE,
        )
        self._judge(state, asked)
        self._keep([question for question, _ in again], fresh)
        self._before = written(state)

    # -- questions

    def _chosen(self, cluster: SimulatedCluster, state: ClusterState, count: int) -> list[Flow]:
        """Of many flows some of each sort: most are not isolated, or denied where they start, and say the same again and again."""
        sorts: dict[tuple[str, ...], list[Flow]] = {}
        candidates = sample(state, self._random, CANDIDATES * count)
        candidates += aimed(cluster.compiled, self._random, CANDIDATES * count, PORTS)
        for flow in candidates:
            verdict = evaluate(cluster.compiled, flow, misses=False)
            sort = (_state(verdict.egress), _state(verdict.ingress), flow.protocol)
            sorts.setdefault(sort, []).append(flow)
        chosen: list[Flow] = []
        while len(chosen) < count and any(sorts.values()):
            chosen += [flows.pop() for flows in sorts.values() if flows]
            for dull in sorts.keys() & _DULL:
                del sorts[dull][OPEN_EACH:]
        self._random.shuffle(chosen)
        return chosen[:count]

    def _probe(self, source: Address, destination: Address, protocol: str, port: int, dial: Address) -> Probe:
        self._numbers += 1
        return Probe(
            number=self._numbers,
            protocol=protocol,
            source=source,
            destination=destination,
            dial=dial,
            port=port,
        )

    def _fresh(self, cluster: SimulatedCluster, flow: Flow) -> Question | None:
        """None for a flow that meets no node: loopback, two hosts outside, a node with itself."""
        packet = cluster.packet(flow)
        if packet is None:
            return None
        source, destination = (packet.family, packet.source), (packet.family, packet.destination)
        itself = source == destination
        if self._fabric.where[source] == self._fabric.where[destination] and place_at(source) is None:
            return None
        dial, kinds = destination, []
        place = place_at(destination)
        if place is not None and place_at(source) and (itself or self._random.random() < 0.2):
            dial = parse_address(service_address(place, packet.family))
            kinds += ["through a Service", *(["to itself"] if itself else [])]
        probe = self._probe(source, destination, flow.protocol, flow.port or 0, dial)
        return self._question(cluster, flow, packet, probe, kinds)

    def _again(self, cluster: SimulatedCluster, kept: Kept) -> tuple[Question, bool]:
        """A connection of an earlier world: judged by who has its addresses now."""
        old = kept.probe
        ends = endpoint_for(cluster.compiled, old.source), endpoint_for(cluster.compiled, old.destination)
        flow = Flow(*ends, old.protocol, old.port, old.source[0])
        packet = cluster.packet(flow)
        if packet is None:
            raise AssertionError("addresses of a fabric are never loopback")
        self._numbers += 1
        probe = msgspec.structs.replace(old, number=self._numbers)
        question = self._question(cluster, flow, packet, probe, [])
        server_first = self._random.random() < 0.5
        first = (old.destination, old.source) if server_first else (old.source, old.destination)
        kinds = (*question.kinds, "kept alive" if question.allowed else "kept, now cut")
        reaches = question.allowed or self._unpoliced(*first)
        return msgspec.structs.replace(question, kinds=kinds, reaches=reaches), server_first

    def _question(
        self, cluster: SimulatedCluster, flow: Flow, packet: Packet, probe: Probe, kinds: list[str]
    ) -> Question:
        fenced = any(
            place_at(end) is not None and end not in cluster.compiled.by_address
            for end in (probe.source, probe.destination)
        )
        verdict = evaluate(cluster.compiled, flow, misses=False)
        allowed = verdict.allowed and not fenced
        kinds = [*kinds, f"egress {_state(verdict.egress)}, ingress {_state(verdict.ingress)}"]
        kinds += [f"{flow.protocol} {'allowed' if allowed else 'denied'}"]
        kinds += ["fenced"] if fenced else []
        kinds += ["IPv6"] if flow.family == 6 else []
        kinds += ["between nodes"] if _between_nodes(probe) else []
        # Of TCP only data counts, which a handshake without answers never lets go.
        reaches = allowed or (probe.protocol != "TCP" and self._unpoliced(probe.source, probe.destination))
        return Question(
            number=probe.number,
            flow=flow,
            probe=probe,
            simulated=cluster.works(packet),
            allowed=allowed,
            reaches=reaches,
            kinds=tuple(kinds),
        )

    def _unpoliced(self, source: Address, destination: Address) -> bool:
        """What a node sends its own pods meets no rule; their answers do (rule 34)."""
        place = place_at(destination)
        return place is not None and self._fabric.where[source] == node_of(place)

    # -- answers

    def _judge(self, state: ClusterState, asked: Iterable[Question]) -> None:
        wires, result = self._wires, self.result
        result.worlds += 1
        for each in asked:
            result.probes += 1
            result.kinds.update(each.kinds)
            saw = each.number in wires.arrived, each.number in wires.answered
            if (*saw, each.simulated) != (each.reaches, each.allowed, each.allowed):
                result.disagreements.append(
                    f"{each.probe}\n{each.flow}\nevaluate: {each.allowed}, simulate: {each.simulated}, "
                    f"kernel: arrived {saw[0]} (expected {each.reaches}), answered {saw[1]}\n{each.kinds}\n"
                    f"{wires.tracked(each.probe)}\n"
                    f"world:\n{written(state)}\nthe world before:\n{self._before}"
                )
            elif not each.reaches:
                self._asked[each.number] = f"{each.probe} {each.flow}"
        for number in wires.arrived & self._asked.keys():  # long after its world
            result.disagreements.append(f"late: {self._asked.pop(number)}\nworld after:\n{written(state)}")

    def _keep(self, again: list[Question], fresh: list[Question]) -> None:
        """Working TCP and UDP connections, some old and some new."""
        alive = [kept for kept, asked in zip(self._kept, again, strict=True) if asked.allowed]
        new = [
            self._wires.kept(each.probe)
            for each in fresh
            if each.allowed and each.probe.protocol in {"TCP", "UDP"}
        ]
        candidates = [*alive, *(kept for kept in new if kept is not None)]
        self._kept = self._random.sample(candidates, min(KEPT, len(candidates)))
        self._wires.forget(self._kept)


def _state(direction: DirectionVerdict) -> str:
    if not direction.allowed:
        return "denied"
    return "by rule" if direction.allowed_by else "open"


def _between_nodes(probe: Probe) -> bool:
    one, other = place_at(probe.source), place_at(probe.destination)
    return one is not None and other is not None and node_of(one) != node_of(other)


def run(
    probes: int,
    *,
    first: int = 0,
    each: int = 100,
    programmer: Callable[[str], Programmer] = lambda name: backend(BACKENDS[name]),
    progress: Callable[[Result], None] = lambda _: None,
) -> Result:
    """At least so many probes, ``each`` fresh ones in every world; stops at the first disagreements."""
    with Namespaces() as spaces:
        fabric = Fabric(spaces)
        fabric.build()
        with Wires(fabric) as wires:
            witnesses = Witnesses(fabric, wires, programmer, first)
            witnesses.warm_up()
            random = Random(first)  # noqa: S311 - no secret
            for state in random_worlds(first):
                for step in steps(state, random):
                    witnesses.ask(step, each)
                    progress(witnesses.result)
                    if witnesses.result.probes >= probes or witnesses.result.disagreements:
                        return witnesses.result
    raise AssertionError("worlds have no end")


def table(result: Result) -> Iterator[str]:
    """Lines for people."""
    yield f"{result.probes} probes in {result.worlds} worlds, {len(result.disagreements)} disagreements"
    for kind in KINDS:
        yield f"  {kind:<32}{result.kinds[kind]:8}{'' if result.kinds[kind] else '   NEVER'}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--probes", type=int, default=50_000, help="at least so many")
    parser.add_argument("--each", type=int, default=100, help="new probes in every world")
    parser.add_argument("--first", type=int, default=0, help="number (and seed) of the first batch of worlds")
    parser.add_argument("--spoil", choices=MISTAKES, help="make this mistake in the rules, and see it found")
    options = parser.parse_args()
    if lacking := missing():
        parser.error(f"needs {lacking}")
    started = time.monotonic()

    def progress(result: Result) -> None:
        sys.stderr.write(f"\r{result.probes} probes, {time.monotonic() - started:.0f} s ")

    def programmer(name: str) -> Programmer:
        made = backend(BACKENDS[name])
        return Spoiled(made, options.spoil) if options.spoil else made

    result = run(
        options.probes, first=options.first, each=options.each, programmer=programmer, progress=progress
    )
    lines = [*table(result), *result.disagreements[:5], f"{time.monotonic() - started:.0f} s"]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    return 1 if result.disagreements or result.never_met else 0


if __name__ == "__main__":
    sys.exit(main())
