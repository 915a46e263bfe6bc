"""One case on a real cluster: carry out each step, probe every pair, compare with what is expected and with the engine.

In: a case and the cluster. Out: ``Result``. Called by ``__main__`` and by the lab's tests. As upstream e2e, what is not as expected is
probed once more (a change takes effect soon, not at once) and a pod with itself is not compared. A denied probe must say TIMEOUT: policy
drops; a lookup that is denied says DNS.
"""

from __future__ import annotations

import time
from collections import Counter

import msgspec

from stockade.testing.conformance import matrix, truth
from stockade.testing.conformance.case import Case, Step, act
from stockade.testing.conformance.cluster import Cluster
from stockade.testing.conformance.matrix import Cell, Seen
from stockade.testing.conformance.tables import tables
from stockade.testing.conformance.verdicts import verdicts
from stockade.testing.conformance.world import World

TRIES = 2
AGAIN_AT_ONCE = 15  # as cyclonus has workers: what was late because all was asked at once is asked gently
DENIED = {"TIMEOUT", "DNS"}
MOST_TOLD = 40


class How(msgspec.Struct, frozen=True):
    destination_type: str
    skipped: tuple[str, ...] = ()  # protocols that this kernel does not have
    at_once: int = matrix.AT_ONCE


class Result(msgspec.Struct):
    """``late``: what probes saw that were as expected only when asked again. ``skipped``: probes of protocols that the kernel does not have."""

    case: Case
    complaint: str = ""
    probes: int = 0
    asserted: int = 0
    late: Counter[str] = msgspec.field(default_factory=Counter)
    skipped: int = 0
    seconds: float = 0.0
    matrices: list[float] = msgspec.field(default_factory=list)

    @property
    def outcome(self) -> str:
        """A case of which nothing that it asserts could be asked is skipped, not passed."""
        if self.complaint:
            return "FAIL"
        return "ok" if self.asserted else "skip"


async def run(case: Case, cluster: Cluster, how: How) -> Result:
    began = time.monotonic()
    labelled = case.suite == "cyclonus"
    await cluster.reset(labelled=labelled)
    result, world = Result(case), World(labelled=labelled)
    for number, step in enumerate(case.steps):
        for action in step.actions:
            act(world, action)
            await cluster.act(action)
        for name, address in cluster.addresses.items():
            world.pods[name]["ip"] = address
        complaint = await _judge(step, world, cluster, how, result)
        if complaint:
            result.complaint = f"step {number + 1} of {len(case.steps)}\n{complaint}"
            break
    result.seconds = time.monotonic() - began
    return result


async def _judge(step: Step, world: World, cluster: Cluster, how: How, result: Result) -> str:
    everything = matrix.cells(cluster, cluster.probes)
    wanted = [cell for cell in everything if cell.protocol not in how.skipped]
    expected = {cell: found for cell in everything if (found := expects(step, world, cell)) is not None}
    decided = await verdicts(cluster.client, everything, how.destination_type)
    compared = {cell: decided[cell] for cell in wanted if cell.source != cell.destination}
    # Also where no packet can go: the engine and the expectation must agree.
    apart = [cell for cell in expected if expected[cell] != decided[cell]]
    began = time.monotonic()
    seen = await matrix.probe(cluster, wanted, how.destination_type, at_once=how.at_once)
    result.matrices.append(time.monotonic() - began)
    wrong = _wrong(compared, seen)
    for _ in range(TRIES - 1):
        if not wrong:
            break
        first = {cell: seen[cell] for cell in wrong}
        again = await matrix.probe(cluster, wrong, how.destination_type, at_once=AGAIN_AT_ONCE)
        seen |= again
        still = _wrong({cell: compared[cell] for cell in wrong}, again)
        result.late.update(first[cell] or "connected" for cell in set(wrong) - set(still))
        wrong = still
    result.probes += len(wanted)
    result.skipped += len(everything) - len(wanted)
    result.asserted += sum(cell in expected for cell in wanted)
    return _complaint(expected, decided, seen, apart, wrong) if apart or wrong else ""


def expects(step: Step, world: World, cell: Cell) -> bool | None:
    """None: the case does not say."""
    if cell.source == cell.destination:
        return None
    if step.denied is None:
        return truth.connects(world, cell.source, cell.destination, cell.protocol, cell.port)
    denied = step.denied.get(cell.probe)
    return None if denied is None else not denied("/".join(cell.source), "/".join(cell.destination))


def _wrong(decided: dict[Cell, bool], seen: Seen) -> list[Cell]:
    return [
        cell
        for cell, allowed in decided.items()
        if (seen[cell] != "" if allowed else seen[cell] not in DENIED)
    ]


def _complaint(
    expected: dict[Cell, bool], decided: dict[Cell, bool], seen: Seen, apart: list[Cell], wrong: list[Cell]
) -> str:
    bad = sorted({*apart, *wrong})
    told = [
        f"{cell}: expected {_word(expected.get(cell))}, engine {_word(decided[cell])}, network {_seen(seen.get(cell))}"
        for cell in bad
    ]
    if len(told) > MOST_TOLD:
        told[MOST_TOLD:] = [f"… and {len(told) - MOST_TOLD} more"]
    probes = {cell.probe for cell in bad}
    letters = {
        cell: "!" if cell in bad else "X" if word else "."
        for cell, word in seen.items()
        if cell.probe in probes
    }
    return "\n".join([*told, "", tables(letters)])


def _seen(word: str | None) -> str:
    return "not asked" if word is None else word or "connected"


def _word(allowed: bool | None) -> str:
    return "says nothing" if allowed is None else "connected" if allowed else "denied"
