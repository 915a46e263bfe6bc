"""Manifests as YAML: what is written is what is read, by the reader that reads as kubectl does."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stockade.manifests import yamlstream
from stockade.report.manifest_text import documents, scalar


def read(text: str) -> list:
    return [document.value for document in yamlstream.read(text)]


def test_block_style():
    item = {"kind": "X", "spec": {"podSelector": {}, "list": [{"a": [1, 2], "b": "c"}, "d"], "none": []}}
    assert documents([item]) == (
        "kind: X\nspec:\n  podSelector: {}\n  list:\n  - a:\n    - 1\n    - 2\n    b: c\n  - d\n  none: []\n"
    )


@pytest.mark.parametrize(
    "value",
    [
        "y",
        "n",
        "No",
        "on",
        "true",
        "null",
        "~",
        "",
        "1",
        "0x1f",
        "1e3",
        "1_000",
        ".inf",
        "2001-01-01",
        "a: b",
        "a #",
    ],
)
def test_strings_that_look_like_something_else_are_quoted(value):
    assert scalar(value).startswith('"')
    assert read(documents([{"labels": {"k": value, value: "v"}}])) == [{"labels": {"k": value, value: "v"}}]


@pytest.mark.parametrize(
    "value", ["web", "kube-dns", "networking.k8s.io/v1", "kubernetes.io/metadata.name", "Egress"]
)
def test_names_stand_as_they_are(value):
    assert scalar(value) == value


_labels = st.text(alphabet="aynoef01xX-_.~:# /", max_size=6)
_values = st.recursive(
    _labels | st.integers(0, 65535),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_labels, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(_labels, _values, min_size=1, max_size=3), min_size=1, max_size=3))
def test_two_readers_of_different_age_agree(items):
    text = documents(items)
    assert read(text) == items
    assert list(yaml.safe_load_all(text)) == items
