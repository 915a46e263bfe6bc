"""The gate says yes exactly when the kernel holds the pod at that address."""

from __future__ import annotations

import asyncio
import stat

import pytest

from stockade.agent.gate import GateClient, GateError, GateServer, ProgrammedPod
from stockade.model.meta import ObjectRef

WEB = ObjectRef("default", "web")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
async def server(path):
    server = GateServer(path)
    await server.start()
    yield server
    await server.stop()


def holds(address="10.244.0.5", uid="u1"):
    return {WEB: ProgrammedPod(uid, (address,))}


def ask(path, *, uid="u1", address="10.244.0.5", timeout=5.0):
    return GateClient(path).wait("default", "web", uid, address, timeout)


async def until_waiting(server, count=1):
    async with asyncio.timeout(5):
        while server.waiting != count:  # noqa: ASYNC110 - looks from outside
            await asyncio.sleep(0.005)


async def test_socket_is_private(server, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_yes_at_once_when_programmed(server, path):
    server.publish(holds())
    await ask(path)


async def test_waits_until_published(server, path):
    waiting = asyncio.create_task(ask(path))
    await until_waiting(server)
    assert not waiting.done()
    server.publish(holds())
    await waiting
    assert server.waiting == 0


@pytest.mark.parametrize("held", [holds(address="10.244.0.9"), holds(uid="u0"), {}])
async def test_no_for_another_address_or_a_predecessor(server, path, held):
    server.publish(held)
    with pytest.raises(GateError, match=r"timed out after 0.1s .* default/web \(10.244.0.5\)"):
        await ask(path, timeout=0.1)


async def test_not_running(path):
    with pytest.raises(GateError, match="node agent is not running"):
        await ask(path, timeout=0.05)


async def test_agent_that_starts_later_is_found(path):
    waiting = asyncio.create_task(ask(path))
    await asyncio.sleep(0.05)
    server = GateServer(path)
    server.publish(holds())
    await server.start()
    await waiting
    await server.stop()


async def test_shutdown_is_told(server, path):
    waiting = asyncio.create_task(ask(path))
    await until_waiting(server)
    await server.stop()
    with pytest.raises(GateError, match="shutting down"):
        await waiting
    assert not path.exists()


async def test_second_agent_is_refused(server, path):
    with pytest.raises(GateError, match="another agent"):
        await GateServer(path).start()


async def test_socket_of_a_dead_agent_is_replaced(path):
    dead = GateServer(path)
    await dead.start()
    dead._server.close()  # as after a kill -9: the file stays
    assert path.exists()
    server = GateServer(path)
    await server.start()
    server.publish(holds())
    await ask(path)
    await server.stop()


async def test_client_that_hangs_up_is_forgotten(server, path):
    _, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"namespace":"default","name":"web","uid":"u1","address":"10.244.0.5"}\n')
    await until_waiting(server)
    writer.close()
    await until_waiting(server, 0)


async def test_requests_queue_on_one_connection_and_garbage_is_answered(server, path):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"namespace":"default","name":"web","uid":"u1","address":"10.244.0.5"}\nnonsense\n')
    await until_waiting(server)
    server.publish(holds())
    assert await reader.readline() == b'{"programmed":true}\n'
    assert b"bad request" in await reader.readline()
    writer.close()
