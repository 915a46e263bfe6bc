"""Measures the data plane: what a packet costs under our rules and under those of others, how fast rules change, how soon flows are cut.

    .venv/bin/python bench/dataplane.py [--rounds 100] [-o text|json] [--svg FILE] [--check]

Packets (``rigs``, ``packets``): added nanoseconds per packet against "no rules", for 10 x 10 to 5000 x 1000 pods x policies (``cluster``):
  new       the first packet of a connection, its conntrack entry included
  eval      later packets while there is no reply
  known     packets of answered connections, both directions
Layouts (``layouts``): conntrack accept alone; ours with every default; all rules in one chain; kube-router's (a chain for each pod, a linear list
of them) with both kinds of iptables; the first packet to a process. Those of others need the Debian packages iptables and ipset.

Programming (``programming``): a full load, a pod more, a policy changed, a label of 100 pods changed, memory.
Cut (``cut``): a packet each millisecond over TCP and UDP, up and down, until a policy becomes stricter.

Needs root, ``ip`` and ``nft``. Everything is in network namespaces without names, which end with the process. ``--check`` compares with the aims
and ends with status 1 when one is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import msgspec

import programming
from cluster import SIZES, size_of
from cut import cuts
from layouts import LAYOUTS, Layout
from layouts.names import NONE
from plot import plot
from results import Cost, LeftOut, Programming, Results, bases, checks, costs, tables
from rigs import BURST, load, measure, note
from rounds import machine

PARTS = ("packets", "programming", "cut")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100, help="of bursts over all rulesets")
    parser.add_argument("--runs", type=int, default=10, help="of each programming and cut measure")
    parser.add_argument("--sizes", type=size_of, nargs="+", default=SIZES, metavar="PODSxPOLICIES")
    parser.add_argument("--layouts", nargs="+", choices=[each.name for each in LAYOUTS], metavar="NAME")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw cost against size")
    parser.add_argument(
        "--from", type=Path, dest="earlier", metavar="FILE", help="show the JSON of an earlier run"
    )
    parser.add_argument("--check", action="store_true", help="compare with the aims")
    return parser.parse_args()


def packets(chosen: argparse.Namespace) -> tuple[dict[str, float], tuple[Cost, ...], tuple[LeftOut, ...]]:
    wanted = [each for each in LAYOUTS if chosen.layouts is None or each.name in (NONE, *chosen.layouts)]
    left_out = [missing(layout) for layout in wanted if layout.missing]
    rigs, failed = load(chosen.sizes, [layout for layout in wanted if not layout.missing])
    try:
        samples = measure(rigs, chosen.rounds)
    finally:
        for rig in rigs:
            rig.close()
    return bases(samples), tuple(costs(samples)), (*left_out, *failed)


def missing(layout: Layout) -> LeftOut:
    reason = f"{' and '.join(layout.missing)} not installed (Debian packages iptables, ipset)"
    note(f"left out: {layout.name}: {reason}")
    return LeftOut(None, layout.name, reason)


def run(chosen: argparse.Namespace) -> Results:
    base, cost, left_out = packets(chosen) if "packets" in chosen.parts else ({}, (), ())
    figures: tuple[Programming, ...] = ()
    if "programming" in chosen.parts:
        figures = tuple(programming.apart(each, chosen.runs) for each in chosen.sizes)
    ends = (min(chosen.sizes), max(chosen.sizes))
    cut = tuple(cuts(tuple(dict.fromkeys(ends)), chosen.runs)) if "cut" in chosen.parts else ()
    return Results(
        machine=machine(),
        rounds=chosen.rounds,
        burst=BURST,
        bases=base,
        costs=cost,
        left_out=left_out,
        programming=figures,
        cuts=cut,
    )


def main() -> int:
    chosen = options()
    if chosen.earlier:
        results = msgspec.json.decode(chosen.earlier.read_bytes(), type=Results)
    else:
        absent = [program for program in ("ip", "nft") if shutil.which(program) is None]
        if os.geteuid() != 0 or absent:
            note(f"needs root{''.join(f', {each}' for each in absent)}")
            return 2
        results = run(chosen)
    if chosen.svg:
        chosen.svg.write_text(plot(results))
    if chosen.output == "json":
        sys.stdout.buffer.write(msgspec.json.encode(results) + b"\n")
    else:
        print("\n".join(tables(results)))
    return check(results) if chosen.check else 0


def check(results: Results) -> int:
    """On stderr, so that JSON stays JSON."""
    found = list(checks(results))
    for each in found:
        word = {True: "pass", False: "FAIL", None: "none"}[each.ok]
        note(f"{word}  {each.aim}: {each.found}")
    return int(any(each.ok is False for each in found))


if __name__ == "__main__":
    sys.exit(main())
