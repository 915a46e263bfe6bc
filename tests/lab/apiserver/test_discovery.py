"""Discovery and OpenAPI: the plain and the aggregated form agree, and every document is complete in itself."""

from __future__ import annotations

import msgspec
import pytest

from stockade.lab.apiserver import discovery, openapi
from stockade.lab.apiserver.kinds import KINDS, Catalogue
from stockade.lab.apiserver.printers import PRINTERS
from stockade.manifests import schema


async def get(client, path, accept="application/json"):
    async with client.get(path, headers={"Accept": accept}) as response:
        assert response.status == 200
        return response.headers["Content-Type"], await response.read()


def test_every_kind_has_fields_and_a_printer():
    assert {kind.kind for kind in KINDS} == set(PRINTERS)
    assert all(schema.type_of(kind.api_version, kind.kind) for kind in KINDS)


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_aggregated_and_plain_discovery_agree(client, version):
    accept = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json"
    aggregated = {}
    for path in ("/api", "/apis"):
        media, body = await get(client, path, accept)
        assert f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" in media
        for item in msgspec.json.decode(body)["items"]:
            for served in item["versions"]:
                for entry in served["resources"]:
                    subresources = [sub["subresource"] for sub in entry.get("subresources", [])]
                    aggregated[item["metadata"]["name"], served["version"], entry["resource"]] = (
                        entry["verbs"],
                        sorted(subresources),
                    )
    plain = {}
    for group, served in discovery.group_versions(Catalogue()):
        _, body = await get(client, f"/apis/{group}/{served}" if group else f"/api/{served}")
        for entry in msgspec.json.decode(body)["resources"]:
            resource, _, sub = entry["name"].partition("/")
            if sub:
                plain[group, served, resource][1].append(sub)
            else:
                plain[group, served, resource] = (entry["verbs"], [])
    assert plain == aggregated
    assert len(plain) == len(KINDS) + len(discovery.POSTED)


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_plain_groups(client):
    _, body = await get(client, "/apis")
    groups = {group["name"] for group in msgspec.json.decode(body)["groups"]}
    assert {
        "apiextensions.k8s.io",
        "apps",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "batch",
        "networking.k8s.io",
        "discovery.k8s.io",
        "coordination.k8s.io",
        "events.k8s.io",
        "policy",
    } == groups
    _, body = await get(client, "/apis/apps")
    assert msgspec.json.decode(body)["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    _, body = await get(client, "/version/")
    assert msgspec.json.decode(body)["gitVersion"] == "v1.34.0"


@pytest.mark.parametrize("path", ["/apis", "/openapi/v2", "/openapi/v3/apis/apps/v1"])
async def test_what_did_not_change_is_not_sent_again(client, path):
    accept = {"Accept": AGGREGATED if path == "/apis" else "application/json"}
    async with client.get(path, headers=accept) as response:
        tag = response.headers["ETag"]
    async with client.get(path, headers={**accept, "If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with client.get(path, headers={**accept, "If-None-Match": '"other"'}) as response:
        assert response.status == 200


async def test_an_address_with_an_old_hash_leads_to_the_new_one(client):
    async with client.get("/openapi/v3/apis/apps/v1?hash=OLD", allow_redirects=False) as response:
        assert response.status == 301
        moved = response.headers["Location"]
    async with client.get(moved) as response:
        assert (response.status, response.headers["Cache-Control"]) == (200, "public, immutable")


async def test_the_openapi_index_leads_to_documents(client):
    _, body = await get(client, "/openapi/v3")
    paths = msgspec.json.decode(body)["paths"]
    assert "api/v1" in paths
    for entry in paths.values():
        _, document = await get(client, entry["serverRelativeURL"])
        assert msgspec.json.decode(document)["openapi"] == "3.0.0"


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/networking.k8s.io/v1"])
def test_openapi_documents_are_closed_and_offer_field_validation(path):
    raw = openapi.document(Catalogue(), path)
    assert raw is not None
    document = msgspec.json.decode(raw)
    schemas = document["components"]["schemas"]
    for target in references(document):
        assert target.removeprefix("#/components/schemas/") in schemas
    writes = [
        item[verb] for item in document["paths"].values() for verb in ("post", "put", "patch") if verb in item
    ]
    assert writes
    for operation in writes:
        assert operation["x-kubernetes-group-version-kind"]["kind"]
        assert {"fieldValidation", "dryRun"} <= {parameter["name"] for parameter in operation["parameters"]}


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_openapi_tells_merge_keys():
    raw = openapi.document(Catalogue(), "api/v1")
    assert raw is not None
    spec = msgspec.json.decode(raw)["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]
    containers = spec["properties"]["containers"]
    assert (containers["x-kubernetes-patch-strategy"], containers["x-kubernetes-patch-merge-key"]) == (
        "merge",
        "name",
    )


def test_openapi_has_no_empty_schema():
    """``kubectl explain --recursive`` takes an empty schema for a missing one, and gives up."""
    raw = openapi.document(Catalogue(), "api/v1")
    assert raw is not None
    for name, described_type in msgspec.json.decode(raw)["components"]["schemas"].items():
        for field, described in described_type.get("properties", {}).items():
            held = [
                described,
                *(described[key] for key in ("items", "additionalProperties") if key in described),
            ]
            assert all(held), f"{name}.{field}"


def test_openapi_lists_a_kind_in_all_namespaces():
    """``kubectl explain`` of 1.27 knows a kind by this path alone."""
    raw = openapi.document(Catalogue(), "apis/apps/v1")
    assert raw is not None
    found = msgspec.json.decode(raw)["paths"]["/apis/apps/v1/deployments"]["get"]
    assert found["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
