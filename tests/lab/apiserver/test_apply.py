"""Server-side apply: ownership, removal, conflicts, and lists that merge."""

from __future__ import annotations

import json

import pytest

POLICY = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/p"
DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/web"
SERVICE = "/api/v1/namespaces/default/services/web"


async def send(client, path, body, manager="me", code=200, **query):
    headers = {"Content-Type": "application/apply-patch+yaml"}
    params = {"fieldManager": manager, **query}
    async with client.patch(path, data=json.dumps(body), headers=headers, params=params) as response:
        found = await response.json()
        assert response.status == code, found
        return found


def policy(**spec):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p"},
        "spec": spec,
    }


def deployment(replicas=None, **images):
    labels = {"app": "web"}
    containers = [{"name": name, "image": image} for name, image in images.items()]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


async def test_what_is_no_longer_applied_goes_away(client):
    wide = policy(podSelector={"matchLabels": {"app": "foo"}}, egress=[{}], policyTypes=["Egress"])
    await send(client, POLICY, wide, code=201)
    changed = await send(
        client, POLICY, policy(podSelector={"matchLabels": {"tier": "db"}}, policyTypes=["Egress"])
    )
    assert changed["spec"] == {"podSelector": {"matchLabels": {"tier": "db"}}, "policyTypes": ["Egress"]}


async def test_applying_the_same_twice_changes_nothing(client):
    first = await send(client, POLICY, policy(podSelector={}), code=201)
    assert await send(client, POLICY, policy(podSelector={})) == first


async def test_managed_fields_tell_who_applied_what(client):
    made = await send(client, DEPLOYMENT, deployment(2, web="nginx:1"), code=201)
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("me", "Apply", "apps/v1")
    spec = entry["fieldsV1"]["f:spec"]
    assert set(spec) == {"f:replicas", "f:selector", "f:template"}
    container = spec["f:template"]["f:spec"]["f:containers"]['k:{"name":"web"}']
    assert container == {".": {}, "f:image": {}, "f:name": {}}


async def test_managers_conflict_over_values(client):
    await send(client, DEPLOYMENT, deployment(2, web="nginx:1"), code=201)
    refused = await send(client, DEPLOYMENT, deployment(3, web="nginx:1"), manager="other", code=409)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "me": .spec.replicas'
    assert refused["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    forced = await send(client, DEPLOYMENT, deployment(3, web="nginx:1"), manager="other", force="true")
    assert forced["spec"]["replicas"] == 3
    kept = await send(client, DEPLOYMENT, deployment(web="nginx:1"))
    assert kept["spec"]["replicas"] == 3, "it belongs to the other manager now"


async def test_lists_merge_by_key(client):
    await send(client, DEPLOYMENT, deployment(web="nginx:1", side="busybox:1"), code=201)
    extra = deployment(log="busybox:2")
    both = await send(client, DEPLOYMENT, extra, manager="other")
    names = [container["name"] for container in both["spec"]["template"]["spec"]["containers"]]
    assert names == ["web", "side", "log"]
    fewer = await send(client, DEPLOYMENT, deployment(web="nginx:2"))
    images = [container["image"] for container in fewer["spec"]["template"]["spec"]["containers"]]
    assert images == ["nginx:2", "busybox:2"]


async def test_ports_differ_by_protocol(client):
    ports = [{"name": name, "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")]
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": ports}}
    await send(client, SERVICE, body, code=201)
    again = await send(client, SERVICE, body)
    assert [port["protocol"] for port in again["spec"]["ports"]] == ["UDP", "TCP"]


@pytest.mark.parametrize(
    ("body", "manager"),
    [
        (policy(podSelector={}), ""),
        ([], "me"),
        ({**policy(), "metadata": {"name": "other"}}, "me"),
        ({**policy(), "metadata": {"managedFields": [{}]}}, "me"),
        ({**policy(), "kind": "Pod"}, "me"),
    ],
)
async def test_what_cannot_be_applied(client, store, body, manager):
    await send(client, POLICY, body, manager=manager, code=400)
    assert store.list("networkpolicies.networking.k8s.io") == []


async def test_an_update_keeps_the_managers(client):
    made = await send(client, POLICY, policy(podSelector={}), code=201)
    async with client.put(POLICY, json=policy(podSelector={"matchLabels": {"a": "b"}})) as response:
        changed = await response.json()
    assert changed["metadata"]["managedFields"] == made["metadata"]["managedFields"]
