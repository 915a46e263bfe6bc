"""Output is always drained, but an onlooker who does not read makes the process wait."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from stockade.lab.node.streams import Input, Output

BLOCK = b"x" * 65536


@pytest.fixture
def pipe():
    read, write = os.pipe()
    os.set_blocking(write, False)
    return read, write


async def push(write: int, blocks: int) -> int:
    """How much of it was taken while everybody had their turn."""
    sent = 0
    for _ in range(20 * blocks):
        with contextlib.suppress(BlockingIOError):
            sent += os.write(write, BLOCK[: blocks * len(BLOCK) - sent])
        if sent == blocks * len(BLOCK):
            break
        await asyncio.sleep(0)
    return sent


async def test_drained_without_onlookers(pipe) -> None:
    read, write = pipe
    seen = []
    Output(read, seen.append)
    assert await push(write, 40) == 40 * len(BLOCK)
    os.close(write)
    await asyncio.sleep(0.01)
    assert sum(map(len, seen)) == 40 * len(BLOCK)


async def test_slow_onlooker_stops_the_writer_until_it_reads(pipe) -> None:
    read, write = pipe
    output = Output(read)
    reader, other = output.subscribe(), output.subscribe()
    sent = await push(write, 40)
    assert sent < 10 * len(BLOCK)
    assert len(await reader.readexactly(sent - 65536)) == sent - 65536
    assert await push(write, 40) < 10 * len(BLOCK)  # the other one still holds it
    output.unsubscribe(other)
    drain = asyncio.create_task(reader.read())
    assert await push(write, 40) == 40 * len(BLOCK)
    os.close(write)
    await asyncio.wait_for(drain, 5)


async def test_finish_delivers_the_rest_and_does_not_wait_for_leftover_writers(pipe) -> None:
    read, write = pipe
    output = Output(read)
    reader = output.subscribe()
    os.write(write, b"last words")
    output.finish()
    assert await reader.read() == b"last words"
    late = output.subscribe()
    assert await late.read() == b""
    os.close(write)


async def test_input_waits_for_room_and_gives_up_on_a_closed_end() -> None:
    read, write = os.pipe()
    stdin = Input(write)
    writing = asyncio.create_task(stdin.write(b"y" * 300_000))
    received = 0
    while received < 300_000:
        await asyncio.sleep(0)
        received += len(await asyncio.to_thread(os.read, read, 65536))
    await asyncio.wait_for(writing, 5)
    blocked = asyncio.create_task(stdin.write(b"z" * 300_000))
    await asyncio.sleep(0.01)
    os.close(read)
    await asyncio.wait_for(blocked, 5)
    stdin.close()
    await stdin.write(b"after the end")
