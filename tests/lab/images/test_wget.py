"""The stand-in's wget prints what BusyBox prints. Expected texts were taken from BusyBox 1.35 run against the same answers."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.lab.images.standins import wget


class Server:
    """Answers every connection with ``answers`` in turn, and keeps the requests."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                self.requests.append(request.decode())
                connection.sendall(self.answers.pop(0))


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


def page(body: str = "hi\n", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + f"\r\n\r\n{body}").encode()


@pytest.mark.parametrize(
    "timeout", [["--timeout", "1"], ["--timeout=1"], ["-T", "1"], ["-T1"], ["--time", "1"], []]
)
def test_quiet_to_stdout_prints_the_page_alone(server, capfd, timeout) -> None:
    server.answers = [page()]
    assert wget.main(["-qO-", *timeout, f"{server.url}/"]) == 0
    assert capfd.readouterr() == ("hi\n", "")
    assert server.requests[0].startswith("GET / HTTP/1.1\r\nHost: 127.0.0.1")
    assert "User-Agent: Wget\r\n" in server.requests[0]


def test_to_stdout_tells_its_steps(server, capfd, monkeypatch) -> None:
    monkeypatch.setattr(wget, "_columns", lambda: 80)
    server.answers = [page()]
    assert wget.main(["-O-", f"{server.url}/x.txt"]) == 0
    out, err = capfd.readouterr()
    assert out == "hi\n"
    address = f"127.0.0.1:{server.port}"
    bar = "\r-                    100% |********************************|     3  0:00:00 ETA\n"
    assert err == f"Connecting to {address} ({address})\nwriting to stdout\n{bar}written to stdout\n"


def test_port_is_always_shown(monkeypatch, capfd) -> None:
    def refuse(self, address) -> None:
        raise OSError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.96.0.9", 80))],
    )
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert wget.main(["--timeout", "1", "-O-", "http://web"]) == 1
    assert capfd.readouterr().err == (
        "Connecting to web (10.96.0.9:80)\nwget: can't connect to remote host (10.96.0.9): Connection refused\n"
    )


def test_denied_connection_times_out(monkeypatch, capfd) -> None:
    def silent(self, address) -> None:
        assert self.gettimeout() == 1
        raise TimeoutError

    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.96.0.9", 80))],
    )
    monkeypatch.setattr(socket.socket, "connect", silent)
    assert wget.main(["--timeout", "1", "-O-", "http://web"]) == 1
    assert capfd.readouterr().err == "Connecting to web (10.96.0.9:80)\nwget: download timed out\n"


@pytest.mark.parametrize(
    ("url", "shown"), [("http://web:80/", "web:80"), ("http://www.example.com/", "www.example.com")]
)
def test_failed_lookup_shows_the_host_as_written(monkeypatch, capfd, url, shown) -> None:
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert wget.main(["-qO-", "--timeout", "1", url]) == 1
    assert capfd.readouterr() == ("", f"wget: bad address '{shown}'\n")


def test_error_status(server, capfd) -> None:
    server.answers = [page("", "404 Not Found")]
    assert wget.main(["-qO-", f"{server.url}/nope"]) == 1
    assert capfd.readouterr() == ("", "wget: server returned error: HTTP/1.1 404 Not Found\n")


def test_slow_answer_times_out(capfd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert wget.main(["-qO-", "-T", "1", url]) == 1
    assert capfd.readouterr().err == "wget: download timed out\n"


def test_saves_once(server, capfd, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    server.answers = [page(), page()]
    assert wget.main([f"{server.url}/dir/x.txt"]) == 0
    assert Path("x.txt").read_text() == "hi\n"
    err = capfd.readouterr().err
    assert "\nsaving to 'x.txt'\n" in err
    assert err.endswith("'x.txt' saved\n")
    assert wget.main(["-q", f"{server.url}/dir/x.txt"]) == 1
    assert capfd.readouterr().err == "wget: can't open 'x.txt': File exists\n"


def test_server_response_and_spider(server, capfd) -> None:
    server.answers = [page("x", "200 OK", "X-Test: 1")]
    assert wget.main(["-S", "--spider", f"{server.url}/"]) == 0
    err = capfd.readouterr().err
    assert err.endswith("  HTTP/1.1 200 OK\n  Content-Length: 1\n  X-Test: 1\n  \nremote file exists\n")


def test_follows_redirects_and_gives_up(server, capfd) -> None:
    server.answers = [page("", "302 Found", "Location: /there"), page("there")]
    assert wget.main(["-qO-", f"{server.url}/here"]) == 0
    assert capfd.readouterr().out == "there"
    assert server.requests[1].startswith("GET /there ")
    server.answers = [page("", "302 Found", "Location: /again")] * 30
    assert wget.main(["-qO-", f"{server.url}/here"]) == 1
    assert capfd.readouterr().err == "wget: too many redirections\n"


def test_chunked_and_unbounded_bodies(server, capfd) -> None:
    server.answers = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    ]
    assert wget.main(["-qO-", server.url]) == 0
    server.answers = [b"HTTP/1.0 200 OK\r\n\r\nuntil the end"]
    assert wget.main(["-qO-", server.url]) == 0
    assert capfd.readouterr().out == "abcdeuntil the end"
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"]
    assert wget.main(["-qO-", server.url]) == 1
    assert capfd.readouterr().err == "wget: connection closed prematurely\n"


def test_post_and_headers(server) -> None:
    server.answers = [page()]
    assert (
        wget.main(["-qO/dev/null", "--header", "X-A: b", "--post-data", "q=1", "-U", "me", server.url]) == 0
    )
    request = server.requests[0]
    assert request.startswith("POST / HTTP/1.1\r\n")
    assert "\r\nX-A: b\r\n" in request
    assert "\r\nUser-Agent: me\r\n" in request
    assert "\r\nContent-Length: 3\r\n" in request


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["--foo", "http://x"], "wget: unrecognized option '--foo'\n"),
        (["-Z"], "wget: invalid option -- 'Z'\n"),
        (["-O"], "wget: option requires an argument -- 'O'\n"),
        (["--timeout"], "wget: option '--timeout' requires an argument\n"),
        (["-T", "x", "http://x"], "wget: invalid number 'x'\n"),
        (["foo://x"], "wget: not an http or ftp url: foo://x\n"),
        ([], "Usage: wget [-qS]"),
    ],
)
def test_wrong_use(capfd, arguments, first) -> None:
    assert wget.main(arguments) == 1
    assert capfd.readouterr().err.startswith(first)
