"""Nothing that stands behind ``-f`` ends in a traceback or does not end: mutations of valid manifests, and random YAML.

Longer, by hand: ``STOCKADE_FUZZ_EXAMPLES=100000 pytest tests/manifests/test_fuzz.py --timeout=0``.
"""

from __future__ import annotations

import json
import os

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.manifests import sources
from stockade.manifests.fit import fits
from stockade.manifests.load import load_text
from stockade.manifests.strict import check_fields, drop_nulls
from stockade.manifests.yamlstream import copied
from stockade.model.diagnostic import Severity

EXAMPLES = int(os.environ.get("STOCKADE_FUZZ_EXAMPLES", "150"))
lightly = settings(max_examples=EXAMPLES, deadline=None)

POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop, labels: &l {app: web, 'tier': "a\\tb"}}
spec:
  podSelector: {matchLabels: *l, matchExpressions: [{key: x, operator: In, values: [a, "b"]}]}
  policyTypes: [Egress]
  egress:
  - ports: [{port: 53, protocol: UDP}, {port: 8000, endPort: 9000}, {port: http}]
    to:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    - namespaceSelector: {}
      podSelector: {}
"""
POD = """# a pod
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, creationTimestamp: '2024-01-01T00:00:00Z'}
spec:
  containers:
  - name: c
    image: nginx
    command: ["sh", '-c', |
      sleep 1]
    resources: {limits: {cpu: 100m, memory: 1Gi}}
    ports: [{containerPort: 80, name: http}]
status: {podIP: 10.0.0.1, phase: Running}
""".replace("|\n      sleep 1]", "sleep 1]")
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}\n"
LIST = json.dumps(
    {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(POD), yaml.safe_load(SERVICE)]}, indent=1
)
SEEDS = [POLICY, POD, SERVICE, LIST, f"{POLICY}---\n{POD}---\n{SERVICE}", f"{LIST}\n{LIST}"]
BITS = [b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\n---\n", b"--- x\n", b"...\n", b"%YAML 1.1\n", b"&a ", b"*a ", b"<<: ", b"!!int ", b"!!binary ",
        b"? ", b": ", b"- ", b"{", b"}", b"[", b"]", b"'", b'"', b"|\n", b">-\n", b"\t", b"\r\n", b"null", b"~", b".nan", b"1e999", b"0o7", b"\\ud800", b"\xc2\x85",
        b"\xe2\x80\xa8", b"{{ x }}", b"apiVersion: v1\n", b"kind: List\n", b"items: ", b"99999999999999999999", b"-1", b"#"]  # fmt: skip


@st.composite
def mutated(draw) -> bytes:
    """A valid stream, then a few cuts, repetitions, flipped bytes and insertions."""
    data = bytearray(draw(st.sampled_from(SEEDS)).encode())
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        match draw(st.integers(0, 4)):
            case 0:
                del data[at:end]
            case 1:
                data[at:at] = draw(st.sampled_from(BITS))
            case 2:
                data[at:at] = data[at:end] * draw(st.integers(1, 3))
            case 3 if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case _:
                data = data[: max(end, 1)]
    return bytes(data)


def _text(data: bytes) -> str:
    source = sources.decoded("f", data)
    assert isinstance(source, sources.Source)
    return source.text


def read(data: bytes):
    """What ``load`` does with the bytes of a file."""
    return load_text(_text(data), "f")


@given(mutated())
@lightly
def test_mutations_are_answered(data) -> None:
    loaded = read(data)
    for diagnostic in loaded.diagnostics:
        assert diagnostic.position or diagnostic.severity is Severity.NOTE
        assert str(diagnostic).isprintable()
        if diagnostic.position:
            lines = len(_text(data).splitlines()) + 2  # YAML has more line breaks than \n, as splitlines has
            assert 1 <= diagnostic.position.line <= lines
            assert diagnostic.position.column >= 1
    for found in loaded.objects:
        assert found.position.line >= 1


PIECES = st.sampled_from([*"{}[],:?-#&*!|>'\"%@`~ \n\t", "\n  ", "\n- ", ": ", "a", "b: 1", "<<: *a", "&a ", "*a", "!!str ", "---\n", "...\n", "apiVersion: v1",
                          "\nkind: Pod", "\nspec:\n  ", "1e3", "null", "\\", "\u2028", "\ufeff", "é"])  # fmt: skip


@given(st.lists(PIECES, max_size=40))
@lightly
def test_random_yaml_is_answered(pieces) -> None:
    read("".join(pieces).encode())


@given(st.binary(max_size=60))
@lightly
def test_random_bytes_are_answered(data) -> None:
    read(data)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.text(max_size=3), st.just([]), st.just({}), st.just([None]),
                   st.just("2024-01-01T00:00:00Z"), st.just("100m"), st.floats(allow_nan=False))  # fmt: skip
KIND = {"NetworkPolicy": POLICY, "Pod": POD, "Service": SERVICE}


@given(st.sampled_from(sorted(KIND)), st.lists(st.tuples(st.integers(0, 60), VALUES), max_size=3))
@lightly
def test_the_quick_yes_is_never_wrong(kind, changes) -> None:
    """``fits`` may only say yes where the strict decoder finds nothing and has nothing to change."""
    obj = yaml.safe_load(KIND[kind])
    for number, value in changes:
        places = list(_places(obj))
        parent, key = places[number % len(places)]
        parent[key] = value
    version = {"NetworkPolicy": "networking.k8s.io/v1"}.get(kind, "v1")
    if fits(obj, version, kind):
        before = copied(obj)
        assert check_fields(obj, version, kind) == []
        drop_nulls(obj, version, kind)
        assert obj == before
    if not changes:
        assert fits(obj, version, kind), "an object in order takes the quick way"


def _places(value):
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
