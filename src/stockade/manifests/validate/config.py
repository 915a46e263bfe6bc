"""ConfigMap and Secret: their keys, their size, and what ``immutable`` freezes.

In: the raw object. Out: FieldErrors with the API server's texts (apimachinery's IsConfigMapKey; core/v1 validation). Keys become names of files in volumes,
so that what leads elsewhere must be refused here.
"""

from __future__ import annotations

import base64
import binascii
import re

from stockade.manifests.validate import meta, names
from stockade.manifests.validate.access import JsonObject, child
from stockade.manifests.validate.errors import FieldError, forbidden, invalid, too_long

MOST_BYTES = 1024 * 1024
_LONGEST_KEY = 253
_KEY = "[-._a-zA-Z0-9]+"
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{_KEY}')"
)
_FROZEN = "field is immutable when `immutable` is set"


def validate(obj: JsonObject) -> list[FieldError]:
    errors = meta.metadata(obj, names.dns_subdomain)
    size = 0
    for field in ("data", "binaryData"):
        for key, value in child(obj, field).items():
            errors += [invalid((f"{field}[{key}]",), key, text) for text in _key_errors(key)]
            size += _size(value, encoded=field == "binaryData" or obj.get("kind") == "Secret")
    if size > MOST_BYTES:
        errors.append(too_long(("data",), MOST_BYTES))
    return errors


def _key_errors(key: str) -> list[str]:
    errors = []
    if len(key.encode(errors="surrogatepass")) > _LONGEST_KEY:
        errors.append(f"must be no more than {_LONGEST_KEY} characters")
    if not re.fullmatch(_KEY, key):
        errors.append(_KEY_TEXT)
    if key in (".", ".."):
        errors.append(f"must not be '{key}'")
    elif key.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def _size(value: object, *, encoded: bool) -> int:
    if not isinstance(value, str):
        return 0
    if not encoded:
        return len(value.encode(errors="surrogatepass"))
    try:
        return len(base64.b64decode(value))
    except (ValueError, binascii.Error):
        return len(value)


def validate_update(new: JsonObject, old: JsonObject) -> list[FieldError]:
    errors = meta.metadata_update(new, old)
    if new.get("kind") == "Secret" and new.get("type") != old.get("type"):
        errors.append(meta.immutable(("type",), new.get("type")))
    if old.get("immutable"):
        if not new.get("immutable"):
            errors.append(forbidden(("immutable",), _FROZEN))
        errors += [
            forbidden((field,), _FROZEN)
            for field in ("data", "binaryData")
            if child(new, field) != child(old, field)
        ]
    return errors
