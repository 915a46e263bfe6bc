"""Request bodies and answers: JSON, YAML or protobuf in, JSON out. The only place that knows media types of objects.

Bodies are bounded in nesting and in what YAML aliases may grow to: the loop that decodes them serves everybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from stockade.lab.apiserver import failures, protobuf
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.manifests import yamlstream

MAX_DEPTH = 200  # no kind nests a tenth of it
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
    decoders = {JSON: decode_json, YAML: decode_yaml, PROTOBUF: _decode_protobuf}
    decoder = decoders.get(media)
    if decoder is None:
        raise failures.unsupported_media_type(*decoders)
    try:
        return decoder(body)
    except (ValueError, RecursionError) as error:
        raise failures.bad_request(f"the object provided is unrecognized: {error}") from None


def decode_json(body: bytes) -> Any:
    """Raises ValueError (msgspec's errors are such) or, for a nesting beyond Python's own limit, RecursionError."""
    return _bounded(msgspec.json.decode(body))


def _decode_protobuf(body: bytes) -> Any:
    """Schemas nest, and some fields hold JSON."""
    return _bounded(protobuf.decode(body))


def _bounded(value: Any) -> Any:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return value
    message = f"nested more than {MAX_DEPTH} levels deep"
    raise ValueError(message)


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def decode_yaml(body: bytes) -> Any:
    """One document, read as kubectl reads files. Raises ValueError."""
    documents = list(yamlstream.read(body.decode()))
    if len(documents) != 1:
        message = f"yaml: one document is wanted, {len(documents)} were sent"
        raise ValueError(message)
    if isinstance(documents[0], yamlstream.YamlError):
        message = f"yaml: line {documents[0].mark.line}: {documents[0].problem}"
        raise ValueError(message)  # noqa: TRY004 - a document that cannot be read is a value here
    return documents[0].value


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
    warn(response, warnings)
    return response


def warn(response: web.StreamResponse, warnings: Iterable[str]) -> None:
    """Warning headers, which kubectl prints."""
    for text in warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{quoted}"')
