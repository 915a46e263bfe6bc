"""The API as any HTTP client sees it: authentication, status codes, content types, selectors, concurrency."""

from __future__ import annotations

import aiohttp
import pytest

PODS = "/api/v1/namespaces/default/pods"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def pod(name="web", **labels):
    metadata = {"name": name, "labels": labels}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}


async def status(response):
    """(HTTP code, reason, message) of a failure."""
    body = await response.json()
    assert body["kind"] == "Status"
    assert body["code"] == response.status
    return response.status, body["reason"], body["message"]


async def post(client, obj, path=PODS, **query):
    async with client.post(path, json=obj, params=query) as response:
        assert response.status == 201, await response.text()
        return await response.json()


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic test-token"}]
)
@pytest.mark.parametrize("path", [PODS, "/api", "/healthz", "/openapi/v2", "/nothing"])
async def test_strangers_are_refused(server, header, path):
    connector = aiohttp.TCPConnector(ssl=server.tls)
    async with (
        aiohttp.ClientSession(server.url, connector=connector) as session,
        session.get(path, headers=header) as response,
    ):
        assert await status(response) == (401, "Unauthorized", "Unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("GET", "/nothing", 404, "NotFound"),
        ("GET", "/api/v2/pods", 404, "NotFound"),
        ("GET", "/apis/batch/v1/cronjobs", 404, "NotFound"),
        ("GET", f"{PODS}/web", 404, "NotFound"),
        ("GET", f"{PODS}/web/nothing", 404, "NotFound"),
        ("PUT", PODS, 405, "MethodNotAllowed"),
        ("POST", "/api/v1/pods", 405, "MethodNotAllowed"),
        ("DELETE", "/api/v1/namespaces", 405, "MethodNotAllowed"),
        ("GET", f"{PODS}?fieldSelector=spec.nope%3D1", 400, "BadRequest"),
        ("GET", f"{PODS}?labelSelector=a%20in%20b", 400, "BadRequest"),
        ("GET", f"{PODS}?watch=1&resourceVersion=x", 400, "BadRequest"),
    ],
)
async def test_paths_and_methods_not_served(client, method, path, code, reason):
    async with client.request(method, path, json=pod()) as response:
        assert (await status(response))[:2] == (code, reason)


@pytest.mark.parametrize(
    ("media", "body", "code", "text"),
    [
        ("application/json", b"{", 400, "unrecognized"),
        ("application/json", b"[]", 400, "unrecognized"),
        ("application/xml", b"<a/>", 415, "accepted media types include: application/json"),
        ("application/vnd.kubernetes.protobuf", b"abc", 400, "protobuf"),
        ("application/json", b'{"kind":"Service","apiVersion":"v1"}', 400, "cannot be handled as a Pod"),
        ("application/json", b'{"metadata":[]}', 400, "cannot unmarshal"),
        ("application/json", b'{"metadata":{"name":"a"},"spec":3}', 400, "cannot unmarshal number"),
    ],
)
async def test_bodies_that_are_no_pods(client, store, media, body, code, text):
    async with client.post(PODS, data=body, headers={"Content-Type": media}) as response:
        found = await status(response)
    assert found[0] == code
    assert text in found[2]
    assert store.list("pods") == []


async def test_yaml_bodies_are_read(client):
    body = "metadata: {name: web}\nspec: {containers: [{name: c, image: nginx}]}\n"
    async with client.post(PODS, data=body, headers={"Content-Type": "application/yaml"}) as response:
        assert response.status == 201


async def test_field_validation_levels(client, store):
    wrong = {"metadata": {"name": "p"}, "spec": {"podSelector": {}, "ingres": []}}
    async with client.post(POLICIES, json=wrong, params={"fieldValidation": "Strict"}) as response:
        expected = (
            'NetworkPolicy in version "v1" cannot be handled as a NetworkPolicy: '
            'strict decoding error: unknown field "spec.ingres"'
        )
        assert await status(response) == (400, "BadRequest", expected)
    async with client.post(POLICIES, json=wrong, params={"dryRun": "All"}) as response:
        assert response.headers.getall("Warning") == ['299 - "unknown field \\"spec.ingres\\""']
    async with client.post(POLICIES, json=wrong, params={"fieldValidation": "Ignore"}) as response:
        assert "Warning" not in response.headers
        assert "ingres" not in (await response.json())["spec"]
    assert len(store.list("networkpolicies.networking.k8s.io")) == 1


