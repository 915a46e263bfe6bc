"""CIDR fields: what the API server refuses, and what it only warns about (V12-V14; KEP-4858).

The server's default reading is lenient: leading zeros are decimal, host bits are masked off, and both earn a warning. With
``strict`` (the server's StrictIPCIDRValidation) they are errors.
"""

from __future__ import annotations

import ipaddress

from stockade.manifests.paths import Path, dotted
from stockade.manifests.validate.errors import FieldError, invalid
from stockade.net.cidr import sloppy_interface

_FORM = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ZEROS = "must not have leading 0s in IP or prefix length"
_MAPPED = "must not have an IPv4-mapped IPv6 address"
_HOST_BITS = "must not have bits set beyond the prefix length"

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def parse(value: str) -> Interface | None:
    """None when even the lenient reading fails."""
    try:
        return sloppy_interface(value)
    except ValueError:
        return None


def cidr(path: Path, value: str, *, strict: bool) -> list[FieldError]:
    parsed = parse(value)
    if parsed is None:
        return [invalid(path, value, _FORM)]
    if not strict:
        return []
    if not _is_standard(value):
        return [invalid(path, value, _ZEROS)]
    found = [invalid(path, value, _MAPPED)] if _is_mapped(parsed) else []
    if parsed.ip != parsed.network.network_address:
        found.append(invalid(path, value, _HOST_BITS))
    return found


def cidr_warnings(path: Path, value: str) -> list[str]:
    """At most: ambiguous host bits, non-standard form, non-canonical IPv6 (the last only when alone)."""
    parsed = parse(value)
    if parsed is None:
        return []
    field = dotted(path)
    network, host = _written(parsed)
    found = []
    if parsed.ip != parsed.network.network_address:
        found.append(
            f'{field}: CIDR value "{value}" is ambiguous in this context (should be "{network}" or "{host}"?)'
        )
    if not _is_standard(value) or _is_mapped(parsed):
        found.append(
            f'{field}: non-standard CIDR value "{value}" will be considered invalid in a future '
            f'Kubernetes release: use "{network}"'
        )
    canonical = f"{parsed.ip}/{parsed.network.prefixlen}"
    if not found and parsed.version == 6 and canonical != value:
        found.append(
            f'{field}: IPv6 CIDR value "{value}" should be in RFC 5952 canonical format ("{canonical}")'
        )
    return found


def _is_standard(value: str) -> bool:
    """No leading zeros, in the address or in the prefix length."""
    address, _, prefix = value.partition("/")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return prefix == str(int(prefix))


def _is_mapped(parsed: Interface) -> bool:
    return isinstance(parsed, ipaddress.IPv6Interface) and parsed.ip.ipv4_mapped is not None


def _written(parsed: Interface) -> tuple[str, str]:
    """The block, and the single address as a block; an IPv4-mapped block is written as IPv4."""
    if (
        isinstance(parsed, ipaddress.IPv6Interface)
        and parsed.ip.ipv4_mapped
        and parsed.network.prefixlen >= 96
    ):
        inner = ipaddress.IPv4Interface(f"{parsed.ip.ipv4_mapped}/{parsed.network.prefixlen - 96}")
        return str(inner.network), f"{inner.ip}/128"
    return str(parsed.network), f"{parsed.ip}/{parsed.max_prefixlen}"
