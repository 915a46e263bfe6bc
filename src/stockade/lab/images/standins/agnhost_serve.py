"""The servers of ``agnhost``, as the built-in stand-in: ``serve-hostname``, ``netexec`` and ``porter``.

In: a command line, inside a container; requests. Out: answers as network test suites expect them (reference: lab 3, "agnhost"): the host's
name over HTTP, TCP, UDP and, where the kernel has it, SCTP; ``netexec`` answers /, /hostname, /clientip, /echo, /dial, /header, /healthz,
/redirect, /shell, /exit and /shutdown. Run compiled with ``python -ISE``; needs nothing beside the standard library. One thread per
connection: a suite opens a few at a time.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs, quote, urlsplit

SCTP = 132  # IPPROTO_SCTP
DIAL_SECONDS = 5.0
REQUEST_SECONDS = 30.0
HEAD_LIMIT = 65536
Answer = tuple[int, str, dict[str, str]]
Page = Callable[["Request"], Answer]


class Request:
    """One HTTP request: ``query`` holds the first value of each name."""

    def __init__(self, path: str, headers: dict[str, str], client: tuple[str, int]) -> None:
        parts = urlsplit(path)
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.headers = headers
        self.client = client


def hostname() -> str:
    return socket.gethostname()


def shown(address: tuple[str, int]) -> str:
    """IP:port; IPv4 in IPv6 clothes without them."""
    ip = address[0].removeprefix("::ffff:")
    return f"[{ip}]:{address[1]}" if ":" in ip else f"{ip}:{address[1]}"


def plain(text: str, status: int = 200, **headers: str) -> Answer:
    return status, text, headers


def echo(request: Request) -> Answer:
    return plain(request.query.get("msg", ""), int(request.query.get("code") or 200))


def shell(request: Request) -> Answer:
    command = request.query.get("shellCommand") or request.query.get("cmd", "")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    answer = {"output": done.stdout + done.stderr}
    if done.returncode:
        answer["error"] = f"exit status {done.returncode}"
    return plain(json.dumps(answer, separators=(",", ":")))


def leave(request: Request) -> Answer:
    seconds = float(request.query.get("timeout", "0").removesuffix("s") or 0)
    code = int(request.query.get("code") or 0)

    def end() -> None:
        time.sleep(seconds + 0.1)
        os._exit(code)

    _thread.start_new_thread(end, ())
    return plain("")


def dial(request: Request) -> Answer:
    """Ask other servers and tell what they said: ``{"responses": […], "errors": […]}``."""
    query = request.query
    host, port = query.get("host", ""), int(query.get("port") or 0)
    what = query.get("request", "hostname")
    answers: dict[str, list[str]] = {"responses": [], "errors": []}
    for _ in range(int(query.get("tries") or 1)):
        try:
            answers["responses"].append(ask(query.get("protocol", "http"), host, port, what))
        except OSError as error:
            answers["errors"].append(str(error))
    return plain(json.dumps({name: found for name, found in answers.items() if found}, separators=(",", ":")))


def ask(protocol: str, host: str, port: int, what: str) -> str:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = SCTP if protocol == "sctp" else 0
    family, _, _, _, address = socket.getaddrinfo(host, port, 0, kind)[0]
    with socket.socket(family, kind, number) as sock:
        sock.settimeout(DIAL_SECONDS)
        sock.connect(address)
        if protocol != "http":
            sock.sendall(what.encode())
            return sock.recv(2048).decode(errors="replace").strip()
        sock.sendall(f"GET /{quote(what, safe='/?=&%')} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        whole = b"".join(iter(lambda: sock.recv(65536), b""))
        return whole.partition(b"\r\n\r\n")[2].decode(errors="replace").strip()


NETEXEC: dict[str, Page] = {
    "/": lambda _: plain(f"NOW: {time.strftime('%Y-%m-%d %H:%M:%S %z')}"),
    "/clientip": lambda request: plain(shown(request.client)),
    "/dial": dial,
    "/echo": echo,
    "/exit": leave,
    "/header": lambda request: plain(request.headers.get(request.query.get("key", "").lower(), "")),
    "/healthz": lambda _: plain(""),
    "/hostname": lambda _: plain(hostname()),
    "/hostName": lambda _: plain(hostname()),
    "/redirect": lambda request: plain(
        "", int(request.query.get("code") or 302), Location=request.query.get("location", "/")
    ),
    "/shell": shell,
    "/shutdown": leave,
}


def respond(pages: dict[str, Page], head: bytes, client: tuple[str, int]) -> bytes:
    """The whole HTTP answer. ``*`` answers what no other page does."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
    }
    request = Request(words[1] if len(words) > 1 else "/", headers, client)
    page = pages.get(request.path) or pages.get("*")
    try:
        status, text, extra = page(request) if page else plain("404 page not found\n", 404)
    except ValueError as error:
        status, text, extra = plain(f"{error}\n", 400)
    body = text.encode()
    fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **extra,
    }
    told = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if "\n" not in value)
    return f"HTTP/1.1 {status} {'OK' if status == 200 else 'Status'}\r\n{told}\r\n".encode() + (
        b"" if words[0] == "HEAD" else body
    )


