"""One event, seen through both groups; and the Binding that names its pod itself."""

from __future__ import annotations

import json

NEW = "/apis/events.k8s.io/v1/namespaces/default/events"
OLD = "/api/v1/namespaces/default/events"
POD = {"kind": "Pod", "namespace": "default", "name": "web", "uid": "u-1"}
EVENT = {
    "metadata": {"name": "e"},
    "eventTime": "2026-01-02T03:04:05.000006Z",
    "reportingController": "example.com/ctl",
    "reportingInstance": "ctl-1",
    "action": "Try",
    "reason": "Tried",
    "type": "Normal",
    "regarding": POD,
    "note": "it was tried",
}


async def get(client, path, code=200, **query):
    async with client.get(path, params=query) as response:
        assert response.status == code, await response.text()
        return await response.json()


async def test_written_by_one_and_read_by_both(client):
    async with client.post(NEW, json=EVENT) as response:
        assert response.status == 201, await response.text()
        made = await response.json()
    assert made["apiVersion"] == "events.k8s.io/v1"
    assert {key: made[key] for key in EVENT if key != "metadata"} == {
        key: value for key, value in EVENT.items() if key != "metadata"
    }
    core = await get(client, f"{OLD}/e")
    assert (core["apiVersion"], core["message"], core["involvedObject"]) == ("v1", "it was tried", POD)
    assert core["reportingComponent"] == "example.com/ctl"
    assert await get(client, f"{NEW}/e") == made
    assert (await get(client, NEW))["items"] == [made]
    [item] = (await get(client, OLD))["items"]
    assert item["metadata"] == made["metadata"]


async def test_an_old_event_is_deprecated_in_the_new_words(client, store):
    old = {"metadata": {"name": "o"}, "involvedObject": POD, "count": 3, "source": {"component": "kubelet"}}
    store.create("events", "default", {**old, "lastTimestamp": "2026-01-02T03:04:05Z"})
    found = await get(client, f"{NEW}/o")
    assert (found["deprecatedCount"], found["deprecatedSource"]) == (3, {"component": "kubelet"})
    assert found["deprecatedLastTimestamp"] == "2026-01-02T03:04:05Z"
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(f"{NEW}/o", json={"deprecatedCount": 4, "note": "x"}, headers=merge) as response:
        assert (await response.json())["deprecatedCount"] == 4, await response.text()
    core = await get(client, f"{OLD}/o")
    assert (core["count"], core["message"]) == (4, "x")
    assert "deprecatedCount" not in core
    assert "note" not in core


async def test_selected_watched_and_printed(client, store):
    store.create("events", "default", {"metadata": {"name": "a"}, "involvedObject": POD})
    store.create("events", "default", {"metadata": {"name": "b"}, "involvedObject": {**POD, "uid": "u-2"}})
    chosen = await get(client, NEW, fieldSelector="regarding.uid=u-2")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["b"]
    async with client.get(
        NEW, params={"watch": "1", "timeoutSeconds": "1", "fieldSelector": "regarding.uid=u-2"}
    ) as response:
        line = json.loads(await response.content.readline())
    assert (line["type"], line["object"]["regarding"]["uid"]) == ("ADDED", "u-2")
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    async with client.get(NEW, params={"includeObject": "Object"}, headers={"Accept": table}) as response:
        rows = (await response.json())["rows"]
    assert [row["object"]["apiVersion"] for row in rows] == ["events.k8s.io/v1"] * 2
    assert "pod/web" in rows[0]["cells"]


async def test_the_words_of_the_other_group_are_unknown(client):
    wrong = {"metadata": {"name": "e"}, "involvedObject": POD, "eventTime": EVENT["eventTime"]}
    async with client.post(NEW, json=wrong, params={"fieldValidation": "Strict"}) as response:
        assert response.status == 400
        assert 'unknown field "involvedObject"' in (await response.json())["message"]


async def test_a_binding_names_its_pod(client, store):
    store.create(
        "pods", "default", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    )
    path = "/api/v1/namespaces/default/bindings"
    target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
    for metadata, code in (({}, 422), ({"name": "q"}, 404), ({"name": "p"}, 201), ({"name": "p"}, 409)):
        async with client.post(path, json={"metadata": metadata, "target": target}) as response:
            assert response.status == code, await response.text()
    assert store.get("pods", "default", "p")["spec"]["nodeName"] == "node-1"
