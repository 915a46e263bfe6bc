"""What a user types for the two ends of a connection, as values.

In: text such as ``pod/web``, ``other:pod/web:8080``, ``svc/web:80``, ``deploy/web``, ``10.1.2.3:53``, ``http://web:80/``, ``www.example.com:443``.
Out: a Target. Raises TargetError with what was expected. Called by the CLI; pure.
"""

from __future__ import annotations

import re

import msgspec

from stockade.model.meta import ObjectRef
from stockade.net.cidr import parse_address

KINDS = {
    "pod": "pod",
    "pods": "pod",
    "po": "pod",
    "svc": "service",
    "service": "service",
    "services": "service",
    "deploy": "deployment",
    "deployment": "deployment",
    "deployments": "deployment",
}
SCHEME_PORTS = {
    "http": 80,
    "https": 443,
    "dns": 53,
    "redis": 6379,
    "postgres": 5432,
    "postgresql": 5432,
    "mysql": 3306,
}
REFERENCE = re.compile(
    r"(?:(?P<ns>[a-z0-9-]+):)?(?P<kind>[a-z]+)/(?P<name>[a-z0-9.-]+)(?::(?P<port>[a-z0-9-]+))?"
)
URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]+)(?:[/?#].*)?", re.IGNORECASE)
NAME = re.compile(r"[a-zA-Z0-9_]([-a-zA-Z0-9_.]*[a-zA-Z0-9_])?\.?")
EXPECTED = "write pod/NAME, svc/NAME:PORT, NS:pod/NAME, an IP address, host:port or a URL"


class TargetError(ValueError):
    """The text names no end of a connection; the message says what would."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """``kind``: pod, service, deployment, address or name. ``authority`` is ``host[:port]`` as typed, which clients print.

    ``port`` is a number, a Service port's name, or None when the text has none (a URL's scheme gives its default)."""

    text: str
    kind: str
    ref: ObjectRef | None = None
    host: str = ""
    port: int | str | None = None
    authority: str = ""
    scheme: str = ""


def parse_target(text: str, namespace: str) -> Target:
    """``namespace`` is where references without ``NS:`` live."""
    if match := URL.fullmatch(text):
        return _from_url(text, match["scheme"].lower(), match["authority"])
    if match := REFERENCE.fullmatch(text):
        kind = KINDS.get(match["kind"])
        if kind is None:
            known = ", ".join(dict.fromkeys(KINDS.values()))
            raise TargetError(f"{text!r}: unknown kind {match['kind']!r}; known are {known}")
        ref = ObjectRef(match["ns"] or namespace, match["name"])
        return Target(text=text, kind=kind, ref=ref, port=_port(text, match["port"]))
    return _from_authority(text, text, "", None)


def _from_url(text: str, scheme: str, authority: str) -> Target:
    return _from_authority(text, authority.rpartition("@")[2], scheme, SCHEME_PORTS.get(scheme))


def _from_authority(text: str, authority: str, scheme: str, default: int | None) -> Target:
    host, port = _split(authority)
    number = _port(text, port) if port else default
    try:
        parse_address(host)
    except ValueError:
        if not NAME.fullmatch(host):
            raise TargetError(f"{text!r} is no end of a connection; {EXPECTED}") from None
        kind = "name"
    else:
        kind = "address"
    return Target(text=text, kind=kind, host=host, port=number, authority=authority, scheme=scheme)


def _split(authority: str) -> tuple[str, str]:
    """Host and port; an IPv6 address with a port is in brackets."""
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        return host, port.removeprefix(":")
    if authority.count(":") > 1:
        return authority, ""
    host, _, port = authority.partition(":")
    return host, port


def _port(text: str, port: str | None) -> int | str | None:
    if port is None or port == "":
        return None
    if not port.isdigit():
        return port
    if not 1 <= int(port) <= 65535:
        raise TargetError(f"{text!r}: port {port} must be between 1 and 65535")
    return int(port)
