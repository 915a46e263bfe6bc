"""kubernetes-asyncio: the same API as coroutines; watches and exec as asynchronous iterators."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("kubernetes_asyncio")
from kubernetes_asyncio import client, config, utils, watch
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.stream import WsApiClient

pytestmark = pytest.mark.lab


@pytest.fixture
async def api(client_lab) -> AsyncIterator[client.ApiClient]:
    async with await config.new_client_from_config(client_lab.kubeconfig) as connection:
        yield connection


def config_map(name: str, **data: str) -> dict:
    return {"metadata": {"name": name, "labels": {"made": "here"}}, "data": data}


async def failure(call) -> tuple[int, str]:
    with pytest.raises(ApiException) as caught:
        await call
    return caught.value.status, json.loads(caught.value.body)["reason"]


async def test_certificate_and_version(client_lab):
    async with await config.new_client_from_config(client_lab.certificate) as connection:
        assert (await client.VersionApi(connection).get_code()).major == "1"


async def test_objects_and_errors(api, space):
    core = client.CoreV1Api(api)
    made = await core.create_namespaced_config_map(space, config_map("a", x="1"))
    assert await failure(core.create_namespaced_config_map(space, config_map("a"))) == (409, "AlreadyExists")
    await core.replace_namespaced_config_map("a", space, made)
    for kind in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        found = await core.patch_namespaced_config_map("a", space, {"data": {"y": kind}}, _content_type=kind)
        assert found.data == {"x": "1", "y": kind}
    steps = [{"op": "remove", "path": "/data/y"}]
    found = await core.patch_namespaced_config_map(
        "a", space, steps, _content_type="application/json-patch+json"
    )
    assert found.data == {"x": "1"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", **config_map("a", x="2")}
    how = {"_content_type": "application/apply-patch+yaml", "field_manager": "tests"}
    assert await failure(core.patch_namespaced_config_map("a", space, body, **how)) == (409, "Conflict")
    assert (await core.patch_namespaced_config_map("a", space, body, force=True, **how)).data == {"x": "2"}
    await core.delete_collection_namespaced_config_map(space, label_selector="made=here")
    assert await failure(core.read_namespaced_config_map("a", space)) == (404, "NotFound")
    assert await failure(core.create_namespaced_config_map(space, config_map("B"))) == (422, "Invalid")


async def test_pages(api, space):
    core = client.CoreV1Api(api)
    await asyncio.gather(*(core.create_namespaced_config_map(space, config_map(f"c{n}")) for n in range(5)))
    found, token = [], None
    while token != "":
        page = await core.list_namespaced_config_map(space, label_selector="made", limit=2, _continue=token)
        found += [each.metadata.name for each in page.items]
        token = page.metadata._continue or ""
    assert found == [f"c{number}" for number in range(5)]


async def test_watch(api, space):
    core = client.CoreV1Api(api)
    first = await core.create_namespaced_config_map(space, config_map("w"))
    seen = []
    async with watch.Watch() as watching:
        async for event in watching.stream(
            core.list_namespaced_config_map, space, label_selector="made", timeout_seconds=20
        ):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 1:
                await core.delete_namespaced_config_map("w", space)
            else:
                watching.stop()
    assert seen == [("ADDED", "w"), ("DELETED", "w")]
    version = first.metadata.resource_version
    async with watch.Watch() as again:
        stream = again.stream(
            core.list_namespaced_config_map, space, resource_version=version, timeout_seconds=1
        )
        assert [event["type"] async for event in stream] == ["DELETED"]
    async with watch.Watch() as old:
        stream = old.stream(
            core.list_namespaced_config_map, space, resource_version="99999999", timeout_seconds=5
        )
        with pytest.raises(ApiException) as caught:
            await anext(stream)
        assert caught.value.status == 410


async def test_pod_from_start_to_end(api, client_lab, space, pod_manifest):
    core = client.CoreV1Api(api)
    await core.create_namespaced_pod(space, pod_manifest("p", "sh", "-c", "echo one; echo two; sleep 600"))
    async with watch.Watch() as watching:
        async for event in watching.stream(
            core.list_namespaced_pod, space, field_selector="metadata.name=p", timeout_seconds=20
        ):
            conditions = {each.type: each.status for each in event["object"].status.conditions or []}
            if conditions.get("Ready") == "True":
                break
    answer = await core.read_namespaced_pod_log("p", space, follow=True, _preload_content=False)
    assert [await answer.content.readline() for _ in range(2)] == [b"one\n", b"two\n"]
    answer.close()
    async with watch.Watch() as watching:
        stream = watching.stream(core.read_namespaced_pod_log, "p", space)
        assert (await anext(stream)).rstrip() == "one"
    configuration = client.Configuration()
    await config.load_kube_config(client_lab.kubeconfig, client_configuration=configuration)
    async with WsApiClient(configuration) as streams:
        command = ["sh", "-c", "echo out; exit 0"]
        call = client.CoreV1Api(streams).connect_get_namespaced_pod_exec
        assert (
            await call("p", space, command=command, stderr=True, stdin=False, stdout=True, tty=False)
            == "out\n"
        )
    eviction = {"metadata": {"name": "p", "namespace": space}}
    await core.create_namespaced_pod_eviction("p", space, eviction)


async def test_dynamic_client_and_a_file(api, space):
    await utils.create_from_dict(
        api,
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "deny", "namespace": space},
            "spec": {"podSelector": {}},
        },
    )
    async with DynamicClient(api) as dynamic:
        policies = await dynamic.resources.get(api_version="networking.k8s.io/v1", kind="NetworkPolicy")
        found = await policies.get(namespace=space)
        assert [each.metadata.name for each in found.items] == ["deny"]
        await policies.delete(name="deny", namespace=space)
