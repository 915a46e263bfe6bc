"""The loop that all controllers share."""

from __future__ import annotations

import asyncio
import contextlib

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
