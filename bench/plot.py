"""Draws cost against size: first packets on the left, packets of answered connections on the right, one line for each layout.

In: Results. Out: the text of an SVG file without scripts, fonts or links, readable on light and dark pages. Called by ``dataplane``. Pure.
Both panels have the same logarithmic scale, so that a height means the same in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

import msgspec

from layouts.names import OURS
from results import Kind, Results, name

WIDTH, HEIGHT = 1116, 480
_TOP, _BOTTOM, _LEFT, _LABELS, _PANEL = 64, 40, 64, 178, 348
_COLOURS = ("#888888", "#0d9488", "#dc2626", "#ea8a0b", "#c026d3", "#3b82f6", "#65a30d")
_LINE_GAP = 15  # between the labels at the lines' ends
# Greys with as much contrast on white as on black, for not every viewer tells a picture which of the two it is on.
_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #6e7781; }
.title { font-size: 14px; font-weight: 600; }
.grid { stroke: #8c959f; stroke-width: 1; stroke-opacity: 0.35; }"""


class Scale(msgspec.Struct, frozen=True):
    """Decades from ``low`` to ``high`` (powers of ten) over the height of a panel."""

    low: int
    high: int

    def y(self, ns: float) -> float:
        """What is below the lowest decade is drawn on its line."""
        part = (math.log10(max(ns, 10**self.low)) - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - part * (HEIGHT - _TOP - _BOTTOM)


def plot(results: Results) -> str:
    kinds = (Kind.NEW, Kind.KNOWN)
    values = [max(cost.median, 1) for cost in results.costs if cost.kind in kinds] or [100, 1000]
    scale = Scale(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) * 1.01)))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_TITLE}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="22">{_TITLE}</text>',
    ]
    titles = ("first packet of a connection", "packet of an answered connection")
    for number, (kind, title) in enumerate(zip(kinds, titles, strict=True)):
        left = _LEFT + number * (_PANEL + _LABELS)
        lines += [f'<text x="{left}" y="46">{title}</text>', *_grid(results, scale, left)]
        lines += _curves(results, kind, scale, left)
    return "\n".join([*lines, "</svg>", ""])


_TITLE = "Nanoseconds added to a packet, by pods x policies"


def _grid(results: Results, scale: Scale, left: float) -> Iterator[str]:
    for power in range(scale.low, scale.high + 1):
        y = scale.y(10**power)
        yield f'<line class="grid" x1="{left}" x2="{left + _PANEL}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{_duration(10**power)}</text>'
    for x, size in zip(_columns(results, left), results.sizes, strict=True):
        y = HEIGHT - _BOTTOM + 20
        yield f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{name(size)}</text>'


def _curves(results: Results, kind: Kind, scale: Scale, left: float) -> Iterator[str]:
    layouts = list(dict.fromkeys(cost.layout for cost in results.costs))
    ends: list[tuple[float, str, str]] = []
    for number, layout in enumerate(layouts):
        colour = _COLOURS[number % len(_COLOURS)]
        width = 3.5 if layout == OURS else 1.8
        found = [
            (x, scale.y(cost.median))
            for x, size in zip(_columns(results, left), results.sizes, strict=True)
            if (cost := results.cost(size, layout, kind)) is not None
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in found)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'
        yield from (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 0.7:.1f}" fill="{colour}"/>' for x, y in found
        )
        if found:
            ends.append((found[-1][1], layout, colour))
    x = left + _PANEL + 4
    for y, (_, layout, colour) in zip(spread([end[0] for end in sorted(ends)]), sorted(ends), strict=True):
        weight = ' font-weight="600"' if layout == OURS else ""
        yield f'<text x="{x}" y="{y + 4:.1f}" style="fill: {colour}"{weight}>{escape(layout)}</text>'


def _columns(results: Results, left: float) -> list[float]:
    step = _PANEL / max(1, len(results.sizes))
    return [left + step * (number + 0.5) for number in range(len(results.sizes))]


def spread(wanted: Sequence[float]) -> list[float]:
    """Heights in ascending order, moved down just enough that labels do not overlap, and all up when the last is too low."""
    placed: list[float] = []
    for y in wanted:
        placed.append(max(y, placed[-1] + _LINE_GAP) if placed else y)
    lift = max(0.0, placed[-1] - (HEIGHT - _BOTTOM + 4)) if placed else 0.0
    return [y - lift for y in placed]


def _duration(ns: int) -> str:
    for unit, size in (("ms", 10**6), ("µs", 10**3)):
        if ns >= size:
            return f"{ns // size} {unit}"
    return f"{ns} ns"
