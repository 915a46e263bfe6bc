"""The outcomes of assertions as text, JSON-ready data and TAP; ``report.junit`` writes the XML.

In: Rows (an Outcome, where it is written, what was observed). Out: lines with their style, or plain data. Called by ``stockade test``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stockade.analysis.assertions import MIXED, UNDECIDED, Outcome
from stockade.model.diagnostic import Position
from stockade.report.path_text import BAD, DIM, OK, PLAIN, Line


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """``observed`` is empty where nothing was tried; ``seen`` is what the program that tried has said."""

    outcome: Outcome
    position: Position
    observed: str = ""
    seen: str = ""

    @property
    def disagrees(self) -> bool:
        """The network does not do what was decided: the worst of all. Where backends differ, any one may have answered."""
        return bool(self.observed) and self.outcome.decided not in {self.observed, MIXED, UNDECIDED}

    @property
    def ok(self) -> bool:
        return self.outcome.passed and not self.disagrees

    @property
    def title(self) -> str:
        outcome = self.outcome
        if outcome.name:
            return f"{outcome.name}: {outcome.connection}"
        return f"{outcome.connection} is {outcome.expected}"

    @property
    def complaint(self) -> str:
        """Empty when ``ok``."""
        found = [] if self.outcome.passed else [self.outcome.why]
        if self.disagrees:
            found.append(f"decided {self.outcome.decided}, but observed {self.observed} ({self.seen})")
        return "; ".join(found)


def text_lines(rows: Sequence[Row], *, live: bool) -> Iterator[Line]:
    if live:
        yield PLAIN, "      EXPECTED  DECIDED   OBSERVED"
    for row in rows:
        mark = "ok  " if row.ok else "FAIL"
        outcome = row.outcome
        columns = f"{outcome.expected:<8}  {outcome.decided:<8}  {row.observed or '-':<8}  " if live else ""
        yield (OK if row.ok else BAD), f"{mark}  {columns}{row.title}"
        if live and not row.observed and row.ok:
            yield DIM, f"      {row.seen}"
        if not row.ok:
            yield PLAIN, f"      {row.complaint}"
            yield PLAIN, f"      at {row.position}"
    failed = sum(not row.ok for row in rows)
    yield (BAD if failed else OK), f"{len(rows)} checked, {failed} failed"


def data(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "passed": all(row.ok for row in rows),
        "checked": len(rows),
        "failed": sum(not row.ok for row in rows),
        "results": [
            {
                "name": row.outcome.name,
                "connection": row.outcome.connection,
                "passed": row.ok,
                "expected": row.outcome.expected,
                "decided": row.outcome.decided,
                **({"observed": row.observed, "seen": row.seen} if row.observed or row.seen else {}),
                "why": row.complaint or row.outcome.why,
                "position": msgspec.to_builtins(row.position),
            }
            for row in rows
        ],
    }


def tap(rows: Sequence[Row]) -> Iterator[str]:
    """Test Anything Protocol, version 14."""
    yield "TAP version 14"
    yield f"1..{len(rows)}"
    for number, row in enumerate(rows, 1):
        title = " ".join(row.title.split()).replace("\\", "\\\\").replace("#", "\\#")
        yield f"{'ok' if row.ok else 'not ok'} {number} - {title}"
        if not row.ok:
            yield "  ---"
            yield f"  message: {_quoted(row.complaint)}"
            yield f"  at: {_quoted(str(row.position))}"
            yield "  ..."


def _quoted(text: str) -> str:
    """A JSON string is a YAML string."""
    return msgspec.json.encode(text).decode()
