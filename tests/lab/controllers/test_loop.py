"""The loop that all controllers share."""

from __future__ import annotations

import asyncio
import contextlib
import time

from stockade.lab.controllers.loop import itself, run_loop
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.testing.registry import MemoryRegistry


async def test_an_object_that_cannot_be_read_stops_nobody():
    registry, seen, done = MemoryRegistry(), [], asyncio.Event()

    def keys(change):
        if change.object["metadata"]["name"] == "odd":
            raise KeyError("uid")
        return itself(change)

    def reconcile(key):
        seen.append(key[1])
        if key[1] == "last":
            done.set()

    loop = asyncio.create_task(run_loop(registry, WorkQueue(), {"configmaps": keys}, reconcile))
    registry.create("namespaces", "", {"metadata": {"name": "default"}})
    for name in ("odd", "first", "last"):
        registry.create("configmaps", "default", {"metadata": {"name": name}})
    async with asyncio.timeout(5):
        await done.wait()
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
    assert seen == ["first", "last"]


async def test_what_takes_long_is_looked_at_less_often():
    """Every write of a burst is heard, but not each by itself."""
    registry, looks, writes, done = MemoryRegistry(), [], 50, asyncio.Event()
    registry.create("namespaces", "", {"metadata": {"name": "default"}})
    registry.create("configmaps", "default", {"metadata": {"name": "large"}, "data": {}})

    def reconcile(key):
        end = time.thread_time() + 0.003
        while time.thread_time() < end:
            pass
        looks.append(registry.get("configmaps", *key)["data"].get("n"))
        if looks[-1] == writes:
            done.set()

    loop = asyncio.create_task(run_loop(registry, WorkQueue(), {"configmaps": itself}, reconcile))
    async with asyncio.timeout(10):
        for number in range(1, writes + 1):
            registry.mutate("configmaps", "default", "large", lambda obj, n=number: obj["data"].update(n=n))
            await asyncio.sleep(0.001)
        await done.wait()
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
    assert len(looks) < writes / 2
