"""The HTTP side of the agent, over a Unix socket and a port."""

from __future__ import annotations

import stat

import aiohttp
import pytest

from stockade.agent.health import ListenError, serve
from stockade.agent.metrics import Health


async def fetch(path, url):
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://a{url}") as answer:
        return answer.status, await answer.text()


async def test_probes_and_metrics(tmp_path):
    state = Health(ready_problem="waiting for the first list of pods")
    path = tmp_path / "health"
    async with serve(str(path), lambda: state, lambda: b"stockade_up 1\n"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await fetch(path, "/healthz") == (200, "ok\n")
        assert await fetch(path, "/readyz") == (503, "waiting for the first list of pods\n")
        assert await fetch(path, "/metrics") == (200, "stockade_up 1\n")
        state = Health()
        assert await fetch(path, "/readyz") == (200, "ok\n")


@pytest.mark.parametrize("where", ["nonsense", "127.0.0.1:http", "/nowhere/at/all"])
async def test_where_it_cannot_listen(where):
    with pytest.raises(ListenError, match=r"neither|cannot serve"):
        async with serve(where, Health, lambda: b""):
            pass
