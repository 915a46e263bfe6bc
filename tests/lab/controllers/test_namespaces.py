"""Namespaces are furnished and emptied; garbage is collected."""

from __future__ import annotations

from .conftest import deployment, pod


def configmap(name, *owners, **metadata):
    references = [{"apiVersion": v, "kind": k, "name": n, "uid": u} for v, k, n, u in owners]
    meta = {"name": name, "ownerReferences": references, **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def names(world, resource, namespace="default"):
    return sorted(o["metadata"]["name"] for o in world.all(resource, namespace))


def conditions(world):
    found = world.get("namespaces", "other", "").get("status", {}).get("conditions", [])
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in found}


async def test_every_namespace_has_its_account_and_certificate(world):
    world.add("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}, "")
    for namespace in ("default", "other", "new"):
        await world.until(lambda: world.all("configmaps", namespace))  # noqa: B023
        assert names(world, "serviceaccounts", namespace) == ["default"]
        assert names(world, "configmaps", namespace) == ["kube-root-ca.crt"]
    world.registry.delete("serviceaccounts", "new", "default")
    await world.until(lambda: names(world, "serviceaccounts", "new") == ["default"])


async def test_a_namespace_ends_pods_first(world):
    world.kubelet_removes = False
    world.add("deployments.apps", deployment(replicas=1), "other")
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny"},
        "spec": {},
    }
    world.add("networkpolicies.networking.k8s.io", policy, "other")
    await world.until(lambda: world.pods("other") and "phase" in world.pods("other")[0].get("status", {}))
    world.registry.delete("namespaces", "", "other")
    await world.until(lambda: not world.pods("other"))
    await world.settle()
    assert names(world, "networkpolicies.networking.k8s.io", "other") == ["deny"]
    assert len(world.all("pods", "other")) == 1
    world.registry.remove("pods", "other", world.all("pods", "other")[0]["metadata"]["name"])
    await world.until(lambda: world.registry.find("namespaces", "", "other") is None)
    for resource in ("configmaps", "serviceaccounts", "deployments.apps", "replicasets.apps", "events"):
        assert names(world, resource, "other") == []
    assert names(world, "serviceaccounts") == ["default"]


async def test_finalizers_hold_a_namespace_back(world):
    world.add("configmaps", configmap("held", finalizers=["example.com/hold"]), "other")
    world.registry.delete("namespaces", "", "other")
    await world.until(lambda: names(world, "configmaps", "other") == ["held"])
    await world.until(lambda: "NamespaceFinalizersRemaining" in conditions(world))
    found = conditions(world)
    text = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    assert found["NamespaceFinalizersRemaining"] == ("True", "SomeFinalizersRemain", text)
    text = "Some resources are remaining: configmaps. has 1 resource instances"
    assert found["NamespaceContentRemaining"] == ("True", "SomeResourcesRemain", text)
    assert found["NamespaceDeletionContentFailure"][:2] == ("False", "ContentDeleted")
    assert len(found) == 5
    world.edit("configmaps", "held", lambda obj: obj["metadata"].update(finalizers=[]), "other")
    await world.until(lambda: world.registry.find("namespaces", "", "other") is None)


async def test_a_dependent_goes_with_its_last_owner(world):
    owners = []
    for name in ("a", "b"):
        uid = world.add("pods", pod(name, {"x": "y"}))["metadata"]["uid"]
        owners.append(("v1", "Pod", name, uid))
    world.add("configmaps", configmap("both", *owners))
    world.add("configmaps", configmap("impostor", ("v1", "Pod", "a", "another-uid")))
    world.add("configmaps", configmap("foreign", ("example.com/v1", "Widget", "w", "some-uid")))
    await world.until(lambda: "impostor" not in names(world, "configmaps"))
    world.registry.delete("pods", "default", "a")
    await world.until(lambda: len(world.get("configmaps", "both")["metadata"]["ownerReferences"]) == 1)
    world.registry.delete("pods", "default", "b")
    await world.until(lambda: "both" not in names(world, "configmaps"))
    assert "foreign" in names(world, "configmaps")


async def test_cluster_scoped_owners(world):
    uid = world.get("nodes", "node-1", "")["metadata"]["uid"]
    world.add("configmaps", configmap("of-node", ("v1", "Node", "node-1", uid)))
    await world.settle()
    assert "of-node" in names(world, "configmaps")
    world.registry.delete("nodes", "", "node-1")
    await world.until(lambda: "of-node" not in names(world, "configmaps"))
