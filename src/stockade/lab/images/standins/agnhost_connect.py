"""``agnhost connect`` of the built-in stand-in: can this host and port be reached?

In: ``HOST:PORT --timeout=1s --protocol=tcp|udp|sctp [--udp-data=…] [--sctp-data=…]``, inside a container. Out: exit status 0 and no
word, or 1 and a first word on stderr that test suites read: TIMEOUT, REFUSED, DNS, OTHER, UNKNOWN (reference: lab 3, "agnhost").
Run compiled with ``python -ISE``, or inside a process that pid 1 of the lab forked (``node.preloaded``), hundreds of times in a matrix of probes:
so it imports ``_socket`` (the C part of ``socket``, which costs 20 ms less) and nothing larger. A UDP or SCTP server must answer.
"""

from __future__ import annotations

import _socket
import os
import sys

TYPE_CHECKING = False  # typing's own costs as much as all the rest
if TYPE_CHECKING:
    from collections.abc import Callable

SCTP = 132  # IPPROTO_SCTP
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DEFAULTS = {"timeout": "0s", "protocol": "tcp", "udp-data": "hostname", "sctp-data": "hostname"}


class UsageError(Exception):
    """A command line that makes no sense."""


def seconds(text: str) -> float:
    """A Go duration: ``1m30s``, ``500ms``."""
    total, number, unit = 0.0, "", ""
    for letter in f"{text}0":  # the closing digit ends the last unit
        if letter.isdigit() or letter == ".":
            if unit:
                total, number, unit = total + _times(number, unit, text), "", ""
            number += letter
        else:
            unit += letter
    if number != "0" and text not in {"", "0"}:
        raise UsageError(f'time: missing unit in duration "{text}"')
    return total


def _times(number: str, unit: str, text: str) -> float:
    try:
        return float(number) * UNITS[unit]
    except (KeyError, ValueError):
        raise UsageError(f'time: invalid duration "{text}"') from None


def parse(arguments: list[str]) -> tuple[str, dict[str, str]]:
    """Where to, and the flags' values."""
    flags, places = dict(DEFAULTS), []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            places.append(argument)
            continue
        name, equals, value = argument[2:].partition("=")
        if name not in flags:
            raise UsageError(f"unknown flag: --{name}")
        if not equals and not rest:
            raise UsageError(f"flag needs an argument: --{name}")
        flags[name] = value if equals else rest.pop(0)
    if len(places) != 1:
        raise UsageError(f"accepts 1 arg(s), received {len(places)}")
    return places[0], flags


def split(place: str) -> tuple[str, str]:
    host, colon, port = place.rpartition(":")
    if not colon or not port:
        raise _socket.gaierror(f"address {place}: missing port in address")
    return host.removeprefix("[").removesuffix("]"), port


def look_up(host: str) -> tuple[int, str]:
    """Family and address, as the C library finds them. As bytes: for a str Python would load its whole IDNA codec."""
    family, _, _, _, address = _socket.getaddrinfo(host.encode(), None, 0, _socket.SOCK_STREAM)[0]
    return family, str(address[0])


def connect(place: str, flags: dict[str, str], resolve: Callable[[str], tuple[int, str]] = look_up) -> None:
    """Returns when the other side answered; raises what Python raises."""
    protocol = flags["protocol"]
    if protocol not in {"tcp", "udp", "sctp"}:
        raise UsageError(f"Unsupported protocol: {protocol}")
    host, port = split(place)
    kind = _socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM
    if not port.isdecimal() or int(port) > 65535:
        raise _socket.gaierror(f"lookup {protocol}/{port}: unknown port")
    family, address = resolve(host)
    sock = _socket.socket(family, kind, SCTP if protocol == "sctp" else 0)
    sock.settimeout(seconds(flags["timeout"]) or None)
    sock.connect((address, int(port)))
    if protocol != "tcp":
        sock.send(flags[f"{protocol}-data"].encode() + b"\n")
        if not sock.recv(1024):
            raise OSError("no data received")
    sock.close()


def main(arguments: list[str], resolve: Callable[[str], tuple[int, str]] = look_up) -> int:
    try:
        place, flags = parse(arguments)
        connect(place, flags, resolve)
    except UsageError as error:
        return _fail(f"Error: {error}")
    except _socket.gaierror as error:
        return _fail(f"DNS: {error.strerror or error}")
    except TimeoutError as error:
        return _fail("TIMEOUT" if flags["protocol"] == "tcp" else f"TIMEOUT: {error}")
    except ConnectionRefusedError as error:
        return _fail("REFUSED" if flags["protocol"] == "tcp" else f"REFUSED: {error}")
    except OSError as error:
        return _fail(f"OTHER: {error.strerror or error}")
    return 0


def _fail(text: str) -> int:
    os.write(2, f"{text}\n".encode(errors="replace"))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
