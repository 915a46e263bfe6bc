"""socat of the built-in stand-in: two addresses, bytes carried between them.

In: ``socat [-u|-U] [-d…] [-v] [-t SEC] [-T SEC] ADDRESS ADDRESS`` with the address kinds in ``KINDS``, inside a container. Out: what came through;
errors as socat words them (``E connect(…): Connection refused``), exit status 1. Run compiled with ``python -ISE``. Listening addresses
know ``fork``, ``reuseaddr``, ``bind``; connecting ones ``connect-timeout``.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import socket
import sys
from collections.abc import Callable

SCTP = 132  # IPPROTO_SCTP
FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6, "": socket.AF_UNSPEC}
TRANSPORTS = {
    "TCP": (socket.SOCK_STREAM, 0),
    "UDP": (socket.SOCK_DGRAM, 0),
    "SCTP": (socket.SOCK_STREAM, SCTP),
}
KINDS = "TCP[4|6][-CONNECT|-LISTEN], UDP[4|6][-CONNECT|-LISTEN|-RECVFROM|-SENDTO], SCTP[-CONNECT|-LISTEN], STDIO, -, STDIN, STDOUT, EXEC, SYSTEM, PIPE, OPEN"
Pair = tuple[int, int]
"""Descriptors to read from and to write to; -1: none."""


class Failure(Exception):  # noqa: N818 - not an error of this program
    """Ends the program with ``E TEXT``."""


class Address:
    """``KIND:PART[:PART][,option[=value]]…``"""

    def __init__(self, text: str) -> None:
        head, *options = text.split(",") if not text.upper().startswith(("EXEC:", "SYSTEM:")) else [text]
        self.text = text
        self.kind, _, rest = head.partition(":")
        self.kind = self.kind.upper()
        self.rest = rest
        self.options = {
            name.lower(): value for name, _, value in (option.partition("=") for option in options)
        }

    @property
    def transport(self) -> tuple[str, str, str]:
        """TCP, UDP or SCTP (or nothing); the family; connect, listen …"""
        head, _, role = self.kind.partition("-")
        family = head[-1] if head[-1:] in {"4", "6"} else ""
        name = head.removesuffix(family) if family else head
        if role == "L":
            role = "LISTEN"
        return (name if name in TRANSPORTS else ""), family, role or "CONNECT"

    @property
    def listens(self) -> bool:
        name, _, role = self.transport
        return bool(name) and role in {"LISTEN", "RECVFROM", "RECV"}


def connect(address: Address) -> Pair:
    name, family, _ = address.transport
    kind, protocol = TRANSPORTS[name]
    host, _, port = address.rest.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, FAMILIES[family], kind)
    except socket.gaierror as error:
        raise Failure(f'getaddrinfo("{host}", "{port}", …): {error.strerror}') from None
    where = found[0][4]
    try:
        sock = socket.socket(found[0][0], kind, protocol)
        sock.settimeout(float(address.options.get("connect-timeout") or 0) or None)
        sock.connect(where)
        sock.settimeout(None)
    except OSError as error:
        text = "Connection timed out" if isinstance(error, TimeoutError) else error.strerror
        raise Failure(f"connect(…, {host}:{port}): {text}") from None
    number = sock.detach()
    return number, number


def bound(address: Address) -> socket.socket:
    name, family, _ = address.transport
    kind, protocol = TRANSPORTS[name]
    port = address.rest
    own = address.options.get("bind", "")
    for choice in [FAMILIES[family]] if family else [socket.AF_INET6, socket.AF_INET]:
        try:
            server = socket.socket(choice, kind, protocol)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if choice == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind((own.strip("[]"), int(port)))
            if kind is socket.SOCK_STREAM:
                server.listen(16)
        except (OSError, ValueError) as error:
            failure = error
            continue
        return server
    raise Failure(f"bind(…, {own}:{port}): {failure}")


def accept(server: socket.socket, address: Address) -> Pair:
    """The next client; a UDP client is the sender of the next datagram."""
    if server.type == socket.SOCK_STREAM:
        sock, _ = server.accept()
        number = sock.detach()
        return number, number
    data, client = server.recvfrom(65536)
    answers = socket.socket(server.family, server.type)
    answers.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if server.family == socket.AF_INET6:
        answers.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    answers.bind(server.getsockname()[:2])
    answers.connect(client)
    if "fork" not in address.options:
        server.close()
    first, into = os.pipe()  # the datagram that was taken already comes first
    os.write(into, data)
    if os.fork() == 0:
        os.close(first)
        carry([(answers.fileno(), into)], 30.0)
        os._exit(0)
    os.close(into)
    return first, answers.detach()


def program(address: Address) -> Pair:
    words = ["/bin/sh", "-c", address.rest] if address.kind == "SYSTEM" else shlex.split(address.rest)
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        os.dup2(theirs.fileno(), 0)
        os.dup2(theirs.fileno(), 1)
        os.closerange(3, 64)
        try:
            os.execvp(words[0], words)  # noqa: S606 - what EXEC is for
        except OSError as error:
            sys.stderr.write(f'socat E execvp("{words[0]}"): {error.strerror}\n')
        os._exit(1)
    theirs.close()
    number = ours.detach()
    return number, number


def file(address: Address) -> Pair:
    flags = os.O_RDWR if "rdonly" not in address.options else os.O_RDONLY
    for option, flag in (("creat", os.O_CREAT), ("append", os.O_APPEND), ("trunc", os.O_TRUNC)):
        flags |= flag if option in address.options else 0
    try:
        number = os.open(address.rest, flags, 0o644)
    except OSError as error:
        raise Failure(f'open("{address.rest}"): {error.strerror}') from None
    return number, number


OTHERS: dict[str, Callable[[Address], Pair]] = {
    "-": lambda _: (0, 1),
    "STDIO": lambda _: (0, 1),
    "STDIN": lambda _: (0, -1),
    "STDOUT": lambda _: (-1, 1),
    "EXEC": program,
    "SYSTEM": program,
    "PIPE": lambda _: os.pipe(),
    "ECHO": lambda _: os.pipe(),
    "OPEN": file,
}


def open_address(address: Address) -> Pair:
    if address.transport[0]:
        return accept(bound(address), address) if address.listens else connect(address)
    if address.kind in OTHERS:
        return OTHERS[address.kind](address)
    raise Failure(f'unknown device/address "{address.kind}"; this stand-in knows {KINDS}')


def carry(ways: list[Pair], quiet: float | None) -> None:
    """Bytes from the first to the second of each way, until all have ended; ``quiet`` ends it when nothing moves for so long."""
    open_ways = [way for way in ways if -1 not in way]
    while open_ways:
        ready = select.select([source for source, _ in open_ways], [], [], quiet)[0]
        if not ready:
            return
        for way in [way for way in open_ways if way[0] in ready]:
            if not _move(*way):
                open_ways.remove(way)
                quiet = min(quiet or LINGER, LINGER)


LINGER = 0.5  # seconds that the other direction may be silent after one ended (socat -t)


def _move(source: int, target: int) -> bool:
    try:
        data = os.read(source, 65536)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(target, rest) :]
    except OSError:
        return False
    if not data:
        _no_more(target)
    return bool(data)


def _no_more(target: int) -> None:
    try:
        with socket.socket(fileno=os.dup(target)) as sock:
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # no socket, or closed already


def join(first: Pair, second: Pair, flags: dict[str, str]) -> None:
    ways = [(first[0], second[1]), (second[0], first[1])]
    if "-u" in flags or "-U" in flags:
        ways = ways[:1] if "-u" in flags else ways[1:]
    carry(ways, float(flags["-T"]) if flags.get("-T") else None)


def serve(first: Address, second: Address, flags: dict[str, str]) -> None:
    """``fork``: a process for each client."""
    server = bound(first)
    while True:
        pair = accept(server, first)
        if os.fork() == 0:
            server.close()
            join(pair, open_address(second), flags)
            os._exit(0)
        for number in set(pair):
            os.close(number)


def parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    flags: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        name = rest.pop(0)
        if name[:2] in {"-t", "-T", "-b"}:
            flags[name[:2]] = name[2:] or (rest.pop(0) if rest else "")
        else:
            flags[name] = ""
    if len(rest) != 2:
        raise Failure(f"exactly 2 addresses required (there are {len(rest)})")
    return flags, rest


def main(arguments: list[str]) -> int:
    try:
        flags, places = parse(arguments)
        first, second = (Address(place) for place in places)
        if first.listens and "fork" in first.options:
            serve(first, second, flags)
        join(open_address(first), open_address(second), flags)
    except Failure as error:
        sys.stderr.write(f"socat E {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    os.environ.pop("LD_LIBRARY_PATH", None)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: os._exit(128 + caught))
    sys.exit(main(sys.argv[1:]))
