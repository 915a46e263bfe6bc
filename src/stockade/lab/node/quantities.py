"""Quantities of the API as numbers: ``250m``, ``64Mi``, ``1e3``. Pure.

Rules: apimachinery, resource.Quantity: decimal or binary suffix, or an exponent. Called by ``fields`` (resourceFieldRef) and ``volumes`` (sizeLimit).
"""

from __future__ import annotations

import re
from decimal import Decimal
from math import ceil

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,3}))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def parse(text: object) -> Decimal:
    """Raises ValueError."""
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{str(text)!r} is no quantity")
    number, suffix, exponent = match.groups()
    if suffix in _BINARY:
        return Decimal(number) * (1 << _BINARY[suffix])
    return Decimal(number).scaleb(int(exponent) if exponent else _DECIMAL[suffix or ""])


def in_units(text: object, divisor: object) -> int:
    """How many ``divisor`` a quantity is, rounded up."""
    return ceil(parse(text) / (parse(divisor) or 1))
