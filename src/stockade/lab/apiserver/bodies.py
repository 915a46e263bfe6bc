"""Request bodies and answers: JSON, YAML or protobuf in, JSON out. The only place that knows media types of objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import yaml
from aiohttp import web

from stockade.lab.apiserver import failures, protobuf
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"


async def read_object(request: web.Request, kind: Kind | None = None) -> JsonObject:
    """The object in the body; with ``kind``, its apiVersion and kind must agree or be absent."""
    body = await request.read()
    media = request.content_type if "Content-Type" in request.headers else JSON
    obj = _decode(media, body)
    if not isinstance(obj, dict):
        raise failures.bad_request(f"the object provided is unrecognized: {_shown(body)}")
    if kind is not None:
        check_kind(kind, obj)
    return obj


def _decode(media: str, body: bytes) -> Any:
    if media == PROTOBUF:
        return _decode_protobuf(body)
    try:
        if media == JSON:
            return msgspec.json.decode(body)
        if media == YAML:
            return yaml.safe_load(body)
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise failures.bad_request(f"the object provided is unrecognized: {error}") from None
    raise failures.unsupported_media_type(JSON, YAML, PROTOBUF)


def _decode_protobuf(body: bytes) -> JsonObject:
    try:
        return protobuf.decode(body)
    except ValueError as error:
        raise failures.bad_request(f"the object provided is unrecognized: {error}") from None


def check_kind(kind: Kind, obj: JsonObject) -> None:
    given = (obj.get("apiVersion") or kind.api_version, obj.get("kind") or kind.kind)
    if given != (kind.api_version, kind.kind):
        message = (
            f"{given[1]} in version {given[0]!r} cannot be handled as a {kind.kind}: "
            f"the request is for {kind.kind} in version {kind.api_version!r}"
        )
        raise failures.bad_request(message.replace("'", '"'))
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        message = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: cannot unmarshal'
        raise failures.bad_request(
            f"{message} into Go struct field {kind.kind}.metadata of type v1.ObjectMeta"
        )


def _shown(body: bytes) -> str:
    return body[:80].decode(errors="replace")


def answer(obj: JsonObject, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    return answer_raw(msgspec.json.encode(obj), status, warnings)


def answer_raw(body: bytes, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    response = web.Response(body=body, status=status, content_type=JSON)
    for text in warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response
