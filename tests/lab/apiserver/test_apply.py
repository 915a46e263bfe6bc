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
        ([], "me"),
        ({**policy(), "metadata": {"name": "other"}}, "me"),
        ({**policy(), "metadata": {"managedFields": [{}]}}, "me"),
        ({**policy(), "kind": "Pod"}, "me"),
    ],
)
async def test_what_cannot_be_applied(client, store, body, manager):
    await send(client, POLICY, body, manager=manager, code=400)
    assert store.list("networkpolicies.networking.k8s.io") == []


def owners(obj):
    """Manager and operation → the fields of the specification at the top."""
    return {
        (e["manager"], e["operation"], e.get("subresource", "")): set(e["fieldsV1"].get("f:spec", {}))
        for e in obj["metadata"]["managedFields"]
    }


async def test_every_writer_owns_what_it_changes(client):
    agent = {"User-Agent": "curl/8.0 (x86_64)"}
    async with client.post(
        DEPLOYMENT.rpartition("/")[0], json=deployment(2, web="nginx:1"), headers=agent
    ) as response:
        made = await response.json()
    [entry] = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("curl", "Update")
    assert "f:replicas" in entry["fieldsV1"]["f:spec"]
    merge = {"Content-Type": "application/merge-patch+json"}
    body = {"spec": {"replicas": 3}, "metadata": {"labels": {"x": "y"}}}
    async with client.patch(DEPLOYMENT, json=body, headers=merge, params={"fieldManager": "me"}) as response:
        changed = await response.json()
    found = owners(changed)
    assert found["me", "Update", ""] == {"f:replicas"}
    assert "f:replicas" not in found["curl", "Update", ""]
    async with client.patch(
        f"{DEPLOYMENT}/scale", json={"spec": {"replicas": 4}}, headers={**merge, **agent}
    ) as response:
        assert response.status == 200
    async with client.get(DEPLOYMENT) as response:
        found = owners(await response.json())
    assert found["curl", "Update", "scale"] == {"f:replicas"}
    assert found["me", "Update", ""] == set()


async def test_an_apply_conflicts_with_other_writers(client):
    async with client.post(
        DEPLOYMENT.rpartition("/")[0],
        json=deployment(2, web="nginx:1"),
        params={"fieldManager": "kubectl-create"},
    ) as response:
        assert response.status == 201
    refused = await send(client, DEPLOYMENT, deployment(3, web="nginx:1"), code=409)
    text = 'conflict with "kubectl-create" using apps/v1: .spec.replicas'
    assert refused["message"] == f"Apply failed with 1 conflict: {text}"
    same = await send(client, DEPLOYMENT, deployment(2, web="nginx:1"))
    assert {("me", "Apply", ""), ("kubectl-create", "Update", "")} == set(owners(same))
    two = await send(client, DEPLOYMENT, deployment(3, web="nginx:2"), code=409)
    assert two["message"].startswith("Apply failed with 2 conflicts: \n- conflict with")
    assert len(two["details"]["causes"]) == 2


async def test_what_was_there_before_anybody_was_counted(client, store):
    store.create("deployments.apps", "default", deployment(2, web="nginx:1"))
    refused = await send(client, DEPLOYMENT, deployment(3, web="nginx:1"), code=409)
    assert 'conflict with "before-first-apply" using apps/v1' in refused["message"]
    await send(client, DEPLOYMENT, deployment(3, web="nginx:1"), force="true")


async def test_the_status_is_owned_apart(client):
    await send(client, DEPLOYMENT, deployment(2, web="nginx:1"), code=201)
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(
        f"{DEPLOYMENT}/status",
        json={"status": {"replicas": 1}},
        headers=merge,
        params={"fieldManager": "ctl"},
    ) as response:
        found = await response.json()
    entry = found["metadata"]["managedFields"][1]
    assert (entry["manager"], entry["subresource"]) == ("ctl", "status")
    assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}


async def test_an_update_that_changes_nothing_owns_nothing(client):
    made = await send(client, POLICY, policy(podSelector={}), code=201)
    async with client.put(POLICY, json=policy(podSelector={})) as response:
        assert (await response.json())["metadata"] == made["metadata"]


async def test_a_client_may_hand_its_fields_over(client):
    """What ``kubectl apply --server-side`` does to an object that it once applied itself."""
    made = await send(client, POLICY, policy(podSelector={}), code=201)
    body = [{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "other"}]
    async with client.patch(
        POLICY, json=body, headers={"Content-Type": "application/json-patch+json"}
    ) as response:
        changed = await response.json()
    assert set(owners(changed)) == {("other", "Apply", "")}
    assert changed["spec"] == made["spec"]
    async with client.patch(
        POLICY,
        json={"metadata": {"managedFields": [{}]}},
        headers={"Content-Type": "application/merge-patch+json"},
    ) as response:
        assert "managedFields" not in (await response.json())["metadata"]


async def test_many_writers_share_an_entry(client):
    await send(client, POLICY, policy(podSelector={}), code=201)
    merge = {"Content-Type": "application/merge-patch+json"}
    for number in range(12):
        body = {"metadata": {"labels": {f"l{number}": "x"}}}
        async with client.patch(
            POLICY, json=body, headers=merge, params={"fieldManager": f"m{number}"}
        ) as response:
            found = await response.json()
    names = [entry["manager"] for entry in found["metadata"]["managedFields"]]
    assert len(names) == 11
    assert "ancient-changes" in names


async def test_lists_of_a_custom_kind_merge_as_its_schema_says(client, store):
    port = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
    }
    keyed = {
        "type": "array",
        "items": port,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    spec = {
        "type": "object",
        "properties": {
            "ports": keyed,
            "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "order": {"type": "array", "items": {"type": "string"}},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    definition = {
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [version],
        },
    }
    store.create("customresourcedefinitions.apiextensions.k8s.io", "", definition)
    path = "/apis/example.com/v1/namespaces/default/gadgets/g"

    def gadget(**spec):
        return {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec}

    first = gadget(ports=[{"name": "a", "port": 1}], names=["x"], order=["1"])
    await send(client, path, first, code=201)
    both = await send(client, path, gadget(ports=[{"name": "b", "port": 2}], names=["y"]), manager="other")
    assert both["spec"]["ports"] == [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    assert both["spec"]["names"] == ["x", "y"]
    await send(client, path, gadget(ports=[{"name": "a", "port": 3}]), manager="other", code=409)
    await send(client, path, gadget(order=["1", "2"]), manager="other", code=409)
    fewer = await send(client, path, gadget(order=["1"]))
    assert fewer["spec"] == {"ports": [{"name": "b", "port": 2}], "names": ["y"], "order": ["1"]}
