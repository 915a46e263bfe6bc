"""The programs of the stand-ins, run as in a container: by path, isolated, against each other on the loopback."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.lab.images import builtin
from stockade.lab.images.stand_in import STAND_INS
from stockade.lab.images.standins.agnhost_connect import UsageError, seconds

SCRIPTS = Path(builtin.__file__).with_name("standins")


def command(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-ISE", str(SCRIPTS / f"{script}.py"), *arguments]


def run(script: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(script, *arguments), input=stdin, capture_output=True, text=True, timeout=20, check=False
    )


@contextlib.contextmanager
def running(script: str, *arguments: str, port: int = 0, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Until ``port`` (TCP) takes connections, or, without one, until it said something."""
    with subprocess.Popen(
        command(script, *arguments), stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
    ) as process:
        try:
            if port:
                wait_for(port)
            else:
                assert process.stdout is not None
                process.stdout.readline()
            yield process
        finally:
            process.kill()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing on port {port}")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_every_script_belongs_to_a_stand_in() -> None:
    used = {"wget", "nc"} | {script for item in STAND_INS.values() for script in item.programs.values()}
    assert used == {path.stem for path in SCRIPTS.glob("*.py")} - {"__init__"}


class TestConnect:
    def test_reached_is_silent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            place = f"127.0.0.1:{server.getsockname()[1]}"
            done = run("agnhost_connect", place, "--timeout=1s", "--protocol=tcp")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_first_words(self, port) -> None:
        assert run("agnhost_connect", f"127.0.0.1:{port}").stderr == "REFUSED\n"
        assert run("agnhost_connect", f"127.0.0.1:{port}", "--protocol", "udp").stderr.startswith("REFUSED")
        assert run("agnhost_connect", "no-such-name.invalid:80").stderr.startswith("DNS: ")
        assert run("agnhost_connect", "127.0.0.1").stderr.startswith("DNS: ")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            done = run("agnhost_connect", place, "--timeout=100ms", "--protocol=udp")
        assert (done.returncode, done.stderr[:8]) == (1, "TIMEOUT:")

    def test_tcp_timeout_is_one_word(self) -> None:
        with socket.socket() as full:  # a listener whose queue is full does not answer
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            place = full.getsockname()
            waiting = [socket.socket() for _ in range(4)]
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(place)
            done = run("agnhost_connect", f"127.0.0.1:{place[1]}", "--timeout=200ms")
            for sock in waiting:
                sock.close()
        assert (done.returncode, done.stderr) == (1, "TIMEOUT\n")

    @pytest.mark.parametrize(
        ("text", "value"), [("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("0", 0), ("0s", 0), ("1.5s", 1.5)]
    )
    def test_durations(self, text, value) -> None:
        assert seconds(text) == value

    @pytest.mark.parametrize("text", ["1", "s", "1x", "-1s", "1.2.3s"])
    def test_no_durations(self, text) -> None:
        with pytest.raises(UsageError):
            seconds(text)


class TestServers:
    def test_serve_hostname(self, port) -> None:
        with running("agnhost_serve", "serve-hostname", "--tcp", "--http=false", f"--port={port}", port=port):
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                assert sock.recv(100).decode() == socket.gethostname()
            assert run("agnhost_connect", f"127.0.0.1:{port}").returncode == 0
        with running("agnhost_serve", "serve-hostname", "--udp", "--http=false", f"--port={port}"):
            assert (
                run("agnhost_connect", f"127.0.0.1:{port}", "--protocol=udp", "--timeout=5s").returncode == 0
            )

    def test_netexec(self, port) -> None:
        def get(path: str) -> str:
            return run("wget", "-qO-", f"http://127.0.0.1:{port}{path}").stdout

        arguments = ("netexec", f"--http-port={port}", f"--udp-port={port}")
        with running("agnhost_serve", *arguments, port=port) as process:
            assert get("/hostname") == get("/hostName") == socket.gethostname()
            assert get("/clientip").startswith("127.0.0.1:")
            assert get("/echo?msg=a%20b") == "a b"
            assert get("/").startswith("NOW: ")
            assert json.loads(get("/shell?cmd=echo%20hi")) == {"output": "hi\n"}
            asked = f"/dial?host=127.0.0.1&port={port}&protocol=udp&request=hostname&tries=2"
            assert json.loads(get(asked)) == {"responses": [socket.gethostname()] * 2}
            asked = f"/dial?host=127.0.0.1&port={port}&protocol=http&request=echo?msg=x"
            assert json.loads(get(asked)) == {"responses": ["x"]}
            refused = json.loads(get("/dial?host=127.0.0.1&port=1&protocol=tcp"))
            assert "refused" in refused["errors"][0]
            assert run("wget", "-qO-", f"http://127.0.0.1:{port}/nothing").returncode == 1
            get("/exit?code=3")
            assert process.wait(10) == 3

    def test_porter_lives_without_sctp(self, port) -> None:
        env = {f"SERVE_PORT_{port}": "value", "SERVE_SCTP_PORT_81": "x", "SERVE_PORT_x": "ignored"}
        with running("agnhost_serve", "porter", port=port, **env):
            assert run("wget", "-qO-", f"http://127.0.0.1:{port}/").stdout == "value"

    def test_a_request_that_is_none(self, port) -> None:
        with running("agnhost_serve", "netexec", f"--http-port={port}", "--udp-port=-1", port=port):
            for garbage in (b"x\r\n\r\n", b"\xff\x00\r\n\r\n", b"GET /echo?code=x HTTP/1.1\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port), 5) as sock:
                    sock.sendall(garbage)
                    assert sock.recv(100).startswith(b"HTTP/1.1 ")


class TestNc:
    def test_open_and_refused(self, port) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
            done = run("nc", "-vz", "-w", "2", "127.0.0.1", str(number))
            assert (done.returncode, done.stderr) == (0, f"127.0.0.1 (127.0.0.1:{number}) open\n")
        done = run("nc", "-v", "-w2", "127.0.0.1", str(port))
        assert (done.returncode, done.stderr) == (
            1,
            f"nc: 127.0.0.1 (127.0.0.1:{port}): Connection refused\n",
        )
        assert run("nc", "-w", "2", "127.0.0.1", str(port)).stderr == ""
        assert run("nc", "no-such-name.invalid", "1").stderr == "nc: bad address 'no-such-name.invalid'\n"
        assert run("nc", "127.0.0.1").stderr.startswith("Usage: nc ")

    def test_carries_bytes_both_ways(self, port) -> None:
        listener = subprocess.Popen(
            command("nc", "-l", "-p", str(port)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 10
        while (done := run("nc", "-w", "2", "127.0.0.1", str(port), stdin="hallo")).returncode:
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.05)
        assert listener.communicate(timeout=10)[0] == "hallo"


class TestRedis:
    @pytest.fixture
    def ask(self, port):
        with running("redis_server", "--port", str(port), port=port):
            yield lambda *words, **kw: run("redis_cli", "-p", str(port), *words, **kw)

    def test_commands(self, ask) -> None:
        assert ask("PING").stdout == "PONG\n"
        assert ask("set", "a", "1").stdout == "OK\n"
        assert ask("get", "a").stdout == "1\n"
        assert ask("incr", "a").stdout == "2\n"
        assert ask("set", "a", "x", "nx").stdout == "\n"
        assert ask("del", "a", "b").stdout == "1\n"
        assert ask("get", "a").stdout == "\n"
        assert ask("nonsense").stdout == "ERR unknown command 'nonsense'\n"
        assert ask("get").stdout == "ERR wrong number of arguments for 'get' command\n"
        assert ask(stdin="set k 'a b'\nget k\n").stdout == "OK\na b\n"

    def test_inline_and_protocol_errors(self, ask, port) -> None:
        for sent, answer in (
            (b"PING\r\nQUIT\r\n", b"+PONG\r\n+OK\r\n"),
            (b"\r\nECHO x\r\nQUIT\r\n", b"$1\r\nx\r\n+OK\r\n"),
            (b"*1\r\n$99999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
            (b"*99999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        ):
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(sent)
                assert b"".join(iter(lambda: sock.recv(1000), b"")) == answer
        assert ask("PING").stdout == "PONG\n"

    def test_nobody_there(self, port) -> None:
        done = run("redis_cli", "-h", "127.0.0.1", "-p", str(port), "ping")
        assert done.returncode == 1
        assert done.stderr == f"Could not connect to Redis at 127.0.0.1:{port}: Connection refused\n"


class TestSocat:
    def test_echo_server_and_client(self, port) -> None:
        with running("socat", f"TCP-LISTEN:{port},fork,reuseaddr", "EXEC:cat", port=port):
            for text in ("one", "two"):
                assert run("socat", "-", f"TCP:127.0.0.1:{port}", stdin=text).stdout == text

    def test_udp_forwarding(self, port) -> None:
        process = subprocess.Popen(command("socat", f"UDP-LISTEN:{port},fork", "EXEC:cat"))
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0.2)
                deadline = time.monotonic() + 10
                answer = b""
                while not answer and time.monotonic() < deadline:
                    with contextlib.suppress(OSError):
                        sock.sendto(b"hallo", ("127.0.0.1", port))
                        answer = sock.recv(100)
            assert answer == b"hallo"
        finally:
            process.kill()
            process.wait()

    def test_mistakes(self, port) -> None:
        done = run("socat", "-", f"TCP:127.0.0.1:{port}")
        assert (done.returncode, done.stderr) == (
            1,
            f"socat E connect(…, 127.0.0.1:{port}): Connection refused\n",
        )
        assert "unknown device/address" in run("socat", "-", "TUN:x").stderr
        assert "exactly 2 addresses required (there are 1)" in run("socat", "-").stderr
