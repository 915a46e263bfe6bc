"""A few hundred random requests; ``python -m stockade.testing.apifuzz`` sends more of them."""

from __future__ import annotations

import random

import pytest

from stockade.lab.apiserver import reads
from stockade.testing import apifuzz


@pytest.mark.parametrize("seed", [1, 7])
async def test_random_requests(seed):
    codes = await apifuzz.fuzz(seconds=30, seed=seed, requests=400)
    assert sum(codes.values()) == 400
    assert codes[200] > 10
    assert codes[201] > 3
    assert {400, 404, 409, 422} <= set(codes)


async def test_a_fault_is_found(monkeypatch):
    """The fuzzer sees a handler that fails on some lists."""

    def broken(*_):
        raise KeyError("namespace")

    monkeypatch.setattr(reads, "page_of", broken)
    with pytest.raises(apifuzz.FuzzError, match="500 to Request"):
        await apifuzz.fuzz(seconds=30, seed=1, requests=400)


def test_strokes_differ_and_leave_the_original():
    good = {"metadata": {"name": "x"}, "spec": {"a": [1, {"b": 2}]}}
    before = repr(good)
    spoiled = {repr(apifuzz.spoil(random.Random(seed), good)) for seed in range(200)}
    assert repr(good) == before
    assert len(spoiled) > 50


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("minimum", "é"),
        ("type", 1),
        ("required", "a"),
        ("items", [1]),
        ("properties", {"a": None}),
        ("pattern", {}),
    ],
)
async def test_the_keywords_of_a_schema_have_types(client, keyword, value):
    schema = {"type": "object", "properties": {"a": {"type": "object", keyword: value}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": "a.b",
        "names": {"kind": "C", "plural": "cs"},
        "scope": "Namespaced",
        "versions": [version],
    }
    body = {"metadata": {"name": "cs.a.b"}, "spec": spec}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    async with client.post(path, json=body) as response:
        assert response.status == 400
        assert "JSONSchemaProps" in (await response.json())["message"]
