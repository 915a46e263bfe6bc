"""The long comparison of the engine with its oracle: ``python -m stockade.testing.longrun --flows 1000000``.

Random worlds are drawn by hypothesis in batches (each with a seed of its own, printed, so that a batch can be repeated), one hundred
random flows are asked in each, in one of the two readings of ipBlock, and ``policy.evaluate`` must agree with ``policy.reference``.
Output: progress on stderr; then how many worlds of 10 000 had each feature, and how many flows of 10 000 met each outcome; and, on a
disagreement, the smallest world that still shows it. Exit status 1 on a disagreement or a feature that was never met.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.store.state import ClusterState
from stockade.testing.disagreement import disagreements, smallest, still_differs, written
from stockade.testing.features import FLOW_FEATURES, WORLD_FEATURES, of_flow, of_world
from stockade.testing.sampling import sample
from stockade.testing.strategies import worlds

BATCH = 200  # worlds; hypothesis remembers what it drew, so a batch bounds its memory
COUNTED = 10  # flows per world whose outcome is counted; counting costs more than asking


class Result(msgspec.Struct):
    """What one batch saw."""

    worlds: int = 0
    flows: int = 0
    world_features: Counter[str] = msgspec.field(default_factory=Counter)
    flow_features: Counter[str] = msgspec.field(default_factory=Counter)
    counted: int = 0
    disagreements: list[str] = msgspec.field(default_factory=list)

    def add(self, other: Result) -> None:
        self.worlds += other.worlds
        self.flows += other.flows
        self.world_features += other.world_features
        self.flow_features += other.flow_features
        self.counted += other.counted
        self.disagreements += other.disagreements


def batch(number: int, *, size: int = BATCH, flows: int = 100) -> Result:
    """``size`` worlds with ``flows`` questions each; the same number draws the same ones (with the same hypothesis)."""
    result = Result()

    @seed(number)
    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds(), st.integers(0, 2**32), st.booleans())
    def ask(state: ClusterState, luck: int, blocks_match_pods: bool) -> None:
        _ask(result, state, Random(luck), flows, blocks_match_pods=blocks_match_pods)  # noqa: S311 - no secret

    ask()
    return result


def _ask(result: Result, state: ClusterState, random: Random, count: int, *, blocks_match_pods: bool) -> None:
    asked = sample(state, random, count)
    result.worlds += 1
    result.flows += count
    result.world_features.update(of_world(state))
    compiled = compile_state(state)
    for flow in asked[:COUNTED]:
        result.flow_features.update(of_flow(state, evaluate(compiled, flow, misses=False)))
    result.counted += min(count, COUNTED)
    for flow in disagreements(state, asked, blocks_match_pods=blocks_match_pods):
        world = smallest(state, still_differs(flow, blocks_match_pods=blocks_match_pods))
        text = f"blocks_match_pods={blocks_match_pods}\n{flow}\n{written(world)}"
        result.disagreements.append(text)


def table(result: Result) -> Iterator[str]:
    """Lines for people; a feature that was never met says so."""
    yield f"{result.flows} flows in {result.worlds} worlds, {len(result.disagreements)} disagreements"
    yield "worlds of 10 000 with"
    for name in WORLD_FEATURES:
        yield _line(name, result.world_features[name], result.worlds)
    yield f"flows of 10 000 that are (counted on {result.counted})"
    for name in FLOW_FEATURES:
        yield _line(name, result.flow_features[name], result.counted)


def _line(name: str, seen: int, total: int) -> str:
    return f"  {name:<46}{10_000 * seen / max(total, 1):8.0f}{'' if seen else '   NEVER'}"


def never_met(result: Result) -> list[str]:
    return [name for name in WORLD_FEATURES if not result.world_features[name]] + [
        name for name in FLOW_FEATURES if not result.flow_features[name]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flows", type=int, default=1_000_000, help="at least so many questions")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="or stop after so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--first", type=int, default=0, help="number (and seed) of the first batch")
    options = parser.parse_args()
    started = time.monotonic()
    result = Result()
    size = min(BATCH, max(1, options.flows // 100))
    numbers = range(options.first, options.first + -(-options.flows // (100 * size)))
    with ProcessPoolExecutor(options.jobs) as pool:
        for done in pool.map(partial(batch, size=size), numbers):
            result.add(done)
            elapsed = time.monotonic() - started
            sys.stderr.write(f"\r{result.flows} flows, {elapsed:.0f} s, {len(result.disagreements)} differ ")
            if elapsed > options.seconds or result.disagreements:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    sys.stderr.write("\n")
    lines = [*table(result), *result.disagreements[:5]]
    lines += [f"first batch {options.first}, {time.monotonic() - started:.0f} s with {options.jobs} jobs"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if result.disagreements or never_met(result) else 0


if __name__ == "__main__":
    sys.exit(main())