async def test_duplicate_fields(client, store):
    body = (
        '{"metadata":{"name":"p"},"spec":{"podSelector":{},"egress":[{"to":[],"to":[]}],'
        '"policyTypes":["Ingress"],"policyTypes":["Egress"]}}'
    )
    headers = {"Content-Type": "application/json"}
    async with client.post(
        POLICIES, data=body, headers=headers, params={"fieldValidation": "Strict"}
    ) as response:
        _, _, message = await status(response)
    assert message.endswith(
        'strict decoding error: duplicate field "spec.policyTypes", duplicate field "spec.egress[0].to"'
    )
    assert store.list("networkpolicies.networking.k8s.io") == []
    async with client.post(POLICIES, data=body, headers=headers) as response:
        assert len(response.headers.getall("Warning")) == 2
        assert (await response.json())["spec"]["policyTypes"] == ["Egress"]


async def test_put_without_version_wins_and_a_stale_one_conflicts(client):
    made = await post(client, {"metadata": {"name": "p"}, "spec": {"podSelector": {}}}, POLICIES)
    free = {"metadata": {"name": "p"}, "spec": {"podSelector": {"matchLabels": {"a": "b"}}}}
    async with client.put(f"{POLICIES}/p", json=free) as response:
        assert response.status == 200
    async with client.put(f"{POLICIES}/p", json=made) as response:
        code, reason, message = await status(response)
    assert (code, reason) == (409, "Conflict")
    assert message.startswith(
        'Operation cannot be fulfilled on networkpolicies.networking.k8s.io "p": the object'
    )
    async with client.put(f"{POLICIES}/q", json={**free, "metadata": {"name": "q"}}) as response:
        assert await status(response) == (
            404,
            "NotFound",
            'networkpolicies.networking.k8s.io "q" not found',
        )
    async with client.put(f"{POLICIES}/p", json={**free, "metadata": {"name": "other"}}) as response:
        assert (await status(response))[
            2
        ] == "the name of the object (other) does not match the name on the URL (p)"


async def test_the_status_subresource(client):
    await post(client, pod())
    patch = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}}
    headers = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(f"{PODS}/web/status", json=patch, headers=headers) as response:
        changed = await response.json()
    assert changed["status"]["phase"] == "Running"
    assert "labels" not in changed["metadata"]
    async with client.patch(
        f"{PODS}/web", json=patch | {"status": {"phase": "Failed"}}, headers=headers
    ) as response:
        changed = await response.json()
    assert changed["status"]["phase"] == "Running"
    assert changed["metadata"]["labels"] == {"a": "b"}


async def test_a_strategic_patch_merges_containers_by_name(client):
    obj = pod()
    obj["spec"]["containers"].append({"name": "side", "image": "busybox:1"})
    await post(client, obj)
    patch = {"spec": {"containers": [{"name": "side", "image": "busybox:2"}]}}
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    async with client.patch(f"{PODS}/web", json=patch, headers=headers) as response:
        changed = await response.json()
    images = [container["image"] for container in changed["spec"]["containers"]]
    assert sorted(images) == ["busybox:2", "nginx:1"]


async def test_patches_that_cannot_be_used(client):
    await post(client, pod())
    for media, body, code in (
        ("application/json-patch+json", b'[{"op":"remove","path":"/nope"}]', 422),
        ("application/merge-patch+json", b"{", 400),
        ("application/json", b"{}", 415),
        ("application/merge-patch+json", b'{"metadata":{"name":"other"}}', 400),
        ("application/merge-patch+json", b'{"metadata":{"resourceVersion":"1"}}', 409),
    ):
        async with client.patch(f"{PODS}/web", data=body, headers={"Content-Type": media}) as response:
            assert (await status(response))[0] == code, body


