"""Decode request bodies of type ``application/vnd.kubernetes.protobuf`` into the JSON form of the same object.

In: the bytes of a body: ``k8s\\0`` and a runtime.Unknown message that names apiVersion and kind and holds the object.
Out: the object as a plain dict, as a JSON client would have sent it (empty values that only protobuf writes are left out).
Called by the API server's body reader: kubectl from 1.32 on sends ``create …`` and ``auth can-i`` this way and does not
fall back to JSON. Answers are always JSON, so there is no encoder.

Kinds and field numbers come from ``protobuf_fields.txt``, which a program of the tests (tests/lab/apiserver/protobuf) writes from the Go types of
the API; an unknown field is skipped, as protobuf wants, an unknown kind is refused.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from stockade.lab.apiserver.registry import JsonObject

MAGIC = b"k8s\x00"
SCHEMA = "JSONSchemaProps"
_64_BITS = (1 << 64) - 1

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


def decode(body: bytes) -> JsonObject:
    """Raises ValueError, with a text for the client, for what is no such body or is of a kind not known here."""
    if not is_protobuf(body):
        raise ValueError("the body does not start with the Kubernetes protobuf prefix")
    unknown = dict(_fields(memoryview(body)[len(MAGIC) :]))
    meta = {number: _text(value) for number, value in _fields(_bytes(unknown.get(1, b"")))}
    api_version, kind = meta.get(1, ""), meta.get(2, "")
    message = _tables().kinds.get((api_version, kind)) or _everywhere(kind)
    if message is None:
        raise ValueError(
            f'no protobuf decoder for kind "{kind}" of version "{api_version}"; send the object as application/json'
        )
    obj = _message(message, _bytes(unknown.get(2, b"")))
    return {"apiVersion": api_version, "kind": kind, **obj}


def _everywhere(kind: str) -> str | None:
    """Clients name the options of a request by the version of the object that it is about."""
    return kind if kind == "DeleteOptions" else None


def _message(name: str, data: memoryview) -> JsonObject:
    schema = _tables().messages[name]
    obj: JsonObject = {}
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
    """metav1.Time: whole seconds since 1970; none at all is the zero time."""
    seconds = _signed(dict(_fields(_bytes(wire))).get(1, 0))
    return _moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None


def _micro_time(wire: _Wire) -> str | None:
    parts = dict(_fields(_bytes(wire)))
    seconds, nanos = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
    if not seconds and not nanos:
        return None
    if not 0 <= nanos < 10**9:
        raise ValueError("protobuf: a time is out of range")
    return _moment(seconds).replace(microsecond=nanos // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError("protobuf: a time is out of range") from error


def _int_or_string(wire: _Wire) -> int | str:
    """IntOrString: 1 says which, 2 is the number, 3 the name."""
    parts = dict(_fields(_bytes(wire)))
    return _text(parts.get(3, b"")) if _signed(parts.get(1, 0)) else _signed(parts.get(2, 0))


def _json(wire: _Wire) -> Any:
    """A value of any form, written as JSON; nested as deep as JSON may be: what is stored is bounded where bodies are read."""
    raw = dict(_fields(_bytes(wire))).get(1, b"")
    return msgspec.json.decode(_bytes(raw)) if raw else None


def _double(wire: _Wire) -> float:
    return float(struct.unpack("<d", (_signed(wire) & _64_BITS).to_bytes(8, "little"))[0])


def _strings(wire: _Wire) -> list[str]:
    return [_text(value) for number, value in _fields(_bytes(wire)) if number == 1]


def _schema_or_bool(wire: _Wire) -> Any:
    parts = dict(_fields(_bytes(wire)))
    return _message(SCHEMA, _bytes(parts[2])) if 2 in parts else bool(_signed(parts.get(1, 0)))


def _schema_or_list(wire: _Wire) -> Any:
    parts = list(_fields(_bytes(wire)))
    several = [_message(SCHEMA, _bytes(value)) for number, value in parts if number == 2]
    return several or _schema_in(parts)


def _schema_or_strings(wire: _Wire) -> Any:
    parts = list(_fields(_bytes(wire)))
    several = [_text(value) for number, value in parts if number == 2]
    return several or _schema_in(parts)


def _schema_in(parts: list[tuple[int, int | memoryview]]) -> JsonObject | None:
    return next((_message(SCHEMA, _bytes(value)) for number, value in parts if number == 1), None)


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
    wire &= _64_BITS
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
    "microtime": _micro_time,
    "json": _json,
    "double": _double,
    "strings": _strings,
    "JSONSchemaPropsOrBool": _schema_or_bool,
    "JSONSchemaPropsOrArray": _schema_or_list,
    "JSONSchemaPropsOrStringArray": _schema_or_strings,
    "quantity": lambda wire: _text(dict(_fields(_bytes(wire))).get(1, b"")),
    "intstr": _int_or_string,
}


class Tables(msgspec.Struct, frozen=True):
    """``kinds``: (apiVersion, kind) → message; the same kind in another group may be another message."""

    kinds: dict[tuple[str, str], str]
    messages: dict[str, dict[int, Field]]


@cache
def _tables() -> Tables:
    text = resources.files("stockade.lab.apiserver").joinpath("protobuf_fields.txt").read_text()
    found = Tables({}, {})
    for line in text.splitlines():
        name, _, given = line.partition(" = ")
        if name.startswith("@"):
            pairs = (word.partition(":") for word in given.split())
            found.kinds.update({(name[1:], kind): message or kind for kind, _, message in pairs})
        elif not name.startswith("#"):
            found.messages[name] = dict(_field(entry) for entry in given.split(", ") if entry)
    return found


def _field(entry: str) -> tuple[int, Field]:
    """``13 ownerReferences:list/OwnerReference``."""
    number, _, rest = entry.partition(" ")
    name, _, spec = rest.partition(":")
    keep_empty = spec.startswith("*")
    container, slash, type_ = spec.removeprefix("*").rpartition("/")
    return int(number), Field(name, type_, container if slash else "", keep_empty)
