"""Running a command over a WebSocket, and what is concluded from what it says."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest
from aiohttp import web

from stockade.kube import probe as module
from stockade.kube.errors import KubeError
from stockade.kube.exec import PROTOCOL, Executed, execute
from stockade.kube.probe import ALLOWED, DENIED, UNKNOWN, conclude, probe
from stockade.model.meta import ObjectRef
from stockade.testing.kube_api import serving

POD = ObjectRef("shop", "a")


def exited(code: int) -> bytes:
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return b"\x03" + json.dumps({"status": "Failure", "details": {"causes": causes}}).encode()


OK = b'\x03{"status":"Success"}'


class Kubelet:
    """Answers an exec with fixed messages."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = messages
        self.query: list[tuple[str, str]] = []
        self.path = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.path, self.query = request.path, list(request.query.items())
        socket_ = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket_.prepare(request)
        for message in self.messages:
            await socket_.send_bytes(message)
        await socket_.close()
        return socket_


async def run(*messages: bytes) -> Executed:
    async with serving(Kubelet(*messages).handle) as client:
        return await execute(client, POD, "main", ["true"], seconds=5)


async def test_what_is_asked():
    kubelet = Kubelet(OK)
    async with serving(kubelet.handle) as client:
        await execute(client, POD, "main", ["sh", "-c", "a b"], seconds=5)
    assert kubelet.path == "/api/v1/namespaces/shop/pods/a/exec"
    assert kubelet.query == [
        ("container", "main"),
        ("stdout", "true"),
        ("stderr", "true"),
        ("command", "sh"),
        ("command", "-c"),
        ("command", "a b"),
    ]


async def test_output_and_exit_code():
    assert await run(b"\x01", b"\x01out ", b"\x02err", OK) == Executed(0, "out err")
    assert await run(b"\x02no", exited(3)) == Executed(3, "no")


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ((), "ended before the command did"),
        ((b'\x03{"status":"Failure","message":"no such container"}',), "no such container"),
        ((b"\x03nonsense",), "cannot be read"),
    ],
)
async def test_what_goes_wrong(messages, text):
    with pytest.raises(KubeError, match=text):
        await run(*messages)


async def test_a_refused_handshake_is_an_error_and_no_observation():
    async def forbidden(_: web.Request) -> web.Response:
        return web.json_response({"message": "no"}, status=403)

    async with serving(forbidden) as client:
        with pytest.raises(KubeError) as caught:
            await execute(client, POD, "main", ["true"], seconds=5)
        assert caught.value.code == 403
        found = await probe(client, POD, "main", "10.0.0.1", 80)
    assert found.observed == UNKNOWN
    assert "no program can be run in pod shop/a" in found.seen


async def test_who_never_answers_did_not_let_it_through(monkeypatch):
    monkeypatch.setattr(module, "WHOLE_SECONDS", 0.05)

    async def silent(request: web.Request) -> web.StreamResponse:
        socket_ = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket_.prepare(request)
        await socket_.receive()
        return socket_

    async with serving(silent) as client:
        assert (await probe(client, POD, "main", "10.0.0.1", 80)).observed == DENIED


@pytest.mark.parametrize(
    ("code", "output", "observed"),
    [
        (0, "", ALLOWED),
        (1, "nc: can't connect to remote host (10.0.0.1): Connection refused", ALLOWED),
        (1, "nc: timed out", DENIED),
        (1, "nc: bad address 'web'", DENIED),
        (1, "[Errno -3] Temporary failure in name resolution", DENIED),
        (1, 'nc: getaddrinfo for host "web" port 80: Name or service not known', DENIED),
        (1, "nc: connect to 10.0.0.1 port 80 (tcp) timed out: Operation now in progress", DENIED),
        (124, "timed out", DENIED),
        (97, "", UNKNOWN),
        (127, "sh: not found", UNKNOWN),
        (1, "", UNKNOWN),
        # The list of options of an nc that does not know ours speaks of timeouts, too.
        (1, "Usage: nc [OPTIONS] HOST PORT -w SEC Connect timeout", UNKNOWN),
    ],
)
def test_conclusions(code, output, observed):
    assert conclude(code, output).observed == observed


def script(port: int) -> module.Probe:
    """The script itself, with whatever this machine has."""
    command = ["/bin/sh", "-c", module._SCRIPT, "probe", "127.0.0.1", str(port), "2"]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return conclude(done.returncode, done.stdout)


def test_the_script_connects_and_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert script(port) == module.Probe(ALLOWED, "connected")
    assert "refused" in script(port).seen
