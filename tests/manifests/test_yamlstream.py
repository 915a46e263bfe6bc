"""Streams of documents: what is one, where things are, and what is refused."""

from __future__ import annotations

import json

import pytest

from stockade.manifests.yamlstream import Document, Mark, YamlError, read


def values(text: str) -> list:
    return [found.value if isinstance(found, Document) else found.problem for found in read(text)]


def error(text: str) -> tuple[str, Mark]:
    (found,) = read(text)
    assert isinstance(found, YamlError), found
    return found.problem, found.mark


def test_documents() -> None:
    assert values("a: 1\n---\n# nothing\n---\nb: 2\n--- # note\nc: 3\n...\n") == [
        {"a": 1},
        {"b": 2},
        {"c": 3},
    ]
    assert values("") == values("# nothing\n") == values("---\n---\n") == []
    assert "invalid document separator" in values("--- {a: 1}\n")[0]
    assert values("a: 1\r\n---\r\nb: 2\r\n") == [{"a": 1}, {"b": 2}]
    assert values('{"a": [1, null, "x"]}\n') == [{"a": [1, None, "x"]}]


def test_a_syntax_error_ends_its_own_document_only() -> None:
    first, second, third = read("a: 1\n---\nb: [1\nc: 2\n---\nd: 4\n")
    assert isinstance(second, YamlError)
    assert second.mark == Mark(4, 2) or second.mark.line == 4
    assert (first.value, third.value) == ({"a": 1}, {"d": 4})


def test_positions() -> None:
    text = (
        "a: 1\n---\n# note\nspec:\n  egress:\n  - ports:\n    - {port: 80, endPort: 90}\n  'x y': |\n    t\n"
    )
    _, document = read(text)
    end = ("spec", "egress", 0, "ports", 0, "endPort")
    marks = document.marks([end, ("spec", "x y"), ("spec", "egress", 0, "to", 3, "ipBlock")])
    assert document.mark == Mark(4, 1)
    assert marks.of(end) == Mark(7, 27)
    assert marks.of(("spec", "egress", 0, "ports", 0, "endPort"), key=True) == Mark(7, 18)
    assert marks.of(("spec", "x y"), key=True) == Mark(8, 3)
    assert marks.of(("spec", "egress", 0, "to", 3, "ipBlock")) == Mark(6, 5), "the nearest node above"
    assert marks.of(()) == Mark(4, 1)


def test_positions_in_json() -> None:
    (document,) = read('\n{\n  "a": {"b": [1,\n   2]}}\n')
    assert document.mark == Mark(2, 1)
    marks = document.marks([("a", "b", 1)])
    assert marks.of(("a", "b", 1)) == Mark(4, 4)
    assert marks.of(("a", "b"), key=True) == Mark(3, 9)


def test_positions_of_values_on_one_line() -> None:
    """JSON Lines, and JSON after JSON: each value is a document of its own."""
    documents = list(read('{"a": 1} {"b":\n 2}\n{"c": [{"d": 3}, {}, {"e": 4}]}'))
    assert [document.mark for document in documents] == [Mark(1, 1), Mark(1, 10), Mark(3, 1)]
    assert documents[1].marks([("b",)]).of(("b",), key=True) == Mark(1, 11)
    assert documents[1].marks([("b",)]).of(("b",)) == Mark(2, 2)
    assert documents[2].marks([("c", 2, "e")]).of(("c", 2, "e")) == Mark(3, 28)


def test_what_follows_the_first_document_is_not_read() -> None:
    """As kubectl; but silence would be dangerous, so its place is kept."""
    for text, mark in (
        ("a: 1\n...\nb: 2\n", Mark(3, 1)),
        ("{a: 1}\nx\n", Mark(2, 1)),
        ("a: 1\n...\n}\n", Mark(3, 1)),
    ):
        (found,) = read(text)
        assert (found.value, found.ignored) == ({"a": 1}, mark)
    assert [found.ignored for found in read("a: 1\n...\n# end\n---\nb: 2\n...\n")] == [None, None]


def test_duplicate_keys_are_reported_and_the_last_counts() -> None:
    for text in ("a: {b: 1, c: 2, b: 3}\n", '{"a": {"b": 1, "c": 2, "b": 3}}'):
        (document,) = read(text)
        assert document.value == {"a": {"b": 3, "c": 2}}
        assert document.duplicates == (("a", "b"),)


def test_anchors_are_copied() -> None:
    (document,) = read("a: &x {b: [1]}\nc: *x\nd: {<<: *x, e: 1}\n")
    assert document.value == {"a": {"b": [1]}, "c": {"b": [1]}, "d": {"b": [1], "e": 1}}
    document.value["a"]["b"].append(2)
    assert document.value["c"] == document.value["c"] == {"b": [1]}
    assert document.value["d"]["b"] == [1]


@pytest.mark.parametrize(
    ("text", "problem", "mark"),
    [
        ("a: *x\n", "unknown anchor 'x' referenced", Mark(1, 4)),
        ("a: &a [*a]\n", "anchor 'a' value contains itself", Mark(1, 8)),
        ("[1]: 2\n", "a key must be a scalar", Mark(1, 1)),
        ("a: 1\nb: {{ .Values.x }}\n", "a key must be a scalar", Mark(2, 5)),
        ("~: 2\n", "unsupported map key: null", Mark(1, 1)),
        ("a:\n  b: .nan\n", "json: unsupported value: NaN", Mark(2, 6)),
        ("<<: 1\n", "map merge requires map or sequence of maps as the value", Mark(1, 1)),
        ("a: b: c\n", "mapping values are not allowed in this context", Mark(1, 5)),
        ("a: é\nb: \x01\n", "control characters are not allowed", Mark(2, 4)),
        ("a: \ud800\n", "surrogates not allowed", None),
    ],
)
def test_errors_have_a_place(text, problem, mark) -> None:
    found = error(text)
    assert found[0] == problem
    assert mark is None or found[1] == mark


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def test_a_billion_laughs_are_refused() -> None:
    assert error(laughs(9))[0] == "document contains excessive aliasing"
    assert len(values(laughs(3))[0]["a2"]) == 10


def test_nested_aliases_count_for_depth() -> None:
    deep = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
    assert error(deep)[0] == "nested more than 100 levels deep"


@pytest.mark.parametrize(
    "text", ["[" * 5000, '{"a":' * 5000, "- " * 5000, json.dumps(eval("[" * 150 + "]" * 150))]
)
def test_deep_nesting_is_refused(text) -> None:
    assert "nested" in error(text)[0] or "nesting" in error(text)[0]


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert values('{"a": "\\ud800", "b": "\\ud83d\\ude00"}') == [{"a": "\ufffd", "b": "\U0001f600"}]


def test_aliases_in_measure_are_read() -> None:
    """The limit is the YAML library's: a share of all nodes that shrinks with their number."""
    text = "a: &a {x: 1}\nb:\n" + "".join(f"  k{n}: *a\n" for n in range(40_000))
    assert len(values(text)[0]["b"]) == 40_000
