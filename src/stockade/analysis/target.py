"""What the user typed as the far end of a path, taken apart.

In: ``pod/foo:8080``, ``ns:pod/foo``, ``deploy/web:80``, ``svc/web:80``, ``http://web:80/``, ``web:80``, ``10.0.0.1:443``,
``[fd00::1]:80``, ``node/NAME:22``, ``www.example.com``, ``icmp://google.com``; a port may be a range and end in ``/udp``.
Out: a Target. Called by ``analysis.path`` and ``analysis.ask``.
Whether a name is a Service or somebody outside is not decided here: that takes the state.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TypedDict
from urllib.parse import urlsplit

import msgspec

from stockade.analysis.workloads import WORKLOADS
from stockade.model.meta import ObjectRef
from stockade.policy.verdict import ICMP

POD, SERVICE, NAME, ADDRESS = "pod", "service", "name", "address"
WORKLOAD, NODE = "workload", "node"
NODES = frozenset({"node", "nodes", "no"})
_SCHEMES = {"http": 80, "https": 443}
_PROTOCOLS = frozenset({"TCP", "UDP", "SCTP"})
_KINDS = {
    **dict.fromkeys(("pod", "pods", "po"), POD),
    **dict.fromkeys(("svc", "service", "services"), SERVICE),
    **dict.fromkeys(NODES, NODE),
    **dict.fromkeys(WORKLOADS, WORKLOAD),
}
_REFERENCE = re.compile(
    r"(?:(?P<space>[a-z0-9-]+):)?(?P<kind>[a-z.]+)/(?P<name>[a-z0-9.-]+)(?::(?P<port>\d+(-\d+)?(/\w+)?))?\Z"
)
_NAME = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?\.?\Z")
FORMS = "pod/NAME[:PORT], svc/NAME[:PORT], deploy/NAME[:PORT], NS:pod/NAME, http://HOST[:PORT]/, HOST:PORT, IP:PORT"
_BAD_PORT = "the port must be a number from 1 to 65535, or a range such as 8000-8100"


class TargetError(ValueError):
    """The text names nothing that can be connected to; the message says what would."""


class _Ports(TypedDict, total=False):
    port: int | None
    last_port: int | None
    protocol: str


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """``port`` is None when not said (a Service or a pod may have just one), and the first of a range that ends with
    ``last_port``. ``as_written`` is host[:port] of a URL, which applications repeat in their messages; empty for
    references. ``workload`` is a workload's kind."""

    kind: str
    name: str
    namespace: str = ""
    port: int | None = None
    last_port: int | None = None
    protocol: str = "TCP"
    as_written: str = ""
    workload: str = ""

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.namespace, self.name)


def parse_target(text: str, namespace: str = "default") -> Target:
    """``namespace`` is the one for references that name none. Raises TargetError."""
    if "://" in text:
        return _parse_url(text)
    match = _REFERENCE.match(text)
    if match and match["kind"] in _KINDS:
        kind = _KINDS[match["kind"]]
        return Target(
            kind=kind,
            name=match["name"],
            namespace="" if kind == NODE else match["space"] or namespace,
            workload=WORKLOADS.get(match["kind"], ""),
            **_port(match["port"] or "", text),
        )
    if match:
        raise TargetError(f"{text!r}: kind {match['kind']!r} is not known here; write {FORMS}")
    host, ports = _split(text)
    number = ports.get("port")
    numeric = f"[{host}]" if ":" in host else host
    return _host(host, ports, host if number is None else f"{numeric}:{number}")


def at_port(target: Target, port: int) -> Target:
    """One port of a range."""
    written = target.as_written
    if written and target.port is not None:
        written = f"{written.removesuffix(f':{target.port}')}:{port}"
    return msgspec.structs.replace(target, port=port, last_port=None, as_written=written)


def with_ports(target: Target, port: str = "", protocol: str = "") -> Target:
    """What ``--port`` and ``--protocol`` add; raises TargetError when the target says otherwise itself."""
    if port:
        if target.port is not None:
            raise TargetError(f"port {port} is given apart, but the target names port {target.port} itself")
        given = _port(port, port)
        number, last = given["port"], given["last_port"]
        written = f"{target.as_written}:{number}" if target.as_written else ""
        target = msgspec.structs.replace(target, port=number, last_port=last, as_written=written)
        protocol = protocol or ("" if "/" not in port else given["protocol"])
    if protocol:
        chosen = protocol.upper()
        if chosen == ICMP:
            return msgspec.structs.replace(target, port=None, last_port=None, protocol=ICMP)
        if chosen not in _PROTOCOLS:
            raise TargetError(f"{protocol!r}: protocol must be tcp, udp, sctp or icmp")
        target = msgspec.structs.replace(target, protocol=chosen)
    return target


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
        return _host(parts.hostname, {"protocol": ICMP}, written)
    if port == 0:
        raise TargetError(f"{text!r}: the port must be a number from 1 to 65535")
    return _host(parts.hostname, {"port": port or _SCHEMES[parts.scheme]}, written)


def _split(text: str) -> tuple[str, _Ports]:
    """HOST[:PORT[/PROTOCOL]]; an IPv6 address with a port is in brackets."""
    bracketed = re.match(r"\[(?P<host>[^]]*)\](?::(?P<port>.*))?\Z", text)
    if bracketed:
        return bracketed["host"], _port(bracketed["port"] or "", text)
    if text.count(":") > 1:
        return text, {}
    host, colon, port = text.partition(":")
    if colon and not port:
        raise TargetError(f"{text!r}: a port is missing after the colon")
    return host, _port(port, text)


def _port(text: str, whole: str) -> _Ports:
    """``80``, ``80/udp``, ``8000-8100``."""
    number, slash, protocol = text.partition("/")
    protocol = protocol.upper() if slash else "TCP"
    if protocol not in _PROTOCOLS:
        raise TargetError(f"{whole!r}: protocol must be tcp, udp or sctp")
    if not number:
        return {"port": None, "last_port": None, "protocol": protocol}
    first, dash, last = number.partition("-")
    low, high = _number(first, whole), _number(last, whole) if dash else None
    if high is not None and high < low:
        raise TargetError(f"{whole!r}: the range ends before it begins")
    return {"port": low, "last_port": None if high == low else high, "protocol": protocol}


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise TargetError(f"{whole!r}: {_BAD_PORT}")
    return int(text)


def _host(host: str, ports: _Ports, written: str) -> Target:
    try:
        kind, name = ADDRESS, str(ipaddress.ip_address(host))
    except ValueError:
        kind, name = NAME, host.lower().rstrip(".") + ("." if host.endswith(".") else "")
        if not _NAME.match(host) or host.replace(".", "").isdigit():
            raise TargetError(f"{host!r} is neither a name nor an address; write {FORMS}") from None
    return Target(kind=kind, name=name, as_written=written, **ports)
