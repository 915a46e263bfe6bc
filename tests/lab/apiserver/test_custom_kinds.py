"""CustomResourceDefinitions: what kubectl and other clients see of a kind that they brought themselves."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path

import pytest
import yaml

from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.controllers import run_controllers

MANIFEST = Path(__file__).parent / "manifests/clusternetworkpolicies.yaml"
NAME = "clusternetworkpolicies.policy.networking.k8s.io"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POLICIES = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"
POLICY = """
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: cluster-deny}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  egress:
  - action: Deny
    to: [{networks: [10.0.0.0/8]}]
"""


def definition():
    return yaml.safe_load(MANIFEST.read_text())


def policy(**spec):
    made = yaml.safe_load(POLICY)
    made["spec"] |= spec
    return made


@pytest.fixture
async def controllers(store):
    task = asyncio.create_task(run_controllers(store))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def installed(store):
    return store.create("customresourcedefinitions.apiextensions.k8s.io", "", definition())


async def test_install_use_and_remove(kubectl, controllers):
    out = await kubectl("apply", "-f", str(MANIFEST))
    assert (out.code, out.err) == (0, ""), out
    waited = await kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=10s")
    assert waited.code == 0, waited
    assert NAME in (await kubectl("get", "crd")).out
    made = await kubectl("apply", "-f", "-", stdin=POLICY)
    assert (made.code, made.out) == (
        0,
        "clusternetworkpolicy.policy.networking.k8s.io/cluster-deny created\n",
    ), made
    assert "unchanged" in (await kubectl("apply", "-f", "-", stdin=POLICY)).out
    changed = await kubectl("apply", "-f", "-", stdin=POLICY.replace("priority: 10", "priority: 20"))
    assert "configured" in changed.out, changed
    heads, row = (line.split() for line in (await kubectl("get", "cnp")).out.splitlines())
    assert heads == ["NAME", "TIER", "PRIORITY", "AGE"]
    assert row[:3] == ["cluster-deny", "Admin", "20"]
    described = await kubectl("describe", "cnp", "cluster-deny")
    assert "Priority:  20" in described.out, described
    explained = await kubectl("explain", "clusternetworkpolicies.spec.tier")
    assert "Before or after NetworkPolicies." in explained.out, explained
    refused = await kubectl("apply", "-f", "-", stdin=POLICY.replace("10.0.0.0/8", "10.0.0.0/88"))
    assert "Invalid CIDR format provided" in refused.err
    unknown = await kubectl("apply", "-f", "-", stdin=POLICY.replace("tier:", "teir: Admin\n  tier:"))
    assert 'unknown field "' in unknown.err, unknown
    assert "clusternetworkpolicies" in (await kubectl("api-resources")).out
    gone = await kubectl("delete", "crd", NAME, "--timeout=10s")
    assert gone.code == 0, gone
    missing = await kubectl("get", "cnp")
    assert missing.code == 1
    assert "could not find the requested resource" in missing.err or "doesn't have a resource" in missing.err


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"tier": "X"}, 'spec.tier: Unsupported value: "X": supported values: "Admin", "Baseline"'),
        ({"priority": 1001}, "spec.priority in body should be less than or equal to 1000"),
        ({"priority": "1"}, 'spec.priority in body must be of type integer: "string"'),
        ({"subject": {}}, "spec.subject in body should have at least 1 properties"),
        ({"subject": {"namespaces": {}, "pods": {"podSelector": {}, "namespaceSelector": {}}}}, "Too many"),
        ({"ingress": [{"action": "Deny"}]}, "spec.ingress[0].from: Required value"),
        (
            {"egress": [{"action": "Deny", "to": [{"networks": ["10.0.0.0/8", "10.0.0.0/8"]}]}]},
            'spec.egress[0].to[0].networks[1]: Duplicate value: "10.0.0.0/8"',
        ),
        (
            {"egress": [{"action": "Deny", "to": [{"networks": ["a/8"]}]}]},
            'spec.egress[0].to[0].networks[0]: Invalid value: "string": Invalid CIDR format provided',
        ),
        (
            {
                "egress": [
                    {
                        "action": "Deny",
                        "to": [{"networks": ["10.0.0.0/8"]}],
                        "protocols": [{"destinationNamedPort": "http"}],
                    }
                ]
            },
            'spec.egress[0]: Invalid value: "object": networks/nodes/domainNames peer cannot be set',
        ),
        (
            {
                "egress": [
                    {
                        "action": "Deny",
                        "to": [{"namespaces": {}}],
                        "protocols": [{"tcp": {"destinationPort": {"range": {"start": 5, "end": 5}}}}],
                    }
                ]
            },
            "Start port must be less than end port",
        ),
        (
            {"egress": [{"action": "Deny", "to": [{"namespaces": {}}], "protocols": [{"tcp": {}}]}]},
            "spec.egress[0].protocols[0].tcp in body should have at least 1 properties",
        ),
    ],
)
async def test_what_the_schema_refuses(client, installed, spec, message):
    async with client.post(POLICIES, json=policy(**spec)) as response:
        found = await response.json()
    assert response.status == 422, found
    assert message in found["message"]


async def test_unknown_fields_go_and_status_is_apart(client, installed):
    wrong = {**policy(), "status": {"conditions": []}, "extra": 1}
    async with client.post(POLICIES, json=wrong) as response:
        made = await response.json()
        assert response.headers["Warning"] == '299 - "unknown field \\"extra\\""'
    assert made.keys() == {"apiVersion", "kind", "metadata", "spec"}
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Yes",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patch = {"spec": {"priority": 7}, "status": {"conditions": [condition]}}
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(f"{POLICIES}/cluster-deny/status", json=patch, headers=merge) as response:
        found = await response.json()
    assert (found["spec"]["priority"], found["status"]["conditions"]) == (10, [condition])
    assert found["metadata"]["generation"] == 1
    async with client.patch(
        f"{POLICIES}/cluster-deny/status", json={"status": {"conditions": [{}]}}, headers=merge
    ) as response:
        assert response.status == 422
    async with client.patch(f"{POLICIES}/cluster-deny", json=patch, headers=merge) as response:
        found = await response.json()
    assert (found["spec"]["priority"], found["metadata"]["generation"]) == (7, 2)
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    async with client.patch(f"{POLICIES}/cluster-deny", json=patch, headers=strategic) as response:
        assert response.status == 415


def changed(*path, value):
    made = definition()
    here = made
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return made


SCHEMA = ("spec", "versions", 0, "schema", "openAPIV3Schema")
RULES = (*SCHEMA, "properties", "spec", "x-kubernetes-validations")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (changed("metadata", "name", value="other"), "must be spec.names.plural"),
        (changed("metadata", "annotations", value={}), "protected groups must have approval annotation"),
        (changed("spec", "scope", value="World"), 'spec.scope: Unsupported value: "World"'),
        (
            changed("spec", "versions", 0, "storage", value=False),
            "must have exactly one version marked as storage",
        ),
        (changed("spec", "versions", 0, "schema", value={}), "schemas are required"),
        (
            changed(*SCHEMA, "properties", "spec", "type", value=""),
            "must not be empty for specified object fields",
        ),
        (changed(*SCHEMA, "type", value="array"), "must be object at the root"),
        (changed(*RULES, value=[{"rule": "self.tier ="}]), "compilation failed: ERROR: syntax error at 11"),
        (
            changed(*RULES, value=[{"rule": "url(self.tier).getHost() == ''"}]),
            "the function .getHost() is not supported by this API server",
        ),
        (changed(*RULES, value=[{"rule": "this.tier == ''"}]), "undeclared reference to 'this'"),
        (
            changed("spec", "versions", 0, "additionalPrinterColumns", 0, "jsonPath", value="{.a}"),
            "unrecognized JSONPath",
        ),
        (
            changed(*SCHEMA, "properties", "spec", "properties", "tier", "default", value=3),
            'must be of type string: "integer"',
        ),
    ],
)
async def test_definitions_that_are_refused(client, made, message):
    async with client.post(CRDS, json=made) as response:
        found = await response.json()
    assert response.status == 422, found
    assert message in found["message"]
    async with client.get(POLICIES) as response:
        assert response.status == 404


def small(schema, **version):
    """A namespaced kind with this schema of ``spec``."""
    body = {"type": "object", "properties": {"spec": schema}}
    first = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": body}, **version}
    names = {"plural": "gadgets", "kind": "Gadget", "shortNames": ["gd"]}
    return {
        "metadata": {"name": "gadgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [first]},
    }


GADGETS = "/apis/example.com/v1/namespaces/default/gadgets"


async def post(client, path, obj, code=201):
    async with client.post(path, json=obj) as response:
        found = await response.json()
        assert response.status == code, found
        return found


async def test_defaults(client):
    inner = {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}}
    await post(client, CRDS, small({"type": "object", "default": {}, "properties": {"a": inner}}))
    made = await post(client, GADGETS, {"metadata": {"name": "g"}})
    assert made["spec"] == {"a": {"b": 3}}
    made = await post(client, GADGETS, {"metadata": {"name": "h"}, "spec": {"a": {"b": 4}}})
    assert made["spec"] == {"a": {"b": 4}}


async def test_what_may_not_change_any_more(client):
    rule = {"rule": "self == oldSelf", "message": "is fixed"}
    text = {"type": "string", "x-kubernetes-validations": [rule]}
    await post(client, CRDS, small({"type": "object", "properties": {"a": text}}))
    made = await post(client, GADGETS, {"metadata": {"name": "g"}, "spec": {"a": "x"}})
    made["spec"]["a"] = "y"
    async with client.put(f"{GADGETS}/g", json=made) as response:
        found = await response.json()
    assert response.status == 422
    assert 'spec.a: Invalid value: "string": is fixed' in found["message"]


async def test_what_was_stored_under_an_older_schema_may_stay(client):
    await post(client, CRDS, small({"type": "object", "properties": {"a": {"type": "string"}}}))
    await post(client, GADGETS, {"metadata": {"name": "g"}, "spec": {"a": "long text"}})
    stricter = {"type": "string", "maxLength": 4}
    merge = {"Content-Type": "application/merge-patch+json"}
    crd = small({"type": "object", "properties": {"a": stricter}})
    async with client.patch(f"{CRDS}/gadgets.example.com", json=crd, headers=merge) as response:
        assert response.status == 200, await response.text()
    label = {"metadata": {"labels": {"x": "y"}}}
    async with client.patch(f"{GADGETS}/g", json=label, headers=merge) as response:
        assert response.status == 200, await response.text()
    async with client.patch(f"{GADGETS}/g", json={"spec": {"a": "other text"}}, headers=merge) as response:
        assert response.status == 422


async def test_versions_differ_in_their_name_only(client):
    first = small({"type": "object", "properties": {"a": {"type": "string"}}})
    versions = first["spec"]["versions"]
    versions.append({**copy.deepcopy(versions[0]), "name": "v1beta1", "storage": False})
    await post(client, CRDS, first)
    old = GADGETS.replace("v1", "v1beta1")
    made = await post(client, old, {"metadata": {"name": "g"}, "spec": {"a": "x"}})
    assert made["apiVersion"] == "example.com/v1beta1"
    for path, version in ((GADGETS, "v1"), (old, "v1beta1")):
        async with client.get(path) as response:
            found = await response.json()
        assert found["apiVersion"] == found["items"][0]["apiVersion"] == f"example.com/{version}"
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(f"{old}/g", json={"spec": {"a": "y"}}, headers=merge) as response:
        assert (await response.json())["apiVersion"] == "example.com/v1beta1"
    async with client.get("/apis/example.com") as response:
        assert (await response.json())["preferredVersion"]["version"] == "v1"


async def test_scale(client):
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}}
    paths = {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count"}
    await post(client, CRDS, small(schema, subresources={"scale": paths, "status": {}}))
    await post(client, GADGETS, {"metadata": {"name": "g"}, "spec": {"count": 2}})
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(f"{GADGETS}/g/scale", json={"spec": {"replicas": 5}}, headers=merge) as response:
        assert (await response.json())["spec"] == {"replicas": 5}
    async with client.get(f"{GADGETS}/g") as response:
        assert (await response.json())["spec"] == {"count": 5}


async def test_names_that_are_taken(client, store):
    other = small({"type": "object"})
    other["metadata"]["name"] = "deployments.apps"
    other["spec"]["names"] = {"plural": "things", "kind": "Deployment"}
    other["spec"]["group"] = "example.com"
    other["metadata"]["name"] = "things.example.com"
    await post(client, CRDS, small({"type": "object"}))
    other["spec"]["names"] = {"plural": "things", "kind": "Gadget"}
    made = await post(client, CRDS, other)
    conditions = {c["type"]: (c["status"], c["reason"]) for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": ("False", "KindConflict"), "Established": ("False", "NotAccepted")}
    async with client.get("/apis/example.com/v1/things") as response:
        assert response.status == 404


def test_a_restart_serves_them_again(tmp_path):
    storage = Storage(tmp_path / "db")
    first = ObjectStore(storage)
    first.create("customresourcedefinitions.apiextensions.k8s.io", "", definition())
    first.create(NAME, "", policy())
    first.close()
    second = ObjectStore(Storage(tmp_path / "db"))
    assert second.get(NAME, "", "cluster-deny")["spec"]["priority"] == 10


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def owner(obj, **more):
    metadata = obj["metadata"]
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    return {**reference, "name": metadata["name"], "uid": metadata["uid"], **more}


async def test_custom_objects_own_and_are_owned(store, controllers):
    store.create("customresourcedefinitions.apiextensions.k8s.io", "", small({"type": "object"}))
    resource = "gadgets.example.com"
    top = store.create(resource, "default", {"metadata": {"name": "top"}})
    held = {"name": "held", "ownerReferences": [owner(top)]}
    middle = store.create(resource, "default", {"metadata": held})
    leaf = {"name": "leaf", "ownerReferences": [owner(middle, blockOwnerDeletion=True)]}
    store.create("configmaps", "default", {"metadata": leaf})
    store.create("namespaces", "", {"metadata": {"name": "shop"}})
    store.create(resource, "shop", {"metadata": {"name": "other"}})
    await asyncio.sleep(0.05)
    assert store.find("configmaps", "default", "leaf")
    store.delete(resource, "default", "top")
    await eventually(lambda: store.list(resource, "default") == [])
    await eventually(lambda: store.find("configmaps", "default", "leaf") is None)
    store.delete("namespaces", "", "shop")
    await eventually(lambda: store.find("namespaces", "", "shop") is None)
    assert store.list(resource) == []


async def test_a_definition_waits_for_finalizers(client, store, controllers):
    await post(client, CRDS, small({"type": "object"}))
    await post(client, GADGETS, {"metadata": {"name": "g", "finalizers": ["example.com/mine"]}})
    async with client.delete(f"{CRDS}/gadgets.example.com") as response:
        assert (await response.json())["metadata"]["deletionTimestamp"]
    await eventually(
        lambda: "deletionTimestamp" in store.get("gadgets.example.com", "default", "g")["metadata"]
    )
    found = await post(client, GADGETS, {"metadata": {"name": "h"}}, 405)
    assert "while custom resource definition is terminating" in found["message"]
    merge = {"Content-Type": "application/merge-patch+json"}
    async with client.patch(
        f"{GADGETS}/g", json={"metadata": {"finalizers": None}}, headers=merge
    ) as response:
        assert response.status == 200
    await eventually(lambda: not store.serves("gadgets.example.com"))
    async with client.get(GADGETS) as response:
        assert response.status == 404
