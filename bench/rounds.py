"""What the benchmarks share: their options, the description of the machine, and the table of medians.

In: a function that measures so many rounds, and the aims. Out: text or JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

Round = dict[str, float]


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.split(":")[1].strip() for line in lines if "model name" in line)
    return f"{os.cpu_count()} x {next(models, platform.machine())}, Linux {platform.release()}, Python {platform.python_version()}"


def report(
    doc: str | None, runs: int, measure: Callable[[int], list[Round]], aims: Mapping[str, str]
) -> None:
    """``runs`` is the default of --runs; ``aims`` (``<= NUMBER``) are shown beside the medians they belong to."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a median misses its aim")
    options = parser.parse_args()
    rounds = measure(options.runs)
    medians = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    missed = [key for key, aim in aims.items() if key in medians and not _meets(medians[key], aim)]
    if options.output == "json":
        found = {"machine": machine(), "runs": options.runs, "medians": medians, "missed": missed}
        print(json.dumps({**found, "rounds": rounds}))
    else:
        print(f"{machine()}; medians of {options.runs} runs")
        for key in medians:
            print(_line(key, rounds, aims.get(key, ""), missed=key in missed))
    if options.check and missed:
        sys.exit(1)


def _meets(value: float, aim: str) -> bool:
    sign, _, number = aim.partition(" ")
    assert sign == "<=", aim
    return value <= float(number)


def _line(key: str, rounds: list[Round], aim: str, *, missed: bool) -> str:
    spread = sorted(each[key] for each in rounds)
    value = statistics.median(spread)
    digits = 0 if value > 1000 else 2
    numbers = f"{value:10.{digits}f}   min {spread[0]:.{digits}f}  max {spread[-1]:.{digits}f}"
    told = f"   (aim {aim}{': MISSED' if missed else ''})" if aim else ""
    return f"  {key:<36}{numbers}{told}"
