"""Streams are read as kubectl reads them: separators, encodings, JSON, anchors, tags, escapes, block scalars, odd keys.

``kubectl_reads.json`` holds what kubectl 1.37 makes of each input (``reads``: its objects, or null when it gives up); a second test
asks kubectl itself, so that the recording cannot go stale. Scalars alone are in test_scalars.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stockade.manifests import sources, yamlstream

CASES = json.loads(Path(__file__).with_name("kubectl_reads.json").read_text())
KUBECTL = Path(sys.executable).parent / "kubectl"
needs_kubectl = pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed beside this Python")


def data_of(case) -> bytes:
    return case["text"].encode() if "text" in case else bytes.fromhex(case["bytes"])


def kubectl(data: bytes):
    """The objects that kubectl sees, or None; it needs no server for that."""
    command = [str(KUBECTL), "annotate", "--local", "-f", "-", "q/a=b", "-o", "json"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    if done.returncode:
        return None
    text, found, decoder, at = done.stdout.decode().strip(), [], json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        annotations = value["metadata"]["annotations"]
        del annotations["q/a"]
        if not annotations:
            del value["metadata"]["annotations"]
        found.append(value)
    return found


def ours(data: bytes):
    """The same of our reader; kubectl takes Lists apart and wants a kind."""
    found = []
    for document in yamlstream.read(sources.decoded("f", data).text):
        if isinstance(document, yamlstream.YamlError):
            return None
        value = document.value
        if value is None:
            continue
        if not isinstance(value, dict) or not value.get("kind"):
            return None
        found += value["items"] if value["kind"] == "List" else [value]
    return found


def normal(value):
    """Numbers as floats; booleans stay apart."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return ("number", float(value))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_as_kubectl(case) -> None:
    assert normal(ours(data_of(case))) == normal(case["reads"])


@needs_kubectl
def test_the_recording_is_what_kubectl_says() -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda case: kubectl(data_of(case)), CASES))
    stale = [
        case["name"]
        for case, answer in zip(CASES, answers, strict=True)
        if normal(answer) != normal(case["reads"])
    ]
    assert stale == []


HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


def aliases(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return HEAD + "\n".join(lines) + "\n"


@needs_kubectl
@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        (HEAD + f"data: {{a: {'x' * 5_000_000}}}\n", True),
        (HEAD + f"data: {'[' * 95}{']' * 95}\n", True),
        (aliases(8), False),
        (aliases(4), False),
        (aliases(2), True),
        (HEAD + "a: &a {x: 1}\ndata:\n" + "".join(f"  k{n}: *a\n" for n in range(50_000)), True),
    ],
    ids=["a line of 5 MB", "95 levels", "8 levels of 10 aliases", "4 levels", "2 levels", "50 000 aliases"],
)
def test_the_same_limits_as_kubectl(text, is_read) -> None:
    assert (ours(text.encode()) is not None) == (kubectl(text.encode()) is not None) == is_read


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + f"data: {'[' * 101}{']' * 101}\n", "nested more than 100 levels deep"),
        (HEAD + "data: {a:, b: 1}\n", "found unexpected ':'"),
    ],
)
def test_stricter_than_kubectl(text, problem) -> None:
    """On purpose: nothing that Kubernetes defines nests that deep; and an unusual form that libyaml does not know."""
    (found,) = yamlstream.read(text)
    assert isinstance(found, yamlstream.YamlError)
    assert found.problem == problem


@pytest.mark.parametrize(
    "text",
    [aliases(12), "[" * 1_000_000, "- " * 1_000_000, '{"a":' * 1_000_000, "{a: " * 1_000_000, '{"a":' + "[" * 200_000 + "]" * 200_000 + "}",
     "a: &a [*a]\n" * 1000, "? " * 200_000],
    ids=["billion laughs", "brackets", "dashes", "JSON objects", "flow mappings", "balanced JSON", "itself", "questions"],
)  # fmt: skip
def test_hostile_input_is_refused_quickly_with_one_error(text) -> None:
    started = time.monotonic()
    found = list(yamlstream.read(text))
    assert time.monotonic() - started < 20
    assert [type(item) for item in found] == [yamlstream.YamlError]
