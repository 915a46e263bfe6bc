"""What a YAML scalar means to kubectl: the resolution rules of its YAML library, which are neither YAML 1.1 nor 1.2.

In: the text of a scalar, its explicit tag, and whether it was written plain. Out: the JSON value that the API server receives.
``NO``, ``y`` and ``on`` are booleans, ``010`` and ``0o10`` are 8, ``1_000`` is 1000; ``12:30`` and dates stay text; the key ``n``
becomes ``"false"``. Called by ``manifests.yamlstream``; tested against kubectl itself. (Rules: sigs.k8s.io/yaml.)
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct

Scalar = str | int | float | bool | None

_PREFIX = "tag:yaml.org,2002:"
_RESOLVABLE = frozenset({"bool", "int", "float", "null", "timestamp"})
_WORDS: dict[str, Scalar] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {form: True for word in ("y", "yes", "true", "on") for form in (word, word.title(), word.upper())}
_WORDS |= {form: False for word in ("n", "no", "false", "off") for form in (word, word.title(), word.upper())}
_WORDS |= {".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan}
_WORDS |= {f"{sign}.{word}": math.inf for sign in ("", "+") for word in ("inf", "Inf", "INF")}
_WORDS |= {f"-.{word}": -math.inf for word in ("inf", "Inf", "INF")}

_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DOTTED = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")  # read by other rules than the rest
_LONGEST_NUMBER = 400  # longer ones overflow; Python refuses huge conversions
_EXACT = 1e21  # from here on Go writes floats with an exponent, and they stay floats


def resolve(text: str, tag: str | None, *, plain: bool) -> Scalar:
    """The value as the YAML library sees it. Raises ValueError when an explicit tag does not fit."""
    if tag is None:
        return _untagged(text) if plain else text
    short = tag.removeprefix(_PREFIX)
    if short == "binary":
        try:
            kept = text.replace("\n", "").replace("\r", "")
            return base64.b64decode(kept, validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError) as error:
            raise ValueError("!!binary value contains invalid base64 data") from error
    if short not in _RESOLVABLE or not tag.startswith(_PREFIX):
        return text
    value = _untagged(text)
    if short == "float" and type(value) is int:
        return float(value)
    if _kind(value) != short and short != "timestamp":
        message = f"cannot decode !!{_kind(value)} `{text}` as a !!{short}"
        raise ValueError(message)
    return value


def to_json(value: Scalar) -> Scalar:
    """The value after its trip through JSON: whole floats become integers, and what JSON cannot write is refused."""
    if isinstance(value, float):
        if not math.isfinite(value):
            shown = "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
            message = f"json: unsupported value: {shown}"
            raise ValueError(message)
        if value.is_integer() and abs(value) < _EXACT:
            return _fitting(int(value))
        return value
    return _fitting(value) if type(value) is int else value


def key_text(value: Scalar) -> str:
    """The JSON object key that a mapping key becomes. Raises ValueError for null and for integers beyond 64 bits."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _go_float(value)
    if value is None or not -(2**63) <= value < 2**63:
        shown = "null" if value is None else value
        message = f"unsupported map key: {shown}"
        raise ValueError(message)
    return str(value)


def _untagged(text: str) -> Scalar:
    first = text[:1]
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER or not first.isascii() or first not in ".+-0123456789":
        return text
    if first == ".":
        return _float(text) if _DOTTED.fullmatch(text) else text
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        number = _integer(digits)
        signed = digits[0] in "+-"
        if -(2**63) <= number < (2**63 if signed else 2**64):
            return number
    if _FLOAT.fullmatch(digits):
        value = _float(digits)
        return text if isinstance(value, str) else value
    return text


def _float(text: str) -> float | str:
    """Text when it overflows, as there."""
    value = float(text)
    return text if math.isinf(value) else value


def _integer(digits: str) -> int:
    sign = -1 if digits.startswith("-") else 1
    body = digits.lstrip("+-").lower()
    if body[:2] in {"0x", "0b", "0o"}:
        return sign * int(body, 0)
    return sign * int(body, 8 if body.startswith("0") else 10)


def _kind(value: Scalar) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


def _fitting(value: Scalar) -> Scalar:
    """Integers beyond 64 bits are read back from JSON as floats."""
    fits = not isinstance(value, int) or -(2**63) <= value < 2**63
    return value if fits else float(value or 0)


def _go_float(value: float) -> str:
    """Go's shortest form of a 32-bit float, ``%g``."""
    narrow = _single(value)
    if not math.isfinite(narrow):
        return ".nan" if math.isnan(narrow) else (".inf" if narrow > 0 else "-.inf")
    for precision in range(9):
        shown = f"{narrow:.{precision}e}"
        if _single(float(shown)) == narrow:
            break
    mantissa, _, exponent = shown.partition("e")
    if -4 <= int(exponent) < 6:
        return f"{float(shown):.{max(0, len(mantissa.partition('.')[2]) - int(exponent))}f}"
    return f"{mantissa}e{int(exponent):+03d}"


def _single(value: float) -> float:
    try:
        narrowed: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return narrowed
