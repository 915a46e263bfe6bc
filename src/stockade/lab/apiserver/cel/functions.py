"""The functions of CEL that rules may call, by name; each takes its target first. Called by ``program``.

Standard library (size, contains, startsWith, endsWith, matches, conversions, durations and timestamps), the extended string and list libraries, and Kubernetes'
IP and CIDR libraries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import Any

from stockade.lab.apiserver.cel.errors import CelError
from stockade.lab.apiserver.re2 import compile_go

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
TYPES = {"int": int, "double": float, "string": str, "bool": bool, "list": list, "map": dict}


def _no_overload(name: str) -> CelError:
    return CelError(f"no such overload: {name}")


def kind_of(value: Any) -> str:
    """``type(value)``, as a name."""
    if isinstance(value, bool):
        return "bool"
    return next((name for name, kind in TYPES.items() if isinstance(value, kind)), "null_type")


def _size(value: Any) -> int:
    if not isinstance(value, (str, list, dict)):
        raise _no_overload("size")
    return len(value)


def _text(function: Callable[..., Any]) -> Callable[..., Any]:
    """For methods of strings."""

    def checked(target: Any, *arguments: Any) -> Any:
        if not isinstance(target, str):
            raise _no_overload(function.__name__)
        return function(target, *arguments)

    return checked


def _to_int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise CelError(f"type conversion error from '{kind_of(value)}' to 'int'") from None


def _to_double(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CelError(f"type conversion error from '{kind_of(value)}' to 'double'") from None


def _to_string(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)) or value is None:
        raise CelError(f"type conversion error from '{kind_of(value)}' to 'string'")
    return str(value)


def _matches(text: str, pattern: str) -> bool:
    try:
        compiled = compile_go(pattern)
    except re.error as error:
        raise CelError(f"the pattern {pattern!r} cannot be read: {error}") from None
    if compiled is None:
        raise CelError(f"the pattern {pattern!r} cannot be read here")
    return compiled.search(text) is not None


def _duration(text: str) -> timedelta:
    """Go's time.ParseDuration: ``1h30m``, ``-1.5s``."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    parts = _DURATION.findall(rest)
    if rest != "0" and (not parts or "".join(number + unit for number, unit in parts) != rest):
        raise CelError(f"type conversion error from '{text}' to 'duration'")
    return sign * timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in parts))


def _timestamp(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CelError(f"type conversion error from '{text}' to 'timestamp'") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _address(text: str) -> Address | None:
    """Strict: no zone, no IPv4 in IPv6, no leading zeros."""
    try:
        found = ip_address(text)
    except (ValueError, TypeError):
        return None
    mapped = isinstance(found, IPv6Address) and (found.ipv4_mapped is not None or "." in text)
    return None if mapped or "%" in text else found


def _network(text: str) -> tuple[Address, Network] | None:
    """The address as written, and its network."""
    address, slash, length = str(text).partition("/")
    found = _address(address)
    if found is None or not slash or not length.isdecimal() or (length[0] == "0" and length != "0"):
        return None
    try:
        return found, ip_network(text, strict=False)
    except ValueError:
        return None


def _ip(text: str) -> Address:
    found = _address(text)
    if found is None:
        raise CelError(f'IP Address "{text}" is not valid')
    return found


def _cidr(text: str) -> tuple[Address, Network]:
    found = _network(text)
    if found is None:
        raise CelError(f'network address "{text}" is not valid')
    return found


def _contains_ip(cidr: tuple[Address, Network], address: Address | str) -> bool:
    wanted = _ip(address) if isinstance(address, str) else address
    return wanted in cidr[1]


def _contains_cidr(cidr: tuple[Address, Network], other: tuple[Address, Network] | str) -> bool:
    wanted = (_cidr(other) if isinstance(other, str) else other)[1]
    return wanted.version == cidr[1].version and wanted.subnet_of(cidr[1])  # type: ignore[arg-type]


def _family(value: Any) -> int:
    if isinstance(value, (IPv4Address, IPv6Address)):
        return int(value.version)
    raise _no_overload("family")


def _substring(text: str, start: int, end: int | None = None) -> str:
    last = len(text) if end is None else end
    if not 0 <= start <= last <= len(text):
        raise CelError("index out of range")
    return text[start:last]


def _index_of(target: Any, wanted: Any) -> int:
    if isinstance(target, str):
        return target.find(wanted)
    return next((at for at, item in enumerate(target) if item == wanted), -1)


def _is_sorted(items: list[Any]) -> bool:
    return all(first <= second for first, second in pairwise(items))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "size": _size,
    "int": _to_int,
    "double": _to_double,
    "string": _to_string,
    "type": kind_of,
    "dyn": lambda value: value,
    "matches": _matches,
    "duration": _duration,
    "timestamp": _timestamp,
    "isIP": lambda text: _address(text) is not None,
    "isCIDR": lambda text: _network(text) is not None,
    "ip": _ip,
    "cidr": _cidr,
}
METHODS: Mapping[str, Callable[..., Any]] = {
    "size": _size,
    "contains": _text(lambda text, part: part in text),
    "startsWith": _text(str.startswith),
    "endsWith": _text(str.endswith),
    "matches": _text(_matches),
    "lowerAscii": _text(str.lower),
    "upperAscii": _text(str.upper),
    "trim": _text(str.strip),
    "replace": _text(lambda text, old, new, count=-1: text.replace(old, new, count)),
    "split": _text(lambda text, by: text.split(by) if by else list(text)),
    "substring": _text(_substring),
    "charAt": _text(lambda text, at: _substring(text, at, at + 1)),
    "indexOf": _index_of,
    "join": lambda items, by="": by.join(items),
    "isSorted": _is_sorted,
    "sum": sum,
    "min": min,
    "max": max,
    "getHours": lambda value: int(value.total_seconds() // 3600),
    "getMinutes": lambda value: int(value.total_seconds() // 60),
    "getSeconds": lambda value: int(value.total_seconds()),
    "getMilliseconds": lambda value: int(value.total_seconds() * 1000),
    "family": _family,
    "isLoopback": lambda address: address.is_loopback,
    "isUnspecified": lambda address: address.is_unspecified,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "ip": lambda cidr: cidr[0],
    "masked": lambda cidr: (cidr[1].network_address, cidr[1]),
    "prefixLength": lambda cidr: cidr[1].prefixlen,
}
