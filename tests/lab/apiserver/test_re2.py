"""Patterns as Go reads them. What matches was taken from Go's regexp package."""

from __future__ import annotations

import re
import warnings

import pytest

from stockade.lab.apiserver.re2 import compile_go


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"^\PC*$", "plain text é 日本", True),
        (r"^\PC*$", "a\tb", False),
        (r"^\PC*$", "\u00ad", False),  # Cf
        (r"^\PC*$", "\u0378", False),  # not assigned
        (r"^\pL+$", "Straße", True),
        (r"^\p{Lu}\p{Ll}+$", "Été", True),
        (r"^\p{^Lu}$", "A", False),
        (r"^[\p{Nd}_-]+$", "٣_-", True),
        (r"^[^\PL]+$", "é", True),
        (r"^[[:alpha:]_]+$", "ab_", True),
        (r"^[[:alpha:]]+$", ":", False),
        (r"^[[a]+$", "[a", True),
        (r"^[]a]+$", "]a", True),
        (r"^[^]a]+$", "]", False),
        (r"^[a||b&&c~~]+$", "|&~", True),
        (r"^[*+?(){1}]+$", "*(1", True),
        (r"^a$", "a\n", False),
        (r"(?m)^a$", "a\nb", True),
        (r"^a\z", "a", True),
        (r"^\d+$", "٣", False),
        (r"^\w+$", "é", False),
        (r"^\Qa.b\E+$", "a.bb", True),
        (r"^\Qa.b\E$", "axb", False),
        (r"^\x{e9}$", "é", True),
        (r"^(?P<x>a)(?<y>b)(?:c)$", "abc", True),
        (r"^a{2,3}?$", "aaa", True),
        (r"^\$$", "$", True),
        (r"^[$]$", "$", True),
        (r"^\[:alpha:\]$", "[:alpha:]", True),
    ],
)
def test_matches(pattern, text, matches):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = compile_go(pattern)
    assert compiled is not None
    assert (compiled.search(text) is not None) == matches


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?=a)",
        r"(?!a)",
        r"(?<=a)b",
        r"(?<!a)b",
        r"(a)\1",
        r"(?P<x>a)(?P=x)",
        r"a*+",
        r"(?>a)",
        r"a\Z",
        "[",
        "(",
        r"[[:nothing:]]",
        "a**",
    ],
)
def test_what_go_refuses(pattern):
    with pytest.raises(re.error):
        compile_go(pattern)


@pytest.mark.parametrize("pattern", [r"\p{Greek}", r"a(?i)b", r"(?U)a+", r"[[:^alpha:]]"])
def test_what_go_alone_can_read(pattern):
    assert compile_go(pattern) is None
