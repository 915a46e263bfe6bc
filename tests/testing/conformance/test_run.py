"""What the driver of the suites makes of what it sees: disagreements of each kind, second tries, tables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stockade.testing.conformance import matrix, run
from stockade.testing.conformance.case import Case, Step
from stockade.testing.conformance.e2e import into, never
from stockade.testing.conformance.junit import junit
from stockade.testing.conformance.matrix import Cell
from stockade.testing.conformance.tables import tables

PODS = [("x", "a"), ("x", "b"), ("y", "a")]
PROBES = [("TCP", 80), ("SCTP", 80)]
HOW = run.How("service-ip", ("SCTP",))
STEP = Step([], {"TCP 80": into("x/a"), "SCTP 80": never})


class Network:
    """The cluster: what each round of probes sees, and what the engine says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds: list[dict[Cell, str]] = []
        self.engine = lambda cell: cell.probe == "SCTP 80" or cell.destination != ("x", "a")
        self.asked: list[int] = []
        self.cluster: Any = SimpleNamespace(
            pods=PODS, probes=PROBES, addresses={}, client=None, reset=self._none
        )
        monkeypatch.setattr(matrix, "probe", self._probe)
        monkeypatch.setattr(run, "verdicts", self._verdicts)

    async def _none(self, **_: Any) -> None:
        pass

    async def _probe(self, _cluster: object, cells: list[Cell], *_: object, **__: object) -> dict[Cell, str]:
        self.asked.append(len(cells))
        strange = self.rounds.pop(0) if self.rounds else {}
        return {
            cell: strange.get(cell, "TIMEOUT" if cell.destination == ("x", "a") else "") for cell in cells
        }

    async def _verdicts(self, _: object, cells: list[Cell], __: str) -> dict[Cell, bool]:
        return {cell: self.engine(cell) for cell in cells}

    async def judge(self) -> run.Result:
        return await run.run(Case("e2e", 7, "", "one", [STEP]), self.cluster, HOW)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


BAD = Cell(("x", "b"), ("x", "a"), "TCP", 80)
GOOD = Cell(("x", "b"), ("y", "a"), "TCP", 80)


async def test_all_agree(network: Network) -> None:
    result = await network.judge()
    assert (result.outcome, result.probes, result.skipped, result.asserted) == ("ok", 9, 9, 6)
    assert network.asked == [9]


async def test_what_was_only_late_is_asked_once_more_and_counted(network: Network) -> None:
    network.rounds = [{BAD: "", GOOD: "DNS"}]
    result = await network.judge()
    assert (result.outcome, dict(result.late)) == ("ok", {"connected": 1, "DNS": 1})
    assert network.asked == [9, 2]


@pytest.mark.parametrize(
    ("cell", "word", "told"),
    [
        (BAD, "", "x/b -> x/a TCP 80: expected denied, engine denied, network connected"),
        (GOOD, "TIMEOUT", "x/b -> y/a TCP 80: expected connected, engine connected, network TIMEOUT"),
        (BAD, "REFUSED", "x/b -> x/a TCP 80: expected denied, engine denied, network REFUSED"),
    ],
)
async def test_a_network_that_does_otherwise(network: Network, cell: Cell, word: str, told: str) -> None:
    network.rounds = [{cell: word}] * run.TRIES
    result = await network.judge()
    assert result.outcome == "FAIL"
    assert result.complaint.splitlines()[:2] == ["step 1 of 1", told]
    assert "!" in result.complaint
    assert 'failures="1"' in junit([result])


async def test_an_engine_that_says_otherwise_where_no_packet_can_go(network: Network) -> None:
    network.engine = lambda cell: cell.destination != ("x", "a")
    result = await network.judge()
    assert "x/b -> x/a SCTP 80: expected connected, engine denied" in result.complaint


async def test_a_case_that_asserts_only_what_cannot_be_asked_is_skipped(network: Network) -> None:
    network.engine = lambda cell: cell.destination != ("x", "a")
    case = Case("e2e", 46, "", "SCTP", [Step([], {"SCTP 80": into("x/a")})])
    result = await run.run(case, network.cluster, HOW)
    assert result.outcome == "skip"
    assert 'skipped="1"' in junit([result])


def test_the_table() -> None:
    letters = {Cell(a, b, "TCP", 80): "." if b != ("x", "a") else "X" for a in PODS for b in PODS}
    assert tables(letters) == (
        "TCP 80  x/a  x/b  y/a\nx/a      X    .    .\nx/b      X    .    .\ny/a      X    .    ."
    )
