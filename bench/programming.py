"""How long the table takes to change, and what it weighs: the part of the data plane's benchmark without packets.

    .venv/bin/python bench/programming.py 5000x1000 [--runs 10]        # JSON; ``dataplane`` runs it for every size

In: a size. Out: medians in ms, and megabytes. From the world's change to the kernel's commit, in the process that an agent would be:
  full load     compile, lower, encode and commit where there is no table
  add a pod     one that is running, in a known group, and in five selectors; and gone again
  policy        the port of one rule changed, then changed back: stricter, so the generation changes too
  labels        of 100 pods of other nodes, which come into one selector; and leave it again
  memory        the kernel's (slab, vmalloc and per-CPU areas, by the difference of the first load) and the process's resident one

Each size in a process and a network namespace of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cluster import (
    NODE,
    PEER_SELECTORS,
    SPACE,
    Allow,
    Size,
    World,
    node_view,
    pod,
    policy,
    selector_label,
    size_of,
    state,
    world,
)
from node import Node, encoded
from results import ADD_POD, FULL_LOAD, Programming
from stockade.dataplane.lower import lower
from stockade.lab.node.syscalls import CLONE_NEWNET, unshare
from stockade.model.meta import ObjectRef
from stockade.policy.compile import compile_state
from stockade.store.delta import Delete, Delta, Upsert
from stockade.store.state import PODS, POLICIES

LABELLED = 100
_KERNEL = ("Slab", "VmallocUsed", "Percpu")


async def _load(node: Node) -> dict[str, float]:
    """The whole table, where there is none. The parts that are pure are done once more, apart."""
    await node.stop()
    node.recorder.reset()
    started = time.perf_counter()
    await node.start()
    total = time.perf_counter() - started
    commit = node.recorder.seconds
    parts = {"compile": _timed(lambda: compile_state(node.state))}
    compiled = compile_state(node.state)
    parts["lower"] = _timed(lambda: lower(compiled, node_view()))
    parts["encode"] = _timed(lambda: [encoded(batch) for batch in node.recorder.batches])
    parts["kernel"] = commit - parts["encode"]
    octets = sum(encoded(batch) for batch in node.recorder.batches)
    figures = {f"… {part}": seconds * 1000 for part, seconds in parts.items()}
    return {FULL_LOAD: total * 1000, **figures, "… kB to the kernel": octets / 1000}


async def _change(node: Node, deltas: Sequence[Delta]) -> float:
    """Milliseconds."""
    with _without_pauses():
        started = time.perf_counter()
        await node.change(deltas)
        return (time.perf_counter() - started) * 1000


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def measure(size: Size, runs: int) -> Programming:
    made = world(size)
    node = Node(state(made))
    before = kernel_mb()
    loads = [await _load(node)]
    weight = kernel_mb() - before
    loads += [await _load(node) for _ in range(min(runs, 5) - 1)]
    figures = {title: statistics.median(load[title] for load in loads) for title in loads[0]}
    for titles, deltas in _changes(made):
        taken: dict[str, list[float]] = {title: [] for title in titles}
        for number in range(runs):
            for title, change in zip(titles, deltas(number), strict=True):
                taken[title].append(await _change(node, change))
        figures |= {title: statistics.median(values) for title, values in taken.items()}
    figures["kernel memory, MB"] = weight
    figures["process memory, MB"] = process_mb()
    return Programming(size, figures)


Changes = tuple[tuple[str, str], Callable[[int], tuple[list[Delta], list[Delta]]]]


def _changes(made: World) -> Iterator[Changes]:
    """What is measured, and for each run the deltas there and back."""
    yield (ADD_POD, "remove a pod, ms"), lambda number: _pod(made, number)
    yield ("change a policy, ms", "change it back, ms"), lambda number: _policy(made, number)
    yield (f"label {LABELLED} pods, ms", "take the label away, ms"), lambda number: _labels(made, number)


def _pod(made: World, number: int) -> tuple[list[Delta], list[Delta]]:
    address = made.pods[-1] + 1 + number
    count = len(made.selectors)
    own = {selector_label((number * 7 + index) % count): "yes" for index in range(PEER_SELECTORS)}
    added = pod(f"new-{number}", address, {"group": "0", **own}, NODE)
    return [Upsert(PODS, added)], [Delete(PODS, ObjectRef(SPACE, added.metadata.name))]


def _policy(made: World, number: int) -> tuple[list[Delta], list[Delta]]:
    which = number % len(made.policies)
    old = made.policies[which]
    rules = (Allow(old.rules[0].selector, 1234, 1234), *old.rules[1:])
    name = f"policy-{which}"
    changed, back = (policy(name, old.group, each) for each in (rules, old.rules))
    return [Upsert(POLICIES, changed)], [Upsert(POLICIES, back)]


def _labels(made: World, number: int) -> tuple[list[Delta], list[Delta]]:
    """Of pods that are not in the selector."""
    selector = number % len(made.selectors)
    inside = set(made.selectors[selector])
    chosen = [peer for peer in range(len(made.peers)) if peer not in inside][:LABELLED]
    labels: dict[int, dict[str, str]] = {peer: {} for peer in chosen}
    for index, members in enumerate(made.selectors):
        for peer in labels.keys() & set(members):
            labels[peer][selector_label(index)] = "yes"
    there: list[Delta] = []
    back: list[Delta] = []
    for peer in chosen:
        more = {**labels[peer], selector_label(selector): "yes"}
        for deltas, each in ((there, more), (back, labels[peer])):
            deltas.append(Upsert(PODS, pod(f"peer-{peer}", made.peers[peer], each, "node-2")))
    return there, back


@contextmanager
def _without_pauses() -> Iterator[None]:
    """The collector's own moment is not the change's; it comes afterwards."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def kernel_mb() -> float:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(size) for name, size, *_ in lines if name.rstrip(":") in _KERNEL) / 1024


def process_mb() -> float:
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(line[1]) for line in lines if line[0] == "VmRSS:") / 1024


def apart(size: Size, runs: int) -> Programming:
    """In a fresh process."""
    print("programming at {} x {}".format(*size), file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "{}x{}".format(*size), "--runs", str(runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Programming)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("size", type=size_of, metavar="PODSxPOLICIES")
    parser.add_argument("--runs", type=int, default=10)
    chosen = parser.parse_args()
    unshare(CLONE_NEWNET)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(measure(chosen.size, chosen.runs))) + b"\n")


if __name__ == "__main__":
    main()
