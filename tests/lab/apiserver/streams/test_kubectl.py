"""Real kubectl against the streaming endpoints, over both transports it knows."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import termios

import pytest

from .conftest import KUBECTL, pod, until

pytestmark = pytest.mark.lab

TRANSPORTS = {"websocket": "true", "spdy": "false"}


@pytest.fixture(params=TRANSPORTS)
async def kubectl(request, cluster, tmp_path):
    use = TRANSPORTS[request.param]
    env = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": use,
        "KUBECTL_PORT_FORWARD_WEBSOCKETS": use,
    }
    pipe = asyncio.subprocess.PIPE

    async def start(*args, **more):
        streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe, **more}
        return await asyncio.create_subprocess_exec(
            KUBECTL, f"--server={cluster.url}", *args, env=env, **streams
        )

    async def run(*args, stdin=b""):
        process = await start(*args)
        out, err = await asyncio.wait_for(process.communicate(stdin), 30)
        return process.returncode, out, err

    run.start = start
    return run


@pytest.fixture
async def web(cluster):
    return await cluster.add(pod("web", "web", running=["web"]), "sleep", "600")


async def test_exec_passes_output_and_exit_code(kubectl, web):
    code, out, err = await kubectl("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (code, out) == (3, b"out\n")
    assert err == b"err\ncommand terminated with exit code 3\n"


async def test_exec_passes_stdin_and_its_end(kubectl, web):
    sent = os.urandom(300_000)
    code, out, _ = await kubectl("exec", "-i", "web", "--", "cat", stdin=sent)
    assert code == 0
    assert out == sent


async def test_exec_of_what_does_not_exist(kubectl, web):
    code, _, err = await kubectl("exec", "web", "--", "nosuch")
    assert code == 1
    assert b'exec: "nosuch": No such file or directory' in err


async def test_exec_ends_although_a_child_keeps_the_pipe(kubectl, web):
    code, out, _ = await kubectl("exec", "web", "--", "sh", "-c", "sleep 60 & echo done")
    assert (code, out) == (0, b"done\n")


async def test_exec_into_a_container_that_does_not_run(cluster, kubectl):
    await cluster.add(pod("two", "a", "b"), "true")
    code, _, err = await kubectl("exec", "two", "-c", "b", "--", "true")
    assert (code, err) == (1, b'error: unable to upgrade connection: container not found ("b")\n')


async def test_a_client_that_goes_takes_its_process_along(cluster, kubectl, web):
    client = await kubectl.start("exec", "web", "--", "sleep", "600")
    async with asyncio.timeout(20):
        await until(lambda: cluster.runtime.sessions)
        client.kill()
        await client.wait()
        assert await cluster.runtime.sessions[0].wait() == 137
        await until(lambda: cluster.runtime.sessions[0].closed)


async def test_the_end_of_the_server_ends_its_sessions(cluster, kubectl, web):
    client = await kubectl.start("exec", "web", "--", "sleep", "600")
    async with asyncio.timeout(20):
        await until(lambda: cluster.runtime.sessions)
        await cluster.shut_down()
        assert cluster.runtime.sessions[0].closed
        await client.wait()


async def test_a_terminal_has_the_size_of_the_clients(kubectl, web):
    terminal, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    command = (
        "while [ \"$(stty size)\" = '0 0' ]; do sleep 0.05; done; tty; stty size; read x; echo got $x; exit 4"
    )
    client = await kubectl.start(
        "exec", "-it", "web", "--", "sh", "-c", command, stdin=other, stdout=other, stderr=other
    )
    os.close(other)
    loop, seen = asyncio.get_running_loop(), b""
    async with asyncio.timeout(20):
        while b"33 111" not in seen:
            seen += await loop.run_in_executor(None, os.read, terminal, 4096)
        os.write(terminal, b"it\r")
        while b"got it" not in seen:
            seen += await loop.run_in_executor(None, os.read, terminal, 4096)
        assert await client.wait() == 4
    os.close(terminal)
    assert b"/dev/pts/" in seen


async def test_attach_shows_what_comes_and_ends_with_success(cluster, kubectl):
    script = "echo early; read line; echo heard $line; exit 5"
    await cluster.add(pod("job", "job", running=["job"]), "sh", "-c", script, stdin=True)
    cluster.registry.mutate("pods", "default", "job", lambda o: o["spec"]["containers"][0].update(stdin=True))
    code, out, err = await kubectl("attach", "-i", "job", stdin=b"me\n")
    assert code == 0, err
    assert b"heard me\n" in out
    assert b"early" not in out


async def test_port_forward(cluster, kubectl, web):
    payload = os.urandom(400_000)

    async def echo(reader, writer):
        writer.write(await reader.read())
        writer.write(payload)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    inside = server.sockets[0].getsockname()[1]
    client = await kubectl.start("port-forward", "pod/web", f":{inside}", "--address=127.0.0.1")
    async with asyncio.timeout(20):
        line = await client.stdout.readline()
        local = int(re.search(rb"127.0.0.1:(\d+)", line)[1])
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
            writer.write(b"ping")
            writer.write_eof()
            assert await reader.read() == b"ping" + payload
            writer.close()
        server.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        assert await reader.read() == b""
        writer.close()
        message = await client.stderr.readline()
    assert b"error forwarding port" in message
    assert b"connection refused" in message
    if client.returncode is None:
        client.kill()
    await client.wait()


async def test_logs(cluster, kubectl):
    script = "echo one; echo two; sleep 0.3; echo three"
    await cluster.add(pod("job", "job", running=["job"]), "sh", "-c", script)
    code, out, err = await kubectl("logs", "-f", "job")
    assert (code, out) == (0, b"one\ntwo\nthree\n"), err
    assert (await kubectl("logs", "--tail=1", "job"))[1] == b"three\n"
