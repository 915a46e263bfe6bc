"""The HTTP side of the agent, over a Unix socket and a port."""

from __future__ import annotations

import asyncio
import stat

import aiohttp
import msgspec
import pytest

from stockade.agent.health import ListenError, ask, serve
from stockade.agent.metrics import Health
from stockade.agent.status import AgentStatus, Trouble, lines


async def said_metrics():
    return b"stockade_up 1\n"


async def fetch(path, url):
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://a{url}") as answer:
        return answer.status, await answer.text()


async def test_probes_and_metrics(tmp_path):
    state = Health(ready_problem="waiting for the first list of pods")
    path = tmp_path / "health"
    said = AgentStatus(node="n", ready_problem="x", troubles=[Trouble("programming", "no", 1.5, 2)])
    async with serve(str(path), lambda: state, said_metrics, lambda: said):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await fetch(path, "/healthz") == (200, "ok\n")
        assert await fetch(path, "/readyz") == (503, "waiting for the first list of pods\n")
        assert await fetch(path, "/metrics") == (200, "stockade_up 1\n")
        assert await ask(str(path), 5) == said
        state = Health()
        assert await fetch(path, "/readyz") == (200, "ok\n")


@pytest.mark.parametrize("where", ["nonsense", "127.0.0.1:http", "/nowhere/at/all"])
async def test_where_it_cannot_listen(where):
    with pytest.raises(ListenError, match=r"neither|cannot serve"):
        async with serve(where, Health, said_metrics, lambda: AgentStatus(node="n")):
            pass


async def test_who_does_not_answer_says_nothing(tmp_path):
    assert await ask(str(tmp_path / "nobody"), 5) is None
    path = tmp_path / "slow"

    async def never(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(never, path)
    async with server:
        assert await ask(str(path), 0.05) is None
    path = tmp_path / "stranger"

    async def stranger(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(stranger, path):
        assert await ask(str(path), 5) is None


def test_status_for_people():
    calm = AgentStatus(
        node="n", pods=3, world={"networkpolicies": 2}, backend="nft", last_success=100.0, last_seconds=0.0123
    )
    assert lines(calm, 160.0) == {
        "enforcing": "3 pods, 2 policies",
        "programmed": "60 s ago, in 12.3 ms, by nft",
    }
    troubled = lines(msgspec.structs.replace(calm, ready_problem="it fails", failures=4, repairs=1), 160.0)
    assert troubled["enforcing"] == "not up to date: it fails"
    assert troubled["failures"] == "4"
    assert "somebody else" in troubled["repairs"]


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("text")
    with pytest.raises(ListenError, match="something else"):
        async with serve(str(path), Health, said_metrics, lambda: AgentStatus(node="n")):
            pass
    assert path.read_text() == "text"
