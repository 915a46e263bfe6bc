"""A mirror of certain objects alone: what does not matter changes nothing."""

from __future__ import annotations

import asyncio

from stockade.lab.mirror import Mirror
from stockade.testing.registry import MemoryRegistry


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_only_what_is_kept_is_there_and_wakes() -> None:
    registry = MemoryRegistry()
    registry.create("pods", "default", {"metadata": {"name": "dull"}})
    registry.create("pods", "default", {"metadata": {"name": "old"}, "kept": True})
    mirror = Mirror(registry, ("pods",), {"pods": lambda obj: bool(obj.get("kept"))})
    names = lambda: sorted(obj["metadata"]["name"] for obj in mirror.objects("pods"))  # noqa: E731
    running = asyncio.create_task(mirror.run())
    await settle()
    assert names() == ["old"]
    mirror.changed.clear()
    registry.create("pods", "default", {"metadata": {"name": "duller"}})
    registry.remove("pods", "default", "dull")
    await settle()
    assert not mirror.changed.is_set()
    registry.mutate("pods", "default", "duller", lambda obj: obj.update(kept=True))
    await settle()
    assert mirror.changed.is_set()
    assert names() == ["duller", "old"]
    mirror.changed.clear()
    registry.mutate("pods", "default", "old", lambda obj: obj.update(kept=False))
    await settle()
    assert mirror.changed.is_set()
    assert names() == ["duller"]
    running.cancel()
