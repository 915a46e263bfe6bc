"""Watches over HTTP: what is sent, in which order, and when a client must start again."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def make(store, name, namespace="default", **labels):
    spec = {"containers": [{"name": "c", "image": "nginx:1"}]}
    return store.create("pods", namespace, {"metadata": {"name": name, "labels": labels}, "spec": spec})


def label(store, name, **labels):
    return store.mutate("pods", "default", name, lambda obj: obj["metadata"].update(labels=labels))


@contextlib.asynccontextmanager
async def watching(client, path=PODS, accept="application/json", **query):
    async with client.get(path, params={"watch": "true", **query}, headers={"Accept": accept}) as response:
        assert response.status == 200
        yield response


async def events(response, count):
    async with asyncio.timeout(5):
        return [msgspec.json.decode(await response.content.readline()) for _ in range(count)]


def short(found):
    return [(event["type"], event["object"]["metadata"].get("name")) for event in found]


async def test_without_a_version_the_state_comes_first(client, store):
    make(store, "a")
    make(store, "other", "kube-system")
    async with watching(client) as response:
        assert short(await events(response, 1)) == [("ADDED", "a")]
        make(store, "again", "kube-system")
        label(store, "a", x="y")
        store.delete("pods", "default", "a")
        assert short(await events(response, 2)) == [("MODIFIED", "a"), ("DELETED", "a")]


@pytest.mark.parametrize("true", ["true", "1", "True"])
async def test_from_a_version_only_what_came_after(client, store, true):
    version = make(store, "a")["metadata"]["resourceVersion"]
    make(store, "b")
    async with client.get(PODS, params={"watch": true, "resourceVersion": version}) as response:
        (event,) = await events(response, 1)
        assert short([event]) == [("ADDED", "b")]
        assert event["object"] == store.get("pods", "default", "b")


async def test_streaming_lists_end_with_a_bookmark(client, store):
    make(store, "a")
    query = {
        "sendInitialEvents": "true",
        "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan",
    }
    async with watching(client, **query) as response:
        added, mark = await events(response, 2)
    assert short([added]) == [("ADDED", "a")]
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["object"]["metadata"]["resourceVersion"] == str(store.revision)


async def test_leaving_the_selection_is_a_deletion(client, store):
    make(store, "a", app="x")
    make(store, "b")
    async with watching(client, labelSelector="app=x") as response:
        assert short(await events(response, 1)) == [("ADDED", "a")]
        left = label(store, "a", app="y")
        label(store, "b", app="x")
        label(store, "a", app="z")
        label(store, "b", app="x", more="labels")
        found = await events(response, 3)
    assert short(found) == [("DELETED", "a"), ("ADDED", "b"), ("MODIFIED", "b")]
    last = found[0]["object"]["metadata"]
    assert (last["labels"], last["resourceVersion"]) == ({"app": "x"}, left["metadata"]["resourceVersion"])


async def test_field_selectors_and_names(client, store):
    async with (
        watching(client, fieldSelector="metadata.name=b") as selected,
        watching(client, f"{PODS}/b") as named,
    ):
        make(store, "a")
        make(store, "b")
        for response in (selected, named):
            assert short(await events(response, 1)) == [("ADDED", "b")]


@pytest.mark.parametrize("version", ["1", "99999"])
async def test_forgotten_and_unknown_versions_are_expired(client, store, version):
    for number in range(2100):
        store.create("pods", "default", {"metadata": {"name": f"p{number}"}, "spec": {"containers": [
            {"name": "c", "image": "nginx"}]}})  # fmt: skip
    async with watching(client, resourceVersion=version) as response:
        (event,) = await events(response, 1)
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert await response.content.read() == b""


async def test_timeout_ends_the_watch(client):
    async with watching(client, timeoutSeconds="1") as response:
        async with asyncio.timeout(5):
            assert await response.content.read() == b""


async def test_a_table_watch_sends_columns_once(client, store):
    make(store, "a")
    async with watching(client, accept=TABLE) as response:
        make(store, "b")
        first, second = await events(response, 2)
    assert first["object"]["columnDefinitions"]
    assert second["object"]["columnDefinitions"] is None
    assert [event["object"]["rows"][0]["cells"][0] for event in (first, second)] == ["a", "b"]


async def test_a_table_watch_with_a_selection_and_its_bookmark(client, store):
    """What ``kubectl get -w -l`` of a newer minor sees: rows of the past, the end of them, and a row that leaves."""
    make(store, "a", app="x")
    query = {"sendInitialEvents": "1", "allowWatchBookmarks": "1", "resourceVersionMatch": "NotOlderThan"}
    async with watching(client, accept=TABLE, labelSelector="app=x", **query) as response:
        first, mark = await events(response, 2)
        label(store, "a", app="y")
        [left] = await events(response, 1)
    assert [event["type"] for event in (first, mark, left)] == ["ADDED", "BOOKMARK", "DELETED"]
    [row] = mark["object"]["rows"]
    assert row["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert left["object"]["rows"][0]["cells"][0] == "a"
    assert left["object"]["rows"][0]["object"]["metadata"]["labels"] == {"app": "x"}


async def test_a_streaming_list_of_a_forgotten_version_is_a_list_of_now(client, store):
    make(store, "a")
    for number in range(2100):
        label(store, "a", n=str(number))
    query = {"sendInitialEvents": "1", "allowWatchBookmarks": "1", "resourceVersionMatch": "NotOlderThan"}
    async with watching(client, resourceVersion="2", **query) as response:
        found = await events(response, 2)
    assert [event["type"] for event in found] == ["ADDED", "BOOKMARK"]
    assert found[0]["object"]["metadata"]["labels"] == {"n": "2099"}


async def test_no_change_is_lost_between_batches(client, store):
    async with watching(client) as response:
        for number in range(20):
            make(store, f"p{number}")
            assert short(await events(response, 1)) == [("ADDED", f"p{number}")]
