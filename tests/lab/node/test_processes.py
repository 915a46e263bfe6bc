"""A node's processes stand still together, and go on as they were."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.lab.node.processes import NodeProcesses
from stockade.lab.node.spawner import Command, Process, Streams


class FakeSpawner:
    """Of processes that are there already."""

    def __init__(self) -> None:
        self.pid = -1
        self.killed: list[tuple[int, int]] = []
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def spawn_plain(self, _command, _streams, *, netns: int) -> Process:
        await asyncio.sleep(0)
        return Process(self.pid, self.ended, None, self)

    def kill(self, pid: int, number: int, *, group: bool = False) -> None:
        self.killed.append((pid, number))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def becomes(pid: int, wanted: str) -> bool:
    deadline = time.monotonic() + 5
    while state(pid) not in wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


async def started(pid: int) -> tuple[NodeProcesses, FakeSpawner, Process]:
    spawner = FakeSpawner()
    spawner.pid = pid
    node = NodeProcesses(spawner)  # type: ignore[arg-type]
    return node, spawner, await node.spawn_plain(Command(argv=["x"], env={}), Streams(), netns=-1)


async def test_what_runs_stops_and_goes_on(sleeper) -> None:
    node, _, _ = await started(sleeper.pid)
    assert becomes(sleeper.pid, "S")
    node.freeze()
    assert becomes(sleeper.pid, "T")
    node.freeze()
    node.thaw()
    assert becomes(sleeper.pid, "S")


async def test_what_was_stopped_before_stays_stopped(sleeper) -> None:
    node, _, _ = await started(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert becomes(sleeper.pid, "T")
    node.freeze()
    node.thaw()
    await asyncio.sleep(0.05)
    assert state(sleeper.pid) == "T"


async def test_signals_and_starts_wait(sleeper) -> None:
    node, spawner, process = await started(sleeper.pid)
    node.freeze()
    process.kill(signal.SIGTERM)
    starting = asyncio.create_task(node.spawn_plain(Command(argv=["y"], env={}), Streams(), netns=-1))
    await asyncio.sleep(0.02)
    assert spawner.killed == []
    assert not starting.done()
    node.thaw()
    await asyncio.wait_for(starting, 5)
    assert spawner.killed == [(sleeper.pid, signal.SIGTERM)]


async def test_a_signal_for_what_has_ended_is_forgotten(sleeper) -> None:
    node, spawner, process = await started(sleeper.pid)
    node.freeze()
    process.kill(signal.SIGTERM)
    spawner.ended.set_result(0)
    await asyncio.sleep(0.01)
    node.release()
    assert spawner.killed == []


async def test_paused_while_it_started(sleeper) -> None:
    spawner = FakeSpawner()
    spawner.pid = sleeper.pid
    node = NodeProcesses(spawner)  # type: ignore[arg-type]
    starting = asyncio.create_task(node.spawn_plain(Command(argv=["x"], env={}), Streams(), netns=-1))
    await asyncio.sleep(0)
    node.freeze()
    await starting
    assert becomes(sleeper.pid, "T")
