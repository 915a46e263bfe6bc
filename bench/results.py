"""What the data plane's benchmark found, as values: statistics of differences, tables, and the aims.

In: samples (nanoseconds per packet, by round). Out: Results; Markdown tables; Check values. Called by ``dataplane`` and ``plot``. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from cluster import Size
from layouts.names import CONNTRACK, KUBE_ROUTER, KUBE_ROUTER_NFT, NONE, OURS


class Kind(StrEnum):
    """What a packet is to its connection."""

    NEW = "new"
    EVAL = "eval"
    KNOWN = "known"


TITLES = {
    Kind.NEW: "First packet of a connection, added ns",
    Kind.EVAL: "Later packet of a connection without a reply, added ns",
    Kind.KNOWN: "Packet of an answered connection, either direction, added ns",
}
KNOWN_RATIO, GROWTH, GROWTH_NS, CHEAPER = 1.15, 1.5, 1000, 3
ADD_POD_MS, LOAD_MS, CUT_MS = 2, 1500, 20
ADD_POD, FULL_LOAD = "add a pod, ms", "full load, ms"
Key = tuple[Size, str, Kind]


class Cost(msgspec.Struct, frozen=True):
    """Nanoseconds that a packet takes longer than without rules: the median over the rounds and its quartiles."""

    size: Size
    layout: str
    kind: Kind
    median: float
    low: float
    high: float


class LeftOut(msgspec.Struct, frozen=True):
    """A layout that could not be loaded at this size (None: at any), and why."""

    size: Size | None
    layout: str
    reason: str


class Programming(msgspec.Struct, frozen=True):
    """Of one size: medians by what was measured."""

    size: Size
    figures: dict[str, float]


class Cut(msgspec.Struct, frozen=True):
    """Milliseconds from the start of the stricter transaction to the last byte of a live flow, for each run."""

    size: Size
    flow: str
    ms: tuple[float, ...]


class Check(msgspec.Struct, frozen=True):
    """One aim. ``ok`` is None when what it is about was not measured."""

    aim: str
    found: str
    ok: bool | None


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """``bases``: ns per packet without rules, by size and kind."""

    machine: str
    rounds: int
    burst: int
    bases: dict[str, float]
    costs: tuple[Cost, ...]
    left_out: tuple[LeftOut, ...] = ()
    programming: tuple[Programming, ...] = ()
    cuts: tuple[Cut, ...] = ()

    def cost(self, size: Size, layout: str, kind: Kind) -> Cost | None:
        wanted = (size, layout, kind)
        return next((c for c in self.costs if (c.size, c.layout, c.kind) == wanted), None)

    @property
    def sizes(self) -> tuple[Size, ...]:
        return tuple(dict.fromkeys(cost.size for cost in self.costs))


def costs(samples: Mapping[Key, Sequence[float]]) -> Iterator[Cost]:
    """Differences to "no rules" of the same size, kind and round: what drifts (clock, caches, neighbours) is in both."""
    for (size, layout, kind), taken in samples.items():
        base = samples[size, NONE, kind]
        if layout != NONE:
            yield cost(size, layout, kind, [a - b for a, b in zip(taken, base, strict=True)])


def cost(size: Size, layout: str, kind: Kind, differences: Sequence[float]) -> Cost:
    low, median, high = quartiles(differences)
    return Cost(size, layout, kind, median, low, high)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def bases(samples: Mapping[Key, Sequence[float]]) -> dict[str, float]:
    return {
        f"{name(size)} {kind}": statistics.median(taken)
        for (size, layout, kind), taken in samples.items()
        if layout == NONE
    }


def name(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def tables(results: Results) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"{results.machine}; {results.rounds} rounds of bursts of {results.burst} packets; median (quartiles)."
    if results.costs:
        for kind in Kind:
            yield from ("", *_cost_table(results, kind))
        total = [results.bases[f"{name(size)} {Kind.NEW}"] for size in results.sizes]
        yield f"\nWithout rules a packet takes {min(total):.0f} to {max(total):.0f} ns here, from the sender's system call to the receiver's link."
    for each in results.left_out:
        where = f" at {name(each.size)}" if each.size else ""
        yield f"Left out: {each.layout}{where}: {each.reason}"
    yield from _programming_table(results)
    yield from _cut_table(results)


def _cost_table(results: Results, kind: Kind) -> Iterator[str]:
    yield _row(TITLES[kind], [name(size) for size in results.sizes])
    yield _ruler(len(results.sizes))
    for layout in dict.fromkeys(cost.layout for cost in results.costs):
        cells = []
        for size in results.sizes:
            found = results.cost(size, layout, kind)
            text = "not loaded"
            if found is not None:
                text = f"{found.median:.0f} ({found.low:.0f}-{found.high:.0f})"
            cells.append(text)
        yield _row(f"**{layout}**" if layout == OURS else layout, cells)


def _programming_table(results: Results) -> Iterator[str]:
    if not results.programming:
        return
    yield ""
    yield _row("Programming, medians", [name(each.size) for each in results.programming])
    yield _ruler(len(results.programming))
    for title in results.programming[0].figures:
        yield _row(title, [_number(each.figures[title]) for each in results.programming])


def _cut_table(results: Results) -> Iterator[str]:
    sizes = tuple(dict.fromkeys(cut.size for cut in results.cuts))
    if not sizes:
        return
    yield ""
    yield _row(
        "Live flow cut, ms after the transaction starts: median (worst)", [name(size) for size in sizes]
    )
    yield _ruler(len(sizes))
    for flow in dict.fromkeys(cut.flow for cut in results.cuts):
        cells = [
            f"{statistics.median(cut.ms):.1f} ({max(cut.ms):.1f})" for cut in results.cuts if cut.flow == flow
        ]
        yield _row(flow, cells)


def _row(title: str, cells: Sequence[str]) -> str:
    return f"| {title:<62} | " + " | ".join(f"{cell:>22}" for cell in cells) + " |"


def _ruler(columns: int) -> str:
    return f"|{'-' * 64}|" + "|".join(["-" * 23 + ":"] * columns) + "|"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def checks(results: Results) -> Iterator[Check]:
    """The aims, as ratios within one run; what was not measured has no answer."""
    for size in results.sizes:
        yield _known(results, size)
    if results.sizes:
        yield _growth(results, min(results.sizes), max(results.sizes))
        yield _cheaper(results, max(results.sizes))
    for title, most in ((ADD_POD, ADD_POD_MS), (FULL_LOAD, LOAD_MS)):
        for each in results.programming:
            found = each.figures[title]
            yield Check(f"{title} at {name(each.size)} ≤ {most}", f"{found:.2f}", found <= most)
    for cut in results.cuts:
        found = statistics.median(cut.ms)
        yield Check(
            f"{cut.flow} cut at {name(cut.size)} ≤ {CUT_MS} ms (median)", f"{found:.1f}", found <= CUT_MS
        )


def _known(results: Results, size: Size) -> Check:
    ours = results.cost(size, OURS, Kind.KNOWN)
    least = results.cost(size, CONNTRACK, Kind.KNOWN)
    aim = f"known flow at {name(size)} ≤ {KNOWN_RATIO} x conntrack accept"
    if ours is None or least is None:
        return Check(aim, "not measured", None)
    return Check(aim, f"{ours.median / least.median:.2f} x", ours.median <= KNOWN_RATIO * least.median)


def _growth(results: Results, small: Size, large: Size) -> Check:
    few, many = results.cost(small, OURS, Kind.NEW), results.cost(large, OURS, Kind.NEW)
    aim = f"first packet at {name(large)} ≤ {GROWTH} x {name(small)} + {GROWTH_NS} ns"
    if few is None or many is None or small == large:
        return Check(aim, "not measured", None)
    most = GROWTH * few.median + GROWTH_NS
    return Check(aim, f"{many.median:.0f}, at most {most:.0f} ns", many.median <= most)


def _cheaper(results: Results, size: Size) -> Check:
    ours = results.cost(size, OURS, Kind.NEW)
    others = [results.cost(size, layout, Kind.NEW) for layout in (KUBE_ROUTER, KUBE_ROUTER_NFT)]
    theirs = min((other.median for other in others if other is not None), default=None)
    aim = f"first packet at {name(size)} ≥ {CHEAPER} x cheaper than kube-router's layout"
    if ours is None or theirs is None:
        return Check(aim, "not measured", None)
    return Check(aim, f"{theirs / ours.median:.1f} x", theirs >= CHEAPER * ours.median)
