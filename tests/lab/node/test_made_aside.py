"""What is made in a thread is not lost when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stockade.lab.node.netns import made_aside


async def test_it_is_handed_over():
    unmade: list[str] = []
    assert await made_aside(lambda: "netns", unmade.append) == "netns"
    assert unmade == []


async def test_the_loop_goes_on_and_what_nobody_wants_is_unmade():
    unmade: list[str] = []
    go_on = threading.Event()

    def make() -> str:
        go_on.wait(10)
        return "netns"

    waiting = asyncio.create_task(made_aside(make, unmade.append))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.sleep(0.01)
    assert not waiting.done(), "its address may be given away only when it is gone"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert unmade == ["netns"]


async def test_a_failure_is_told_or_the_cancellation():
    def fail() -> str:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        await made_aside(fail, lambda made: None)
    waiting = asyncio.create_task(made_aside(fail, lambda made: None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
