"""Lists in pages and lists of the past."""

from __future__ import annotations

import json

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def add(store, *names, namespace="default", **labels):
    for name in names:
        store.create("configmaps", namespace, {"metadata": {"name": name, "labels": labels}})


async def get(client, code=200, headers=None, **query):
    async with client.get(MAPS, params=query, headers=headers) as response:
        found = await response.json()
        assert response.status == code, found
        return found


def names(found):
    return [item["metadata"]["name"] for item in found["items"]]


async def test_pages_show_the_state_of_the_first(client, store):
    add(store, "a", "b", "c", "d", "e")
    first = await get(client, limit=2)
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    store.delete("configmaps", "default", "c")
    store.mutate("configmaps", "default", "d", lambda obj: obj.update(data={"x": "new"}))
    add(store, "bb")
    second = await get(client, limit=2, **{"continue": first["metadata"]["continue"]})
    assert names(second) == ["c", "d"]
    assert "data" not in second["items"][1]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = await get(client, limit=2, **{"continue": second["metadata"]["continue"]})
    assert (names(last), last["metadata"].keys()) == (["e"], {"resourceVersion"})
    assert names(await get(client)) == ["a", "b", "bb", "d", "e"]


async def test_with_a_selector_nobody_knows_how_many_remain(client, store):
    add(store, "a", "c", x="1")
    add(store, "b", x="2")
    found = await get(client, limit=1, labelSelector="x=1")
    assert "remainingItemCount" not in found["metadata"]
    rest = await get(client, limit=1, labelSelector="x=1", **{"continue": found["metadata"]["continue"]})
    assert names(rest) == ["c"]


async def test_a_table_has_pages_too(client, store):
    add(store, "a", "b")
    found = await get(client, headers=TABLE, limit=1)
    assert (len(found["rows"]), found["metadata"]["remainingItemCount"]) == (1, 1)


async def test_a_forgotten_state(client, store):
    add(store, "a", "b", "c")
    first = await get(client, limit=1)
    for number in range(2100):
        store.mutate("configmaps", "default", "b", lambda obj, n=number: obj.update(data={"n": str(n)}))
    gone = await get(client, 410, limit=1, **{"continue": first["metadata"]["continue"]})
    assert (gone["reason"], "too old" in gone["message"]) == ("Expired", True)
    rest = await get(client, **{"continue": gone["metadata"]["continue"]})
    assert names(rest) == ["b", "c"]
    await get(client, 410, resourceVersion=first["metadata"]["resourceVersion"], resourceVersionMatch="Exact")


async def test_lists_of_the_past(client, store):
    add(store, "a")
    then = str(store.revision)
    add(store, "b")
    assert names(await get(client, resourceVersion=then, resourceVersionMatch="Exact")) == ["a"]
    assert names(await get(client, resourceVersion=then, resourceVersionMatch="NotOlderThan")) == ["a", "b"]
    assert names(await get(client, resourceVersion="0", limit=1)) == ["a", "b"]
    late = await get(client, 504, resourceVersion="99999")
    assert late["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    "query",
    [
        {"continue": "x"},
        {"continue": "e30"},
        {"limit": "-1"},
        {"limit": "x"},
        {"resourceVersion": "x"},
    ],
)
async def test_what_cannot_be_asked(client, query):
    assert (await get(client, 400, **query))["reason"] == "BadRequest"


async def test_kubectl_asks_for_chunks(kubectl, store):
    add(store, *(f"m{number:02}" for number in range(25)))
    found = await kubectl("get", "configmaps", "--chunk-size=10", "-o", "name")
    assert len(found.out.splitlines()) == 25, found


async def test_the_metadata_alone(client, store):
    add(store, "a", x="1")
    accept = "application/json;as={};v=v1;g=meta.k8s.io,application/json"
    found = await get(client, headers={"Accept": accept.format("PartialObjectMetadataList")})
    assert found["kind"] == "PartialObjectMetadataList"
    [item] = found["items"]
    assert (item["kind"], item["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert item["metadata"]["labels"] == {"x": "1"}
    one = {"Accept": accept.format("PartialObjectMetadata")}
    async with client.get(f"{MAPS}/a", headers=one) as response:
        assert (await response.json()) == item
    async with client.get(MAPS, params={"watch": "1"}, headers=one) as response:
        line = json.loads(await response.content.readline())
    assert (line["type"], line["object"]) == ("ADDED", item)
