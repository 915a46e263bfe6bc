"""Events in any order, split, batched, repeated; agents replaced; transactions refused or applied without an answer: in the end the kernel
holds, to the last rule and element, what a fresh start would have put there.

The packets meanwhile: test_swaps.py.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
from collections.abc import Iterator
from functools import partial
from random import Random

import pytest

from stockade.dataplane.lower import lower
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.policy.compile import compile_state
from stockade.testing.driven import DrivenNode, Unreliable, backend
from stockade.testing.namespaces import Namespaces, inside, nft
from stockade.testing.placing import random_worlds, steps, views

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

SEQUENCES, WORLDS = 6, 5
VIEW = views()["node-1"]


@pytest.fixture
def spaces(kernel: None) -> Iterator[Namespaces]:
    with Namespaces() as made:
        made.add("driven")
        made.add("fresh")
        yield made


def contents(namespace: str) -> list[str]:
    """Everything in our table, as the kernel tells it; rules with their place in their chain."""
    with inside(namespace):
        done = subprocess.run(
            ["nft", "-j", "--numeric-protocol", "list", "table", "inet", "stockade"],
            capture_output=True,
            check=True,
        )
    places: dict[str, Iterator[int]] = {}
    found = []
    for entry in json.loads(done.stdout)["nftables"][1:]:
        ((kind, body),) = entry.items()
        body.pop("handle")
        if kind == "rule":
            body["place"] = next(places.setdefault(body["chain"], itertools.count()))
        if "elem" in body:
            body["elem"].sort(key=json.dumps)
        found.append(json.dumps({kind: body}, sort_keys=True))
    return sorted(found)


@pytest.mark.parametrize("number", range(SEQUENCES))
def test_every_way_ends_where_a_fresh_start_would(spaces: Namespaces, number: int) -> None:
    random = Random(number)
    faulty: list[Unreliable] = []

    def programmer() -> Unreliable:
        faulty.append(Unreliable(backend(("nft", "netlink")[number % 2]), random, 0.08))
        return faulty[-1]

    node = DrivenNode(spaces.name("driven"), VIEW, programmer, random)
    for state in itertools.islice(random_worlds(number), WORLDS):
        for step in steps(state, random):
            if random.random() < 0.2:
                node.restart()
            node.go_to(step, pieces=random.choice((1, 2, 5, 50)))
    for each in faulty:
        each.share = 0
    node.settle()
    assert sum(each.failures for each in faulty) > 0

    rules = lower(compile_state(step), VIEW)
    with inside(spaces.name("driven")):
        held = asyncio.run(Nft().read())
        assert asyncio.run(Nft().holds(rules, held.generation))
    with inside(spaces.name("fresh")):
        asyncio.run(Dataplane(Nft(), generation=held.generation - 1).apply(rules))
    assert contents(spaces.name("driven")) == contents(spaces.name("fresh"))


def test_the_comparison_sees_one_element(spaces: Namespaces) -> None:
    state = next(random_worlds(0))
    for name in ("driven", "fresh"):
        node = DrivenNode(spaces.name(name), VIEW, partial(backend, "nft"), Random(0))
        node.go_to(state)
    nft(spaces.name("driven"), "add element inet stockade id4 { 10.244.0.250 : 1:1 }\n")
    assert len(set(contents(spaces.name("driven"))) ^ set(contents(spaces.name("fresh")))) >= 2