async def names(client, path=PODS, **query):
    async with client.get(path, params=query) as response:
        assert response.status == 200
        body = await response.json()
    assert body["kind"] == "PodList"
    assert int(body["metadata"]["resourceVersion"]) > 0
    return [item["metadata"]["name"] for item in body["items"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"labelSelector": "app=x"}, ["a", "b"]),
        ({"labelSelector": "app==x,tier!=back"}, ["a"]),
        ({"labelSelector": "app"}, ["a", "b"]),
        ({"labelSelector": "!app"}, ["c"]),
        ({"labelSelector": "tier in (back, none)"}, ["b"]),
        ({"labelSelector": "tier notin (back)"}, ["a", "c"]),
        ({"fieldSelector": "metadata.name=a"}, ["a"]),
        ({"fieldSelector": "metadata.name!=a,status.phase=Pending"}, ["b", "c"]),
        ({"fieldSelector": "spec.nodeName="}, ["a", "b", "c"]),
        ({"limit": "1"}, ["a"]),
    ],
)
async def test_selectors(client, query, expected):
    for obj in (pod("c"), pod("b", app="x", tier="back"), pod("a", app="x")):
        await post(client, obj)
    assert await names(client, **query) == expected
    assert await names(client, "/api/v1/pods", **query) == expected
    assert await names(client, "/api/v1/namespaces/kube-system/pods", **query) == []


async def test_delete_answers_and_preconditions(client, store):
    made = await post(client, pod())
    wrong = {"preconditions": {"uid": "other"}}
    async with client.delete(f"{PODS}/web", json=wrong) as response:
        assert (await status(response))[:2] == (409, "Conflict")
    async with client.delete(f"{PODS}/web", params={"dryRun": "All"}) as response:
        assert response.status == 200
    assert store.find("pods", "default", "web")
    async with client.delete(f"{PODS}/web") as response:
        assert (await response.json())["metadata"]["uid"] == made["metadata"]["uid"]
    policy = await post(client, {"metadata": {"name": "p"}, "spec": {}}, POLICIES)
    async with client.delete(f"{POLICIES}/p") as response:
        answer = await response.json()
    assert answer["status"] == "Success"
    assert answer["details"]["uid"] == policy["metadata"]["uid"]


async def test_delete_collection(client, store):
    for obj in (pod("a", app="x"), pod("b")):
        await post(client, obj)
    async with client.delete(PODS, params={"labelSelector": "app=x"}) as response:
        assert [item["metadata"]["name"] for item in (await response.json())["items"]] == ["a"]
    assert [obj["metadata"]["name"] for obj in store.list("pods")] == ["b"]


async def test_orphans_are_left(client, store):
    path = "/api/v1/namespaces/default/configmaps"
    owner = await post(client, {"metadata": {"name": "owner"}}, path)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await post(client, {"metadata": {"name": "owned", "ownerReferences": [reference]}}, path)
    async with client.delete(f"{path}/owner", json={"propagationPolicy": "Orphan"}) as response:
        assert response.status == 200
    assert "ownerReferences" not in store.get("configmaps", "default", "owned")["metadata"]


async def test_binding_and_eviction(client, store):
    await post(client, pod())
    binding = {"target": {"kind": "Node", "name": "node-1"}}
    await post(client, binding, f"{PODS}/web/binding")
    assert store.get("pods", "default", "web")["spec"]["nodeName"] == "node-1"
    async with client.post(f"{PODS}/web/binding", json=binding) as response:
        assert (await status(response))[:2] == (409, "Conflict")
    await post(client, {"metadata": {"name": "web"}}, f"{PODS}/web/eviction")
    assert store.get("pods", "default", "web")["metadata"]["deletionGracePeriodSeconds"] == 30


async def test_scale_must_not_be_negative(client):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    await post(client, {"metadata": {"name": "web"}, "spec": spec}, path)
    async with client.get(f"{path}/web/scale") as response:
        scale = await response.json()
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 1}, "a=b")
    async with client.put(f"{path}/web/scale", json={**scale, "spec": {"replicas": -1}}) as response:
        assert (await status(response))[0] == 422
    async with client.put(f"{path}/web/scale", json={**scale, "spec": {"replicas": 4}}) as response:
        assert (await response.json())["spec"]["replicas"] == 4


@pytest.mark.parametrize("include", ["Metadata", "Object", "None"])
async def test_tables(client, include):
    await post(client, pod())
    async with client.get(PODS, headers={"Accept": TABLE}, params={"includeObject": include}) as response:
        found = await response.json()
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    first = found["columnDefinitions"][0]
    assert (first["name"], first["format"], first["priority"]) == ("Name", "name", 0)
    (row,) = found["rows"]
    assert len(row["cells"]) == len(found["columnDefinitions"])
    kinds = {"Metadata": "PartialObjectMetadata", "Object": "Pod", "None": None}
    assert (row["object"] or {}).get("kind") == kinds[include]


async def test_too_large_bodies_are_refused(client):
    async with client.post(PODS, data=b'"' + b"a" * 4_000_000 + b'"') as response:
        assert response.status == 413
