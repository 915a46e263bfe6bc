"""Writes an OpenAPI v2 document as protobuf: the message ``openapi.v2.Document`` of gnostic, which kubectl reads.

In: the document in its JSON form. Out: the bytes. Called by ``openapi_v2``. A field that the tables lack is an error of ours
(KeyError), so that nothing is left out in silence.

A message has a line of fields: number, JSON name, form. The number ``22.1`` is field 1 of a message that is field 22 and holds nothing
else (gnostic wraps lists, maps and alternatives in messages of their own). A list is a repeated field. The forms:

    text, bool    scalars
    NAME          a message
    map/NAME      an object with free names: repeated entries {1 name, 2 NAME}
    parameter     a message that depends on where the parameter stands (its ``in``)
    x             an extension; its name starts with x-: an entry {1 name, 2 {2 the value as YAML}}

The name ``^`` is the object itself: a message that only wraps another.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

_MESSAGES = {
    "Document": "1 swagger:text, 2 info:Info, 8.2 paths:map/PathItem, 9.1 definitions:map/Schema",
    "Info": "1 title:text, 2 version:text",
    "PathItem": "2 get:Operation, 3 put:Operation, 4 post:Operation, 5 delete:Operation, 8 patch:Operation, 9 parameters:parameter",
    "Operation": "3 description:text, 5 operationId:text, 6 produces:text, 7 consumes:text, 8 parameters:parameter, "
    "9.1 responses:map/ResponseValue, 13 x-:x",
    "ResponseValue": "1 ^:Response",
    "Response": "1 description:text, 2.1 schema:Schema",
    "parameter in body": "1.1 ^:BodyParameter",
    "BodyParameter": "1 description:text, 2 name:text, 3 in:text, 4 required:bool, 5 schema:Schema",
    "parameter in query": "1.2.3 ^:QueryParameter",
    "QueryParameter": "1 required:bool, 2 in:text, 3 description:text, 4 name:text, 6 type:text, 20 uniqueItems:bool",
    "parameter in path": "1.2.4 ^:PathParameter",
    "PathParameter": "1 required:bool, 2 in:text, 3 description:text, 4 name:text, 5 type:text, 19 uniqueItems:bool",
    "Schema": "1 $ref:text, 2 format:text, 4 description:text, 19 required:text, 21.1 additionalProperties:Schema, "
    "22.1 type:text, 23.1 items:Schema, 25.1 properties:map/Schema, 31 x-:x",
}
_VARINT, _BYTES = 0, 2
"""Wire types: a number; a length and so many bytes."""


class _Field(msgspec.Struct, frozen=True):
    """``wrappers`` are the numbers of the messages around the field, the outermost first."""

    number: int
    wrappers: tuple[int, ...]
    form: str


def encode(document: dict[str, Any]) -> bytes:
    return _message("Document", document)


@cache
def _fields(message: str) -> dict[str, _Field]:
    fields = {}
    for line in _MESSAGES[message].split(", "):
        numbers, _, declared = line.partition(" ")
        name, _, form = declared.partition(":")
        *wrappers, number = (int(part) for part in numbers.split("."))
        fields[name] = _Field(number, tuple(wrappers), form)
    return fields


def _message(name: str, obj: dict[str, Any]) -> bytes:
    fields = _fields(name)
    if "^" in fields:
        return _field(fields["^"], "^", obj)
    return b"".join(
        _field(fields["x-" if key.startswith("x-") else key], key, value) for key, value in obj.items()
    )


def _field(field: _Field, name: str, value: Any) -> bytes:
    """A field with its number, inside its wrappers."""
    form, _, item = field.form.partition("/")
    if form == "map":
        entries = (_entry(key, _message(item, each)) for key, each in value.items())
        written = _repeated(field.number, entries)
    elif form == "x":
        written = _repeated(field.number, [_entry(name, _bytes(2, msgspec.json.encode(value)))])
    elif form == "bool":
        written = _number(field.number << 3 | _VARINT) + _number(int(value))
    else:
        values = value if isinstance(value, list) else [value]
        written = _repeated(field.number, (_content(form, each) for each in values))
    for number in reversed(field.wrappers):
        written = _bytes(number, written)
    return written


def _content(form: str, value: Any) -> bytes:
    if form == "text":
        return str(value).encode()
    return _message(f"parameter in {value['in']}" if form == "parameter" else form, value)


def _entry(name: str, value: bytes) -> bytes:
    return _bytes(1, name.encode()) + _bytes(2, value)


def _repeated(number: int, contents: Iterable[bytes]) -> bytes:
    return b"".join(_bytes(number, content) for content in contents)


def _bytes(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """A base-128 varint."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
