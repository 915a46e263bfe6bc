"""The annotations of a Node cut and heal its link, pause and resume it, once each and in order."""

from __future__ import annotations

import asyncio

from stockade.lab.partition import CUT, LINK, PAUSED, STATE, Partition, cut_text, is_paused
from stockade.testing.registry import MemoryRegistry


class FakeNode:
    netns = -1

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[str] = []
        self.broken = False

    async def cut(self) -> None:
        if self.broken:
            raise OSError(1, "refused")
        self.calls.append("cut")

    async def heal(self) -> None:
        self.calls.append("heal")

    async def pause(self) -> None:
        self.calls.append("pause")

    async def resume(self) -> None:
        self.calls.append("resume")


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


async def test_it_follows_the_annotation() -> None:
    registry, healed = MemoryRegistry(), []
    nodes = [FakeNode("a"), FakeNode("b")]
    for node in nodes:
        registry.create("nodes", "", {"metadata": {"name": node.name}})
    running = asyncio.create_task(Partition(registry, nodes, lambda node: healed.append(node.name)).run())

    def annotate(name: str, value: str | None) -> None:
        registry.mutate("nodes", "", name, lambda o: o["metadata"].update(annotations={LINK: value}))

    annotate("a", CUT)
    await until(lambda: nodes[0].calls == ["cut"])
    registry.mutate("nodes", "", "a", lambda o: o["metadata"].update(labels={"x": "y"}))
    annotate("a", None)
    await until(lambda: healed == ["a"])
    assert nodes[0].calls == ["cut", "heal"]
    assert nodes[1].calls == []
    nodes[1].broken = True
    annotate("b", CUT)
    await until(lambda: not registry._watchers[0][2].qsize())
    nodes[1].broken = False
    registry.mutate(
        "nodes", "", "b", lambda o: o["metadata"].update(labels={"x": "y"})
    )  # any change: once more
    await until(lambda: nodes[1].calls == ["cut"])
    running.cancel()


def test_a_cut_is_silent_and_concerns_the_link_and_the_api_alone() -> None:
    text = cut_text("outside0", 6443)
    rules = [line.strip() for line in text.splitlines() if line.strip().endswith("drop")]
    assert rules == [
        'iifname "outside0" drop',
        'iifname "lo" tcp dport 6443 drop',
        'iifname "lo" tcp sport 6443 drop',
        'oifname "outside0" drop',
    ]


async def test_a_node_is_paused_before_it_is_cut_and_goes_on_after_it_is_healed() -> None:
    registry, node = MemoryRegistry(), FakeNode("a")
    registry.create("nodes", "", {"metadata": {"name": "a", "annotations": {STATE: PAUSED, LINK: CUT}}})
    assert is_paused(registry.get("nodes", "", "a"))
    running = asyncio.create_task(Partition(registry, [node], lambda _: node.calls.append("healed")).run())
    await until(lambda: node.calls == ["pause", "cut"])
    registry.mutate("nodes", "", "a", lambda o: o["metadata"].update(annotations={}))
    await until(lambda: node.calls[2:] == ["heal", "healed", "resume"])
    running.cancel()
