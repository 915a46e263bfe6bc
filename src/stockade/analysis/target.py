"""What the user typed as the far end of a path, taken apart.

In: ``pod/foo:8080``, ``ns:pod/foo``, ``svc/web:80``, ``http://web:80/``, ``web:80``, ``10.0.0.1:443``, ``[fd00::1]:80``,
``www.example.com``, ``icmp://google.com``; a port may end in ``/udp``. Out: a Target. Called by ``analysis.path``.
Whether a name is a Service or somebody outside is not decided here: that takes the state.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import msgspec

from stockade.model.meta import ObjectRef
from stockade.policy.verdict import ICMP

POD, SERVICE, NAME, ADDRESS = "pod", "service", "name", "address"
_SCHEMES = {"http": 80, "https": 443}
_PROTOCOLS = frozenset({"TCP", "UDP", "SCTP"})
_KINDS = {"pod": POD, "pods": POD, "po": POD, "svc": SERVICE, "service": SERVICE, "services": SERVICE}
_REFERENCE = re.compile(
    r"(?:(?P<space>[a-z0-9-]+):)?(?P<kind>[a-z]+)/(?P<name>[a-z0-9.-]+)(?::(?P<port>\d+(/\w+)?))?\Z"
)
_NAME = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?\.?\Z")
FORMS = "pod/NAME[:PORT], svc/NAME[:PORT], NS:pod/NAME, http://HOST[:PORT]/, HOST:PORT, IP:PORT"


class TargetError(ValueError):
    """The text names nothing that can be connected to; the message says what would."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """``port`` is None when not said (a Service or a pod may have just one). ``as_written`` is host[:port] of a URL,
    which applications repeat in their messages; empty for references."""

    kind: str
    name: str
    namespace: str = ""
    port: int | None = None
    protocol: str = "TCP"
    as_written: str = ""

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.namespace, self.name)


def parse_target(text: str, namespace: str = "default") -> Target:
    """``namespace`` is the one for references that name none. Raises TargetError."""
    if "://" in text:
        return _parse_url(text)
    match = _REFERENCE.match(text)
    if match and match["kind"] in _KINDS:
        port, protocol = _port(match["port"] or "", text)
        return Target(
            kind=_KINDS[match["kind"]],
            name=match["name"],
            namespace=match["space"] or namespace,
            port=port,
            protocol=protocol,
        )
    if match and not match["kind"].isdigit() and match["port"] is None and not match["name"].isdigit():
        raise TargetError(f"{text!r}: kind {match['kind']!r} is not known here; write {FORMS}")
    host, port, protocol = _split(text)
    return _host(host, port, protocol, host if port is None else f"{host}:{port}")


def parse_pod(text: str, namespace: str = "default") -> ObjectRef:
    """``pod/foo``, ``ns:pod/foo`` or plain ``foo``: the near end of a path. Raises TargetError."""
    match = _REFERENCE.match(
        text if "/" in text else text.replace(":", ":pod/") if ":" in text else f"pod/{text}"
    )
    if not match or _KINDS.get(match["kind"]) != POD or match["port"]:
        raise TargetError(f"{text!r} is not a pod; write pod/NAME or NS:pod/NAME")
    return ObjectRef(match["space"] or namespace, match["name"])


def _parse_url(text: str) -> Target:
    try:
        parts = urlsplit(text)
    except ValueError:  # a bracket without its partner
        raise TargetError(f"{text!r} is not a URL; write http://HOST[:PORT]/") from None
    if parts.scheme != "icmp" and parts.scheme not in _SCHEMES:
        raise TargetError(f"{text!r}: scheme {parts.scheme!r} is not known; use http, https or icmp")
    written = parts.netloc.rpartition("@")[2]
    try:
        port = parts.port
    except ValueError:
        raise TargetError(f"{text!r}: the port must be a number from 1 to 65535") from None
    if not parts.hostname:
        raise TargetError(f"{text!r} has no host")
    if parts.scheme == "icmp":
        return _host(parts.hostname, None, ICMP, written)
    if port == 0:
        raise TargetError(f"{text!r}: the port must be a number from 1 to 65535")
    return _host(parts.hostname, port or _SCHEMES[parts.scheme], "TCP", written)


def _split(text: str) -> tuple[str, int | None, str]:
    """HOST[:PORT[/PROTOCOL]]; an IPv6 address with a port is in brackets."""
    bracketed = re.match(r"\[(?P<host>[^]]*)\](?::(?P<port>.*))?\Z", text)
    if bracketed:
        return bracketed["host"], *_port(bracketed["port"] or "", text)
    if text.count(":") > 1:
        return text, None, "TCP"
    host, colon, port = text.partition(":")
    if colon and not port:
        raise TargetError(f"{text!r}: a port is missing after the colon")
    return host, *_port(port, text)


def _port(text: str, whole: str) -> tuple[int | None, str]:
    number, slash, protocol = text.partition("/")
    protocol = protocol.upper() if slash else "TCP"
    if protocol not in _PROTOCOLS:
        raise TargetError(f"{whole!r}: protocol must be tcp, udp or sctp")
    if not number:
        return None, protocol
    if not number.isdecimal() or not 1 <= int(number) <= 65535:
        raise TargetError(f"{whole!r}: the port must be a number from 1 to 65535")
    return int(number), protocol


def _host(host: str, port: int | None, protocol: str, written: str) -> Target:
    try:
        kind, name = ADDRESS, str(ipaddress.ip_address(host))
    except ValueError:
        kind, name = NAME, host.lower().rstrip(".") + ("." if host.endswith(".") else "")
        if not _NAME.match(host) or host.replace(".", "").isdigit():
            raise TargetError(f"{host!r} is neither a name nor an address; write {FORMS}") from None
    return Target(kind=kind, name=name, port=port, protocol=protocol, as_written=written)
