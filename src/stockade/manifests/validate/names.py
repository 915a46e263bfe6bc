"""Forms of names: DNS labels and subdomains, port names, port numbers, label keys and values.

In: a string. Out: every text the API server would give about it, empty when the form is right (reference semantics 1.3: V1, V3,
V4, V20, V21, V22; apimachinery's validation rules).
"""

from __future__ import annotations

import re

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"

_ENDS = "and must start and end with an alphanumeric character"
_LABEL_TEXT = f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS}"
_SUBDOMAIN_TEXT = (
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ENDS}"
)
_DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_KEY_TEXT = f"must consist of alphanumeric characters, '-', '_' or '.', {_ENDS}"
_VALUE_TEXT = (
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {_ENDS}"
)


def _form(text: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def _size(value: str) -> int:
    return len(value.encode())


def dns_label(value: str) -> list[str]:
    """Namespaces and containers."""
    found = [_too_long(63)] if _size(value) > 63 else []
    if not re.fullmatch(_LABEL, value):
        dots = re.fullmatch(_SUBDOMAIN, value)
        found.append("must not contain dots" if dots else _form(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return found


def dns_subdomain(value: str) -> list[str]:
    """Most objects' names."""
    found = [_too_long(253)] if _size(value) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, value):
        found.append(_form(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return found


def dns1035_label(value: str) -> list[str]:
    """Services."""
    found = [_too_long(63)] if _size(value) > 63 else []
    if not re.fullmatch(_DNS1035, value):
        found.append(_form(_DNS1035_TEXT, _DNS1035, "my-name", "abc-123"))
    return found


def port_name(value: str) -> list[str]:
    found = [_too_long(15)] if _size(value) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def label_key(value: str) -> list[str]:
    prefix, slash, name = value.partition("/")
    if "/" in name:
        form = _form(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc")
        suffix = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {form}{suffix}"]
    if not slash:
        prefix, name = "", value
    found = []
    if slash:
        about = dns_subdomain(prefix) if prefix else ["must be non-empty"]
        found = [f"prefix part {text}" for text in about]
    if not name:
        found.append("name part must be non-empty")
    elif _size(name) > 63:
        found.append(f"name part {_too_long(63)}")
    if not re.fullmatch(_KEY, name):
        found.append(f"name part {_form(_KEY_TEXT, _KEY, 'MyName', 'my.name', '123-abc')}")
    return found


def label_value(value: str) -> list[str]:
    found = [_too_long(63)] if _size(value) > 63 else []
    if not re.fullmatch(_VALUE, value):
        found.append(_form(_VALUE_TEXT, _VALUE, "MyValue", "my_value", "12345"))
    return found
