"""Rulesets side by side: every layout at every size loaded at once, bursts of packets going round.

In: sizes, layouts, how many rounds. Out: samples for ``results``, and what could not be loaded. Called by ``dataplane``.

One after another, the same measure drifts by more than what is to be told apart. So in each round every ruleset of a size takes one burst
of each kind, in random order, "no rules" among them; only differences within a round are used. A round is, for each size: empty all connection
tables (not timed), first packets, the same packets again, replies (not timed), packets of answered connections in both directions, thrice.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence

import msgspec

from cluster import Flow, Size, World, flows, world
from layouts import Layout
from layouts.names import NONE
from packets import Burst, Conntrack, LostError, Sender, first_frames, reply_frames
from results import Key, Kind, LeftOut, name
from stockade.dataplane.programmer import ProgrammingError
from triples import CommandError, Triple

BURST, BURSTS = 320, 16
_KNOWN_REPEATS = 3


class Shot(msgspec.Struct, frozen=True):
    """The same flows, both ways."""

    first: Burst
    reply: Burst


class Rig:
    """One layout in a triple of its own."""

    def __init__(self, layout: Layout, made: World) -> None:
        self.layout = layout
        self.size = made.size
        self._triple = Triple()
        self._end: Callable[[], None] = lambda: None
        try:
            self._end = layout.load(self._triple.router, made)
            self._out = Sender(self._triple.client, self._triple.server)
            self._back = Sender(self._triple.server, self._triple.client)
            self._conntrack = Conntrack(self._triple.router)
        except BaseException:
            self._end()
            self._triple.close()
            raise

    def reset(self) -> None:
        self._conntrack.flush()

    def first(self, shot: Shot) -> float:
        """ns per packet."""
        return self._out.timed(shot.first) / shot.first.count

    def answer(self, shot: Shot) -> float:
        return self._back.timed(shot.reply) / shot.reply.count

    def known(self, shot: Shot) -> float:
        """The median of both directions, thrice: one burst in six is held up by something that is no rule."""
        return statistics.median(
            both(shot) for _ in range(_KNOWN_REPEATS) for both in (self.first, self.answer)
        )

    def close(self) -> None:
        for each in (self._out, self._back, self._conntrack, self._triple):
            each.close()
        self._end()


def load(sizes: Iterable[Size], layouts: Sequence[Layout]) -> tuple[list[Rig], list[LeftOut]]:
    """What cannot be loaded is left out and named; but without "no rules" there is nothing to compare with."""
    rigs, left_out = [], []
    for size in sizes:
        made = world(size)
        for layout in layouts:
            try:
                rig = Rig(layout, made)
            except (CommandError, ProgrammingError, OSError) as error:
                if layout.name == NONE:
                    raise
                left_out.append(LeftOut(size, layout.name, str(error)))
                continue
            try:
                _try(rig, made)
            except LostError as error:
                left_out.append(LeftOut(size, layout.name, str(error)))
                rig.close()
                continue
            rigs.append(rig)
            note(f"loaded: {layout.name} at {name(size)}")
    return rigs, left_out


def _try(rig: Rig, made: World) -> None:
    """Once through, so that a ruleset that loses packets of allowed flows is not measured."""
    shot = _shot(flows(made, BURST, seed=3))
    rig.first(shot)
    rig.answer(shot)
    rig.known(shot)


def measure(rigs: Sequence[Rig], rounds: int, seed: int = 4) -> dict[Key, list[float]]:
    rng = random.Random(seed)
    by_size: dict[Size, list[Rig]] = {}
    for rig in rigs:
        by_size.setdefault(rig.size, []).append(rig)
    shots = {size: _shots(size) for size in by_size}
    samples: dict[Key, list[float]] = {(r.size, r.layout.name, kind): [] for r in rigs for kind in Kind}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    gc.collect()
    gc.disable()
    for number in range(rounds):
        for size in rng.sample(list(by_size), len(by_size)):
            shot = shots[size][number % BURSTS]
            for rig, kind, taken in _round(by_size[size], shot, rng):
                samples[size, rig.layout.name, kind].append(taken)
        if (number + 1) % 10 == 0:
            note(f"round {number + 1} of {rounds}")
    gc.enable()
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return samples


def _round(rigs: list[Rig], shot: Shot, rng: random.Random) -> list[tuple[Rig, Kind, float]]:
    for rig in rigs:
        rig.reset()
    taken = [(rig, Kind.NEW, rig.first(shot)) for rig in rng.sample(rigs, len(rigs))]
    taken += [(rig, Kind.EVAL, rig.first(shot)) for rig in rng.sample(rigs, len(rigs))]
    for rig in rigs:
        rig.answer(shot)
    taken += [(rig, Kind.KNOWN, rig.known(shot)) for rig in rng.sample(rigs, len(rigs))]
    return taken


def _shots(size: Size) -> list[Shot]:
    picked = flows(world(size), BURST * BURSTS)
    return [_shot(picked[start : start + BURST]) for start in range(0, len(picked), BURST)]


def _shot(picked: Sequence[Flow]) -> Shot:
    return Shot(first_frames(picked), reply_frames(picked))


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
