"""What the benchmarks share: their options, the description of the machine, and the table of medians.

In: a function that measures so many rounds, and the aims. Out: text or JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
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
    """``runs`` is the default of --runs; ``aims`` are shown beside the medians they belong to."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    rounds = measure(options.runs)
    medians = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    if options.output == "json":
        print(json.dumps({"machine": machine(), "runs": options.runs, "medians": medians, "rounds": rounds}))
        return
    print(f"{machine()}; medians of {options.runs} runs")
    for key, value in medians.items():
        spread = sorted(r[key] for r in rounds)
        digits = 0 if value > 1000 else 2
        numbers = f"{value:10.{digits}f}   min {spread[0]:.{digits}f}  max {spread[-1]:.{digits}f}"
        print(f"  {key:<24}{numbers}{f'   (aim {aims[key]})' if key in aims else ''}")
