"""YAML scalars are what kubectl reads: a fixed table, and the same answers as kubectl itself (which needs no server for it)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.manifests import yamlstream
from stockade.manifests.scalars import key_text, resolve, to_json

KUBECTL = Path(sys.executable).parent / "kubectl"
needs_kubectl = pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed beside this Python")
HEADER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n"

TABLE = {
    "NO": False, "n": False, "off": False, "False": False, "y": True, "on": True, "YES": True, "true": True,
    "~": None, "null": None, "": None, "nULL": "nULL", "yEs": "yEs",
    "010": 8, "0o10": 8, "0x1F": 31, "0b11": 3, "-0b11": -3, "08": 8, "-010": -8, "1_000": 1000, "1__0": 10, "+12": 12,
    "0": 0, "-0": 0, "0o8": "0o8", "0xZ": "0xZ", "_1": "_1", "0x": "0x", "-": "-", "+": "+", ".": ".",
    "1e3": 1000, "12e03": 12000, "1.": 1, ".5": 0.5, "0.10": 0.1, "1e-7": 1e-7, "1e400": "1e400", ".5_0": 0.5, ".5__0": ".5__0", ".5_": ".5_", "._5": "._5", ".5e1_0": 5e9, "1e21": 1e21,
    "123456.0": 123456, "9223372036854775807": 2**63 - 1, "12345678901234567890": 12345678901234567890.0,
    "12:30": "12:30", "2024-01-01": "2024-01-01", "10.0.0.0": "10.0.0.0", "1.2.3": "1.2.3", "=": "=", "<<": "<<",
    "1e": "1e", "0x1p-2": "0x1p-2", "infinity": "infinity", "nan": "nan", "٣": "٣",
}  # fmt: skip


@pytest.mark.parametrize("text", TABLE)
def test_plain_scalars(text) -> None:
    value = to_json(resolve(text, None, plain=True))
    assert value == TABLE[text]
    assert isinstance(value, bool) == isinstance(TABLE[text], bool)


@pytest.mark.parametrize("text", TABLE)
def test_quoted_scalars_are_text(text) -> None:
    assert resolve(text, None, plain=False) == text


@pytest.mark.parametrize(
    ("text", "tag", "value"),
    [
        ("12", "str", "12"),
        ("12", "float", 12),
        ("yes", "bool", True),
        ("aGk=", "binary", "hi"),
        ("x", "timestamp", "x"),
    ],
)
def test_explicit_tags(text, tag, value) -> None:
    assert to_json(resolve(text, f"tag:yaml.org,2002:{tag}", plain=False)) == value
    assert resolve(text, "!own", plain=True) == text


@pytest.mark.parametrize(
    ("text", "tag"), [("x", "int"), ("1.5", "int"), ("x", "bool"), ("x", "null"), ("&", "binary2")]
)
def test_a_tag_that_does_not_fit_is_an_error(text, tag) -> None:
    if tag == "binary2":
        assert resolve(text, f"tag:yaml.org,2002:{tag}", plain=True) == text, "unknown tags are ignored"
        return
    with pytest.raises(ValueError, match="cannot decode"):
        resolve(text, f"tag:yaml.org,2002:{tag}", plain=True)


@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf"])
def test_json_has_no_such_number(text) -> None:
    with pytest.raises(ValueError, match="unsupported value"):
        to_json(resolve(text, None, plain=True))


@pytest.mark.parametrize(
    ("text", "key"),
    [("n", "false"), ("on", "true"), ("010", "8"), ("1.50", "1.5"), ("1e7", "1e+07"), ("1.0", "1"), ("1e-5", "1e-05"),
     ("1234567.5", "1.2345675e+06"), ("0.1", "0.1"), ("a", "a"), (".inf", ".inf"), ("-2", "-2")],
)  # fmt: skip
def test_keys_become_text(text, key) -> None:
    assert key_text(resolve(text, None, plain=True)) == key


@pytest.mark.parametrize("text", ["~", "", "18446744073709551615"])
def test_keys_that_json_cannot_have(text) -> None:
    with pytest.raises(ValueError, match="unsupported map key"):
        key_text(resolve(text, None, plain=True))


def kubectl(text: str):
    """What kubectl makes of a ConfigMap's data; None when it refuses."""
    command = [str(KUBECTL), "annotate", "--local", "-f", "-", "q/a=b", "-o", "json"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=60, check=False)
    return json.loads(done.stdout).get("data") if done.returncode == 0 else None


def ours(text: str):
    found = list(yamlstream.read(text))
    return found[0].value["data"] if isinstance(found[0], yamlstream.Document) else None


def normal(value):
    """Numbers as floats; booleans stay apart."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return ("number", float(value))


@needs_kubectl
def test_kubectl_reads_the_table_the_same_way() -> None:
    text = HEADER + "".join(f"  k{index}: {scalar}\n" for index, scalar in enumerate(TABLE) if scalar != "-")
    theirs = kubectl(text)
    assert theirs is not None
    assert normal(ours(text)) == normal(theirs)


@needs_kubectl
@pytest.mark.parametrize(
    "data",
    [
        "  n: 1\n  1.50: 2\n  1e7: 3\n  010: 4\n  on: 5\n  1234567.5: 6\n  'y': 7\n",
        "  a: &x {b: 1}\n  c: *x\n  d: {<<: *x, b: 2}\n  e: {b: 3, <<: *x}\n  f: {<<: [{g: 1}, {g: 2, h: 3}]}\n",
        "  a: 1\n  b: 2\n  a: 3\n",
        "  a: |\n    x\n     y\n  b: >-\n    x\n    y\n  c: 'it''s'\n  d: \"\\u00e9\\n\"\n",
        "  a: !!str 12\n  b: !!int '12'\n  c: !!float 3\n  d: !x y\n  e: ! 12\n",
        "  a: .nan\n",
        "  ~: 1\n",
        "  a: [1\n",
        "  a: *missing\n",
        "  a: !!int x\n",
        "  a: {b: c: d}\n",
    ],
)
def test_kubectl_agrees(data) -> None:
    assert normal(ours(HEADER + data)) == normal(kubectl(HEADER + data))


SCALAR = st.text(st.sampled_from("0123456789+-._eExXoObBnNyYtTrRuUfFaAlLsS~"), min_size=1, max_size=8)


@needs_kubectl
@given(st.lists(SCALAR, min_size=20, max_size=60))
@settings(max_examples=8, deadline=None)
def test_kubectl_agrees_on_random_scalars(scalars) -> None:
    text = HEADER + "".join(
        f"  k{index}: {scalar}\n" for index, scalar in enumerate(scalars) if scalar != "-"
    )
    theirs = kubectl(text)
    if theirs is None:  # .inf and the like, or not YAML
        assert ours(text) is None
    else:
        assert normal(ours(text)) == normal(theirs)
