"""FieldError: one thing the API server would refuse, in its words (reference semantics 1.2), and constructors for each type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec

from stockade.manifests.paths import Path, dotted, go_quoted


class ErrorType(StrEnum):
    """The ``reason`` of a StatusCause."""

    INVALID = "FieldValueInvalid"
    TYPE_INVALID = "FieldValueTypeInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    REQUIRED = "FieldValueRequired"
    FORBIDDEN = "FieldValueForbidden"
    DUPLICATE = "FieldValueDuplicate"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    NOT_FOUND = "FieldValueNotFound"


_TITLES = {
    ErrorType.INVALID: "Invalid value",
    ErrorType.TYPE_INVALID: "Invalid value",
    ErrorType.NOT_SUPPORTED: "Unsupported value",
    ErrorType.REQUIRED: "Required value",
    ErrorType.FORBIDDEN: "Forbidden",
    ErrorType.DUPLICATE: "Duplicate value",
    ErrorType.TOO_LONG: "Too long",
    ErrorType.TOO_MANY: "Too many",
    ErrorType.NOT_FOUND: "Not found",
}
_WITHOUT_VALUE = frozenset({ErrorType.REQUIRED, ErrorType.FORBIDDEN, ErrorType.TOO_LONG})


class FieldError(msgspec.Struct, frozen=True):
    """``message`` is what kubectl prints for it; ``body`` is the same without the field; ``path`` finds the node in a file."""

    type: ErrorType
    path: Path
    value: Any = None
    detail: str = ""

    @property
    def field(self) -> str:
        return dotted(self.path)

    @property
    def reason(self) -> str:
        return self.type.value

    @property
    def body(self) -> str:
        title = _TITLES[self.type]
        shown = title if self.type in _WITHOUT_VALUE else f"{title}: {quoted(self.value)}"
        return f"{shown}: {self.detail}" if self.detail else shown

    @property
    def message(self) -> str:
        return f"{self.field}: {self.body}"


def quoted(value: Any) -> str:
    """Strings in double quotes, numbers bare, everything else as compact JSON."""
    if isinstance(value, str):
        return go_quoted(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError(ErrorType.INVALID, path, value, detail)


def required(path: Path, detail: str = "") -> FieldError:
    return FieldError(ErrorType.REQUIRED, path, "", detail)


def forbidden(path: Path, detail: str) -> FieldError:
    return FieldError(ErrorType.FORBIDDEN, path, "", detail)


def duplicate(path: Path, value: Any) -> FieldError:
    return FieldError(ErrorType.DUPLICATE, path, value)


def not_found(path: Path, value: Any) -> FieldError:
    return FieldError(ErrorType.NOT_FOUND, path, value)


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    listed = ", ".join(quoted(item) for item in supported)
    return FieldError(ErrorType.NOT_SUPPORTED, path, value, f"supported values: {listed}")


def too_long(path: Path, limit: int) -> FieldError:
    return FieldError(ErrorType.TOO_LONG, path, "", f"may not be more than {limit} bytes")


def each(path: Path, value: Any, check: Callable[[str], list[str]]) -> list[FieldError]:
    """One Invalid error for each text that ``check`` has about ``value``."""
    return [invalid(path, value, detail) for detail in check(value)]


def at_least_zero(path: Path, value: Any) -> list[FieldError]:
    """For counts and durations; absent is fine."""
    wrong = isinstance(value, int) and value < 0
    return [invalid(path, value, "must be greater than or equal to 0")] if wrong else []


def unique(path: Path, value: Any, seen: set[Any]) -> list[FieldError]:
    """Duplicate when ``value`` was seen before; remembers it."""
    if value in seen:
        return [duplicate(path, value)]
    seen.add(value)
    return []