def read_head(sock: socket.socket) -> bytes:
    """Of a request: until the empty line; its body, if any, is read and dropped."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < HEAD_LIMIT:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data.partition(b"\r\n\r\n")[0]


def http(pages: dict[str, Page]) -> Callable[[socket.socket, tuple[str, int]], None]:
    def serve(sock: socket.socket, client: tuple[str, int]) -> None:
        head = read_head(sock)
        if head:
            sock.sendall(respond(pages, head, client))

    return serve


def greet(sock: socket.socket, _: tuple[str, int]) -> None:
    sock.sendall(hostname().encode())


def reply(sock: socket.socket, client: tuple[str, int]) -> None:
    """SCTP: one message, one answer."""
    data = sock.recv(2048)
    if data:
        sock.sendall(datagram(data, client))


def datagram(data: bytes, client: tuple[str, int]) -> bytes:
    """``netexec`` over UDP: hostname, clientip, echo TEXT; serve-hostname answers its name to everything."""
    words = data.decode(errors="replace").strip().split(" ", 1)
    if words[0] == "clientip":
        return shown(client).encode()
    if words[0] == "echo":
        return (words[1] if len(words) > 1 else "").encode()
    return hostname().encode()


def listen(kind: socket.SocketKind, port: int, protocol: int = 0) -> socket.socket:
    """On every address, of both families where the pod has both."""
    try:
        sock = socket.socket(socket.AF_INET6, kind, protocol)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::", port))
    except OSError:
        sock = socket.socket(socket.AF_INET, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", port))  # noqa: S104 - a server in a pod serves the pod's address
    if kind is socket.SOCK_STREAM:
        sock.listen(128)
    return sock


def accept(server: socket.socket, serve: Callable[[socket.socket, tuple[str, int]], None]) -> None:
    def one(sock: socket.socket, client: tuple[str, int]) -> None:
        sock.settimeout(REQUEST_SECONDS)
        try:
            serve(sock, client)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # a client that went away
        finally:
            sock.close()

    while True:
        sock, client = server.accept()
        _thread.start_new_thread(one, (sock, client[:2]))


def receive(server: socket.socket) -> None:
    while True:
        data, client = server.recvfrom(2048)
        try:
            server.sendto(datagram(data, client[:2]), client)
        except OSError:
            continue  # nobody listens there any more


def tcp(port: int, serve: Callable[[socket.socket, tuple[str, int]], None]) -> None:
    _thread.start_new_thread(accept, (listen(socket.SOCK_STREAM, port), serve))


def udp(port: int) -> None:
    _thread.start_new_thread(receive, (listen(socket.SOCK_DGRAM, port),))


def sctp(port: int) -> None:
    """A kernel without SCTP serves none: said once; the pod lives on, so that what needs no SCTP can be tested."""
    try:
        _thread.start_new_thread(accept, (listen(socket.SOCK_STREAM, port, SCTP), reply))
    except OSError as error:
        say(f"SCTP port {port} is not served: this kernel says: {error.strerror}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def flags_of(arguments: list[str], **defaults: str) -> dict[str, str]:
    """``--name=value``, ``--name value``, ``-name``; a flag alone is ``true``."""
    flags = {name.replace("_", "-"): value for name, value in defaults.items()}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        if name not in flags:
            raise SystemExit(f"Error: unknown flag: --{name}")
        flags[name] = value
    return flags


def serve_hostname(arguments: list[str]) -> None:
    flags = flags_of(arguments, tcp="false", udp="false", http="true", port="9376", close="false")
    port = int(flags["port"])
    if flags["tcp"] == "true":
        tcp(port, greet)
    elif flags["http"] == "true":
        tcp(port, http({"*": lambda _: plain(hostname())}))
    if flags["udp"] == "true":
        udp(port)
    say(f"Serving on port {port}")


def netexec(arguments: list[str]) -> None:
    flags = flags_of(
        arguments,
        http_port="8080",
        udp_port="8081",
        sctp_port="-1",
        http_override="",
        delay_shutdown="0",
        udp_listen_addresses="",
    )
    pages: dict[str, Page] = NETEXEC
    if flags["http-override"]:
        pages = {"*": NETEXEC[flags["http-override"]]}
    tcp(int(flags["http-port"]), http(pages))
    if int(flags["udp-port"]) > 0:
        udp(int(flags["udp-port"]))
    if int(flags["sctp-port"]) > 0:
        sctp(int(flags["sctp-port"]))
    say(f"Started HTTP server on port {flags['http-port']}; UDP server on port {flags['udp-port']}")


def porter(__: list[str]) -> None:
    """SERVE_PORT_N and SERVE_SCTP_PORT_N in the environment; the value is what is answered."""
    for name, text in os.environ.items():
        kind, _, port = name.rpartition("_")
        if not port.isdigit():
            continue
        if kind == "SERVE_PORT":
            tcp(int(port), http({"*": partial(_text, text)}))
        elif kind == "SERVE_SCTP_PORT":
            sctp(int(port))
        elif kind == "SERVE_TLS_PORT":
            say(f"port {port} is not served: this stand-in has no TLS")


def _text(text: str, _: Request) -> Answer:
    return plain(text)


SERVERS = {"serve-hostname": serve_hostname, "netexec": netexec, "porter": porter}


def main(arguments: list[str]) -> None:
    # Nothing of ours for what /shell starts: the way to the stand-in's own interpreter is not the pod's business.
    os.environ.pop("LD_LIBRARY_PATH", None)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    SERVERS[arguments[0]](arguments[1:])
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
