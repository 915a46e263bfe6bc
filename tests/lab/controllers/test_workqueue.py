from __future__ import annotations

import asyncio

from stockade.lab.controllers.workqueue import WorkQueue


async def test_a_key_waits_once_and_in_order():
    queue = WorkQueue()
    for key in "abab":
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    queue.add("a")
    assert await queue.get() == "a"


async def test_get_waits_for_a_key():
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.add("a")
    assert await asyncio.wait_for(waiting, 5) == "a"


async def test_the_earlier_of_two_times_counts():
    queue = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 60)
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    queue.close()


async def test_retries_come_later_each_time_until_forgotten(monkeypatch):
    queue, delays = WorkQueue(), []
    monkeypatch.setattr(queue, "add_after", lambda key, seconds: delays.append(seconds))
    for _ in range(12):
        queue.retry("a")
    assert delays[:3] == [0.01, 0.02, 0.04]
    assert max(delays) == 10.0
    queue.forget("a")
    queue.retry("a")
    assert delays[-1] == 0.01


async def test_what_asks_for_a_resting_key_is_heard_once_it_has_rested():
    queue = WorkQueue()
    queue.rest("a", 0.05)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    before = asyncio.get_running_loop().time()
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    assert asyncio.get_running_loop().time() - before > 0.03
    queue.add("b")
    assert await queue.get() == "b", "a is there once, and not for having rested"
    queue.close()


async def test_a_key_that_nobody_asked_for_stays_away_after_its_rest():
    queue = WorkQueue()
    queue.rest("a", 0.01)
    await asyncio.sleep(0.05)
    queue.add("b")
    assert await queue.get() == "b"
