"""The string formats that a schema may ask for; others are no condition. Called by ``values``.

Rules: the list of supported formats in apiextensions (``supportedFormats``); int32 and the like belong to numbers.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from urllib.parse import urlsplit

_MAC = re.compile(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")
_HOSTNAME = re.compile(
    r"(?=.{1,253}$)[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*"
)
_DURATION = re.compile(r"[-+]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w))+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def _reads(*readers: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        for reader in readers:
            try:
                reader(text)
            except (ValueError, binascii.Error):
                return False
        return True

    return fits


def _cidr(text: str) -> None:
    if "/" not in text:
        raise ValueError(text)
    ip_network(text, strict=False)


def _moment(text: str) -> None:
    if "T" not in text.upper() or datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(text)


def _base64(text: str) -> None:
    base64.b64decode(text, validate=True)


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "ipv4": _reads(IPv4Address),
    "ipv6": _reads(IPv6Address),
    "cidr": _reads(_cidr),
    "mac": lambda text: _MAC.fullmatch(text) is not None,
    "hostname": lambda text: _HOSTNAME.fullmatch(text) is not None,
    "date": _reads(date.fromisoformat),
    "date-time": _reads(_moment),
    "datetime": _reads(_moment),
    "duration": lambda text: _DURATION.fullmatch(text) is not None,
    "byte": _reads(_base64),
    "uuid": _reads(uuid.UUID),
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "uri": lambda text: bool(urlsplit(text).scheme),
}
