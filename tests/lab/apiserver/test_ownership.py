"""Fields that several managers apply, give up and take over; and the way from ``kubectl apply`` to ``--server-side`` (KEP-555)."""

from __future__ import annotations

import json

from .test_apply import DEPLOYMENT, deployment, owners, policy, send

MAP = "/api/v1/namespaces/default/configmaps/m"


def config(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}


def keys(obj):
    return {
        entry["manager"]: sorted(entry["fieldsV1"].get("f:data", {}))
        for entry in obj["metadata"]["managedFields"]
    }


async def test_a_shared_field_stays_until_its_last_owner_gives_it_up(client):
    await send(client, MAP, config(a="1", b="1"), "one", 201)
    both = await send(client, MAP, config(a="1"), "two")
    assert keys(both) == {"one": ["f:a", "f:b"], "two": ["f:a"]}
    left = await send(client, MAP, config(), "one")
    assert left["data"] == {"a": "1"}
    assert keys(left)["two"] == ["f:a"]
    gone = await send(client, MAP, config(), "two")
    assert gone.get("data", {}) == {}


async def test_force_takes_a_field_over_and_its_old_owner_can_no_longer_remove_it(client):
    await send(client, MAP, config(a="1", b="1"), "one", 201)
    taken = await send(client, MAP, config(a="2"), "two", force="true")
    assert keys(taken) == {"one": ["f:b"], "two": ["f:a"]}
    left = await send(client, MAP, config(b="1"), "one")
    assert left["data"] == {"a": "2", "b": "1"}
    refused = await send(client, MAP, config(a="3", b="1"), "one", 409)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "two": .data.a'


async def test_a_field_is_handed_to_a_controller(client):
    """The steps of the documentation: another writes the value, then the applier leaves it out."""
    await send(client, DEPLOYMENT, deployment(2, web="nginx:1"), "user", 201)
    only = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2},
    }
    await send(client, DEPLOYMENT, only, "hpa")
    left = await send(client, DEPLOYMENT, deployment(web="nginx:1"), "user")
    assert left["spec"]["replicas"] == 2
    assert "f:replicas" in owners(left)["hpa", "Apply", ""]
    assert "f:replicas" not in owners(left)["user", "Apply", ""]
    changed = {"spec": {"replicas": 5}}
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(
        f"{DEPLOYMENT}/scale", json=changed, headers=merge, params={"fieldManager": "hpa2"}
    ) as response:
        assert response.status == 200
    again = await send(client, DEPLOYMENT, deployment(web="nginx:2"), "user")
    assert again["spec"]["replicas"] == 5


async def test_what_an_update_removes_its_applier_brings_back(client):
    await send(client, MAP, config(a="1"), "one", 201)
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(
        MAP, json={"data": {"a": None}}, headers=merge, params={"fieldManager": "e"}
    ) as response:
        assert "one" not in keys(await response.json()) or keys(await response.json())["one"] == []
    assert (await send(client, MAP, config(a="1"), "one"))["data"] == {"a": "1"}


async def test_a_default_that_nobody_applied_can_be_applied(client):
    """Defaults belong to nobody: to apply another value is no conflict."""
    await send(client, DEPLOYMENT, deployment(web="nginx:1"), "one", 201)
    found = await send(client, DEPLOYMENT, deployment(3, web="nginx:1"), "two")
    assert found["spec"]["replicas"] == 3


async def test_apply_creates_with_one_entry_and_refuses_with_a_uid(client):
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/p"
    wanted = policy(podSelector={})
    wanted["metadata"]["uid"] = "f8e7a5d6-0000-0000-0000-000000000000"
    await send(client, path, wanted, code=409)
    del wanted["metadata"]["uid"]
    made = await send(client, path, wanted, code=201)
    assert list(owners(made)) == [("me", "Apply", "")]


async def test_kubectl_turns_from_client_side_to_server_side(kubectl, store, tmp_path):
    if kubectl.old:
        return  # 1.20 does not migrate
    file = tmp_path / "m.json"
    file.write_text(json.dumps(config(a="1", b="1")))
    assert (await kubectl("apply", "-f", str(file))).code == 0
    done = await kubectl("apply", "--server-side", "-f", str(file))
    assert done.code == 0, done.err
    file.write_text(json.dumps(config(a="2")))
    done = await kubectl("apply", "--server-side", "-f", str(file))
    assert done.code == 0, done.err
    found = store.get("configmaps", "default", "m")
    assert found["data"] == {"a": "2"}
    assert ("kubectl-client-side-apply", "Update", "") not in owners(found)
