"""Status failures: every error a client sees, with the words of a real API server.

Each function returns the ApiError to raise. The rules for ``causes`` and messages are those of apimachinery's ``errors``
and ``field`` packages: kubectl prints Invalid from the causes and everything else from the message.
"""

from __future__ import annotations

import msgspec

from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import ApiError, JsonObject

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class Cause(msgspec.Struct, frozen=True):
    """One invalid field: ``reason`` like FieldValueInvalid, ``message`` like ``Invalid value: 70000: must be …``."""

    reason: str
    message: str
    field: str


def failure(code: int, reason: str, message: str, details: JsonObject | None = None) -> ApiError:
    status: JsonObject = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    if details is not None:
        status["details"] = details
    return ApiError(status)


def _details(kind: Kind, name: str, **more: object) -> JsonObject:
    """As apimachinery builds them: without empty members; ``kind`` is the plural."""
    details: JsonObject = {"name": name, "group": kind.group, "kind": kind.plural, **more}
    return {key: value for key, value in details.items() if value}


def not_found(kind: Kind, name: str) -> ApiError:
    return failure(404, "NotFound", f'{kind.resource} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> ApiError:
    return failure(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = MODIFIED) -> ApiError:
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return failure(409, "Conflict", message, _details(kind, name))


def forbidden(kind: Kind, name: str, why: str, causes: list[Cause] | None = None) -> ApiError:
    message = (
        f'{kind.resource} "{name}" is forbidden: {why}' if name else f"{kind.resource} is forbidden: {why}"
    )
    more = {"causes": [msgspec.to_builtins(cause) for cause in causes]} if causes else {}
    return failure(403, "Forbidden", message, _details(kind, name, **more))


def invalid(kind: Kind, name: str, causes: list[Cause]) -> ApiError:
    """422; several errors stand in brackets, equal ones once."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: JsonObject = {"name": name, "group": kind.group, "kind": kind.kind}
    details["causes"] = [msgspec.to_builtins(cause) for cause in causes]
    message = f'{kind.group_kind} "{name}" is invalid: {joined}'
    return failure(422, "Invalid", message, {key: value for key, value in details.items() if value})


def bad_request(message: str) -> ApiError:
    return failure(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return failure(401, "Unauthorized", "Unauthorized")


def expired(asked: int, oldest: int) -> ApiError:
    return failure(410, "Expired", f"too old resource version: {asked} ({oldest})")


def too_large_revision(asked: int, newest: int) -> ApiError:
    """Nothing will make it appear soon: the client lists again."""
    message = f"Too large resource version: {asked}, current: {newest}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return failure(504, "Timeout", f"Timeout: {message}", {"causes": causes, "retryAfterSeconds": 1})


def unknown_path() -> ApiError:
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed(
    message: str = "the server does not allow this method on the requested resource",
) -> ApiError:
    return failure(405, "MethodNotAllowed", message, {})


def unsupported_media_type(*accepted: str) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return failure(415, "UnsupportedMediaType", message)
