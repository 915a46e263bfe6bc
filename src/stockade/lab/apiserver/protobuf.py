"""Decode request bodies of type ``application/vnd.kubernetes.protobuf`` into the JSON form of the same object.

In: the bytes of a body: ``k8s\\0`` and a runtime.Unknown message that names apiVersion and kind and holds the object.
Out: the object as a plain dict, as a JSON client would have sent it (empty values that only protobuf writes are left out).
Called by the API server's body reader: kubectl from 1.32 on sends ``create …`` and ``auth can-i`` this way and does not
fall back to JSON. Answers are always JSON, so there is no encoder.

Field numbers come from ``protobuf_fields.txt``; an unknown field is skipped, as protobuf wants, an unknown kind is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import msgspec

MAGIC = b"k8s\x00"

_KINDS = {
    "v1": "Namespace Pod Service ConfigMap Secret ServiceAccount ResourceQuota LimitRange Event Endpoints Binding DeleteOptions",
    "meta.k8s.io/v1": "DeleteOptions",
    "apps/v1": "Deployment ReplicaSet StatefulSet DaemonSet DeleteOptions",
    "batch/v1": "Job CronJob DeleteOptions",
    "networking.k8s.io/v1": "NetworkPolicy Ingress DeleteOptions",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding ClusterRole ClusterRoleBinding DeleteOptions",
    "policy/v1": "PodDisruptionBudget Eviction DeleteOptions",
    "authentication.k8s.io/v1": "TokenRequest",
    "authorization.k8s.io/v1": "SelfSubjectAccessReview SelfSubjectRulesReview",
}
"""Which message a kind of an apiVersion is; the same kind in another group may be another message."""

_EMPTY: tuple[Any, ...] = ("", 0, False, {}, None)


_Wire = int | memoryview | bytes
"""A field's value as it stands on the wire: a number, or the bytes of a string or message."""


class Field(msgspec.Struct, frozen=True):
    """One field of a message; ``container`` is "", "list" or "map"."""

    name: str
    type: str
    container: str
    keep_empty: bool

    @property
    def inline(self) -> bool:
        return self.name == "^"


def is_protobuf(body: bytes) -> bool:
    return body.startswith(MAGIC)


def decode(body: bytes) -> dict[str, Any]:
    """Raises ValueError, with a text for the client, for what is no such body or is of a kind not known here."""
    if not is_protobuf(body):
        raise ValueError("the body does not start with the Kubernetes protobuf prefix")
    unknown = dict(_fields(memoryview(body)[len(MAGIC) :]))
    meta = {number: _text(value) for number, value in _fields(_bytes(unknown.get(1, b"")))}
    api_version, kind = meta.get(1, ""), meta.get(2, "")
    if kind not in _KINDS.get(api_version, "").split():
        raise ValueError(
            f'no protobuf decoder for kind "{kind}" of version "{api_version}"; send the object as application/json'
        )
    obj = _message(kind, _bytes(unknown.get(2, b"")))
    return {"apiVersion": api_version, "kind": kind, **obj}


def _message(name: str, data: memoryview) -> dict[str, Any]:
    schema = _schema()[name]
    obj: dict[str, Any] = {}
    for number, wire in _fields(data):
        field = schema.get(number)
        if field is None:
            continue
        if field.container == "map":
            key, value = _map_entry(field.type, _bytes(wire))
            obj.setdefault(field.name, {})[key] = value
            continue
        value = _value(field.type, wire)
        if field.inline:
            obj.update(value)
        elif field.container == "list":
            obj.setdefault(field.name, []).append(value)
        elif field.keep_empty or value not in _EMPTY:
            obj[field.name] = value
    return obj


def _map_entry(value_type: str, data: memoryview) -> tuple[str, Any]:
    entry = dict(_fields(data))
    return _text(entry.get(1, b"")), _value(value_type, entry.get(2, b""))


def _value(type_: str, wire: _Wire) -> Any:
    scalar = _SCALARS.get(type_)
    return scalar(wire) if scalar else _message(type_, _bytes(wire))


def _time(wire: _Wire) -> str | None:
    """metav1.Time and MicroTime: seconds and nanoseconds since 1970; none at all is the zero time."""
    parts = dict(_fields(_bytes(wire)))
    seconds, nanos = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
    if not seconds and not nanos:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError("protobuf: a time is out of range") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if nanos else "%Y-%m-%dT%H:%M:%SZ")


def _int_or_string(wire: _Wire) -> int | str:
    """IntOrString: 1 says which, 2 is the number, 3 the name."""
    parts = dict(_fields(_bytes(wire)))
    return _text(parts.get(3, b"")) if _signed(parts.get(1, 0)) else _signed(parts.get(2, 0))


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The wire format: (field number, value); a number for varint and fixed width, else the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(data, at)
        elif wire_type in {1, 5}:
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"protobuf: wire type {wire_type} is not used by the Kubernetes API")
        if at + size > len(data):
            raise ValueError("protobuf: the message ends in the middle of a field")
        chunk = data[at : at + size]
        at += size
        yield number, chunk if wire_type == 2 else int.from_bytes(chunk, "little")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("protobuf: the message ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("protobuf: a number is longer than 64 bits")


def _signed(wire: _Wire) -> int:
    """int32 and int64 are sent as 64-bit two's complement."""
    if not isinstance(wire, int):
        raise ValueError("protobuf: text where a number belongs")  # noqa: TRY004 - bad input, not a bug
    wire &= (1 << 64) - 1
    return wire - (1 << 64) if wire >> 63 else wire


def _bytes(wire: _Wire) -> memoryview:
    if isinstance(wire, int):
        raise ValueError("protobuf: a number where text or a message belongs")  # noqa: TRY004 - bad input, not a bug
    return memoryview(wire)


def _text(wire: _Wire) -> str:
    try:
        return str(_bytes(wire), "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("protobuf: a string is not UTF-8") from error


_SCALARS: dict[str, Callable[[_Wire], Any]] = {
    "": _text,
    "int": _signed,
    "bool": lambda wire: bool(_signed(wire)),
    "bytes": lambda wire: base64.b64encode(_bytes(wire)).decode(),
    "time": _time,
    "quantity": lambda wire: _text(dict(_fields(_bytes(wire))).get(1, b"")),
    "intstr": _int_or_string,
}


@cache
def _schema() -> dict[str, dict[int, Field]]:
    text = resources.files("stockade.lab.apiserver").joinpath("protobuf_fields.txt").read_text()
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    named = (line.split(" = ") for line in lines)
    return {name: dict(_field(entry) for entry in entries.split(", ") if entry) for name, entries in named}


def _field(entry: str) -> tuple[int, Field]:
    """``13 ownerReferences:list/OwnerReference``."""
    number, _, rest = entry.partition(" ")
    name, _, spec = rest.partition(":")
    keep_empty = spec.startswith("*")
    container, slash, type_ = spec.removeprefix("*").rpartition("/")
    return int(number), Field(name, type_, container if slash else "", keep_empty)
