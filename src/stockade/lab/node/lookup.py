# pathlib stays out of pid 1, which is forked for each process of the lab.
"""Names to addresses without the C library: /etc/hosts, then the servers and search list of /etc/resolv.conf, over UDP.

In: a host and a kind of socket, inside a container. Out: family and address, or ``gaierror`` in the C library's words. Called by ``preloaded``
alone, where nothing that the container names may be loaded. Rules: resolv.conf(5) (search, ndots, timeout, attempts), RFC 1035 4.1; of a
CNAME's answer the addresses count. IPv4 before IPv6.
"""

from __future__ import annotations

import _socket
import os
from typing import Final

A, AAAA = 1, 28
NXDOMAIN: Final = 3
_FAMILIES: Final = {A: _socket.AF_INET, AAAA: _socket.AF_INET6}
_LENGTHS: Final = {A: 4, AAAA: 16}
_LARGEST: Final = 65536
NOT_KNOWN: Final = (_socket.EAI_NONAME, "Name or service not known")
NOT_NOW: Final = (_socket.EAI_AGAIN, "Temporary failure in name resolution")
Found = tuple[int, str]  # family, address


def resolve(host: str) -> Found:
    literal = _literal(host)
    if literal:
        return literal
    for line in _lines("/etc/hosts"):
        words = line.split()
        if host.lower() in (word.lower() for word in words[1:]) and (found := _literal(words[0])):
            return found
    return _ask(host)


def _literal(text: str) -> Found | None:
    for family in _FAMILIES.values():
        try:
            _socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return family, text
    return None


def _lines(path: str) -> list[str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        data = os.read(fd, _LARGEST)
    except OSError:
        return []
    finally:
        os.close(fd)
    return [line.partition("#")[0].strip() for line in data.decode("latin-1").splitlines()]


class _Config:
    """resolv.conf(5); what is not readable is as if it were not there."""

    def __init__(self) -> None:
        self.servers: list[str] = []
        self.search: list[str] = []
        self.options = {"ndots": 1, "timeout": 5, "attempts": 2}
        for line in _lines("/etc/resolv.conf"):
            word, *rest = line.split() or [""]
            if word == "nameserver" and rest:
                self.servers.append(rest[0])
            elif word == "search":
                self.search = rest
            elif word == "options":
                self._read_options(rest)

    def _read_options(self, words: list[str]) -> None:
        for word in words:
            name, _, value = word.partition(":")
            if name in self.options and value.isdecimal():
                self.options[name] = int(value)


def _ask(host: str) -> Found:
    config = _Config()
    absolute = host.endswith(".")
    plain = host.rstrip(".")
    names = [] if absolute else [f"{plain}.{suffix}" for suffix in config.search]
    if absolute or plain.count(".") >= config.options["ndots"]:
        names.insert(0, plain)
    else:
        names.append(plain)
    for name in names:
        for kind in (A, AAAA):
            answer = _exchange(config, _question(name, kind))
            if address := _address(answer, kind):
                return _FAMILIES[kind], address
            if answer[3] & 0x0F == NXDOMAIN:
                break  # it has no other addresses either
    raise _socket.gaierror(*NOT_KNOWN)


def _question(name: str, kind: int) -> bytes:
    labels = name.encode("ascii", "replace").split(b".")
    if not all(0 < len(label) < 64 for label in labels):
        raise _socket.gaierror(*NOT_KNOWN)
    header = os.urandom(2) + b"\x01\x00\x00\x01" + bytes(6)  # recursion desired, one question
    coded = b"".join(bytes([len(label)]) + label for label in labels)
    return header + coded + b"\0" + kind.to_bytes(2, "big") + b"\0\x01"


def _exchange(config: _Config, question: bytes) -> bytes:
    """The first answer of any server."""
    for _ in range(config.options["attempts"]):
        for server in config.servers:
            found = _literal(server)
            if found is None:
                continue
            sock = _socket.socket(found[0], _socket.SOCK_DGRAM)
            sock.settimeout(config.options["timeout"])
            try:
                sock.connect((found[1], 53))
                sock.send(question)
                answer = sock.recv(_LARGEST)
            except OSError:
                continue
            finally:
                sock.close()
            if len(answer) >= len(question) and answer[:2] == question[:2]:
                return answer
    raise _socket.gaierror(*NOT_NOW)


def _address(answer: bytes, wanted: int) -> str:
    """The first address of the kind asked for; "" when there is none, or the answer makes no sense."""
    try:
        at = _after_name(answer, 12) + 4  # the question
        for _ in range(int.from_bytes(answer[6:8], "big")):
            at = _after_name(answer, at)
            kind = int.from_bytes(answer[at : at + 2], "big")
            length = int.from_bytes(answer[at + 8 : at + 10], "big")
            at += 10
            if kind == wanted and length == _LENGTHS[kind]:
                return _socket.inet_ntop(_FAMILIES[kind], answer[at : at + length])
            at += length
    except (IndexError, ValueError):
        pass
    return ""


def _after_name(data: bytes, at: int) -> int:
    while data[at]:
        if data[at] >= 0xC0:
            return at + 2
        at += 1 + data[at]
    return at + 1
