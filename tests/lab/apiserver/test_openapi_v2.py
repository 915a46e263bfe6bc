"""OpenAPI v2: the document, its protobuf form, and what the oldest client (which reads nothing else) does with it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from stockade.lab.apiserver import openapi_v2, openapi_v2_wire
from stockade.lab.apiserver.kinds import KINDS

ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
MANIFESTS = sorted((Path(__file__).parent / "manifests").glob("*.yaml"), key=lambda path: path.name)
OBJECTS = re.compile(r"^(?:  )?kind: (?!List$)", re.MULTILINE)
POLICIES = "networkpolicies.networking.k8s.io"
HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: foo\nspec:\n  podSelector: {}\n"
REFUSED = {
    "unknown field": (
        "  ingres: []",
        'ValidationError(NetworkPolicy.spec): unknown field "ingres" in io.k8s.api.networking.v1.NetworkPolicySpec',
    ),
    "unknown field in a list": (
        "  ingress: [{form: []}]",
        (
            'ValidationError(NetworkPolicy.spec.ingress[0]): unknown field "form" in '
            "io.k8s.api.networking.v1.NetworkPolicyIngressRule"
        ),
    ),
    "no list": (
        "  policyTypes: Egress",
        (
            "ValidationError(NetworkPolicy.spec.policyTypes): invalid type for "
            'io.k8s.api.networking.v1.NetworkPolicySpec.policyTypes: got "string", expected "array"'
        ),
    ),
    "neither a number nor a name": (
        "  egress: [{ports: [{port: [80]}]}]",
        (
            "ValidationError(NetworkPolicy.spec.egress[0].ports[0].port): invalid type for "
            'io.k8s.apimachinery.pkg.util.intstr.IntOrString: got "array", expected "string"'
        ),
    ),
    "no number": (
        "  egress: [{ports: [{port: 80, endPort: last}]}]",
        (
            "ValidationError(NetworkPolicy.spec.egress[0].ports[0].endPort): invalid type for "
            'io.k8s.api.networking.v1.NetworkPolicyPort.endPort: got "string", expected "integer"'
        ),
    ),
    "missing field": (
        "  egress: [{to: [{ipBlock: {except: [10.0.0.0/8]}}]}]",
        (
            'ValidationError(NetworkPolicy.spec.egress[0].to[0].ipBlock): missing required field "cidr" in '
            "io.k8s.api.networking.v1.IPBlock"
        ),
    ),
}


def parts(value):
    """Every object in the document."""
    if isinstance(value, dict):
        yield value
        named = value.get("properties") if isinstance(value.get("properties"), dict) else {}
        value = [*named.values(), *(each for key, each in value.items() if key != "properties")]
    if isinstance(value, list):
        for item in value:
            yield from parts(item)


def test_the_document_speaks_version_2_and_is_closed():
    document = openapi_v2.describe(KINDS)
    assert document["swagger"] == "2.0"
    for part in parts(document):
        assert not {"allOf", "oneOf", "requestBody", "content"} & part.keys()
        if isinstance(part.get("$ref"), str):
            assert part["$ref"].removeprefix("#/definitions/") in document["definitions"]
            assert part.keys() <= {"$ref", "description", "x-kubernetes-patch-strategy"}


def test_every_kind_has_a_definition_and_a_patch_with_dry_run():
    document = openapi_v2.describe(KINDS)
    defined = [
        gvk
        for spec in document["definitions"].values()
        for gvk in spec.get("x-kubernetes-group-version-kind", [])
    ]
    offered = [
        item["patch"]["x-kubernetes-group-version-kind"]
        for item in document["paths"].values()
        if "patch" in item
        and {"dryRun", "fieldValidation"} <= {each["name"] for each in item["patch"]["parameters"]}
    ]
    served = [{"group": kind.group, "version": kind.version, "kind": kind.kind} for kind in KINDS]
    for found in (defined, offered):
        assert sorted(found, key=str) == sorted(served, key=str)


def test_types_that_are_written_in_two_ways():
    """A client of that time takes a number where a string is expected."""
    definitions = openapi_v2.describe(KINDS)["definitions"]
    apimachinery = "io.k8s.apimachinery.pkg"
    assert definitions[f"{apimachinery}.util.intstr.IntOrString"] == {
        "type": "string",
        "format": "int-or-string",
    }
    assert definitions[f"{apimachinery}.api.resource.Quantity"]["type"] == "string"
    assert definitions[f"{apimachinery}.apis.meta.v1.Time"] == {"type": "string", "format": "date-time"}
    containers = definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["items"] == {"$ref": "#/definitions/io.k8s.api.core.v1.Container"}
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-patch-merge-key"] == "name"


def test_the_protobuf_form_is_the_one_of_gnostic():
    """Written out by hand from the message definitions: field numbers, wrappers, entries of maps."""
    schema = {"type": "array", "items": {"$ref": "R"}, "x-k": {"a": 1}}
    assert openapi_v2_wire.encode({"definitions": {"D": schema}}) == (
        b"\x4a\x2c\x0a\x2a"  # Document.definitions, its first entry
        b"\x0a\x01D\x12\x25"  # name and value of the entry
        b"\xb2\x01\x07\x0a\x05array"  # type, in a TypeItem
        b"\xba\x01\x05\x0a\x03\x0a\x01R"  # items, in an ItemsItem: a $ref
        b'\xfa\x01\x10\x0a\x03x-k\x12\x09\x12\x07{"a":1}'  # an extension: an Any with YAML
    )


def test_a_parameter_is_wrapped_by_the_place_where_it_stands():
    query = {"name": "q", "in": "query", "type": "string", "uniqueItems": True}
    operation = {"patch": {"parameters": [query]}}
    written = openapi_v2_wire.encode({"paths": {"/p": operation}})
    inner = b"\x22\x01q\x12\x05query\x32\x06string\xa0\x01\x01"
    for number in (3, 2, 1, 8, 8):  # sub-schema, non-body, parameter; Operation.parameters; PathItem.patch
        inner = bytes([number << 3 | 2, len(inner)]) + inner
    entry = b"\x0a\x02/p\x12" + bytes([len(inner)]) + inner
    entry = b"\x12" + bytes([len(entry)]) + entry
    assert written == b"\x42" + bytes([len(entry)]) + entry


def test_nothing_is_left_out_in_silence():
    with pytest.raises(KeyError):
        openapi_v2_wire.encode({"definitions": {"D": {"pattern": "a"}}})


async def test_the_media_type_chooses_the_form(client):
    async with client.get("/openapi/v2", headers={"Accept": ASKED}) as response:
        assert response.headers["Content-Type"] == openapi_v2.PROTOBUF
        assert "@" not in response.headers["Content-Type"]
        assert (await response.read()).startswith(b"\x0a\x032.0")
    async with client.get("/openapi/v2", headers={"Accept": "application/json"}) as response:
        assert response.headers["Content-Type"] == "application/json"
        assert msgspec.json.decode(await response.read()) == openapi_v2.describe(KINDS)


async def test_who_has_the_document_does_not_get_it_again(client):
    async with client.get("/openapi/v2", headers={"Accept": ASKED}) as response:
        tag = response.headers["ETag"]
    headers = {"Accept": ASKED, "If-None-Match": tag}
    async with client.get("/openapi/v2", headers=headers) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with client.get("/openapi/v2", headers={**headers, "Accept": "application/json"}) as response:
        assert response.status == 200


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("verb", [("apply",), ("create",), ("apply", "--dry-run=client")], ids=" ".join)
async def test_the_old_client_refuses_by_itself(old_kubectl, store, verb, case):
    text, expected = REFUSED[case]
    result = await old_kubectl(*verb, "-f", "-", stdin=HEAD + text)
    hint = "if you choose to ignore these errors, turn validation off with --validate=false"
    assert (result.code, result.out) == (1, "")
    assert result.err == f'error: error validating "STDIN": error validating data: {expected}; {hint}\n'
    assert store.list(POLICIES) == []


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
async def test_valid_manifests_are_accepted(kubectl, path):
    """Twice: a new object is validated, an existing one is also compared with the help of the definitions."""
    for words in (("--dry-run=server",), (), ()):
        result = await kubectl("apply", *words, "-f", str(path))
        said = [line for line in result.err.splitlines() if "Endpoints is deprecated" not in line]
        assert (result.code, said) == (0, []), words
        assert len(result.out.splitlines()) == path.read_text().count(
            "metadata: {name"
        ) + path.read_text().count("\nmetadata:\n")


async def test_a_change_is_merged_by_the_published_keys(old_kubectl, store):
    """kubectl would print a warning where the definitions lack a field on the way to the change."""
    text = next(path for path in MANIFESTS if path.stem == "workloads").read_text()
    deployment = next(part for part in text.split("---\n") if "kind: Deployment" in part)
    await old_kubectl("apply", "-f", "-", stdin=deployment)
    live = store.get("deployments.apps", "default", "web")
    containers = [*live["spec"]["template"]["spec"]["containers"], {"name": "injected", "image": "sidecar"}]
    store.mutate(
        "deployments.apps",
        "default",
        "web",
        lambda obj: obj["spec"]["template"]["spec"].update(containers=containers),
    )
    changed = re.sub("user: admin", "user: other", deployment).replace("image: busybox", "image: alpine")
    difference = await old_kubectl("diff", "-f", "-", stdin=changed)
    assert (difference.code, difference.err) == (1, "")
    assert re.search(r"^\+ +user: other$", difference.out, re.MULTILINE)
    result = await old_kubectl("apply", "-f", "-", stdin=changed)
    assert (result.code, result.out, result.err) == (0, "deployment.apps/web configured\n", "")
    spec = store.get("deployments.apps", "default", "web")["spec"]["template"]["spec"]
    images = {each["name"]: each["image"] for each in spec["containers"]}
    assert images == {"nginx": "nginx", "side": "alpine", "injected": "sidecar"}
    assert spec["volumes"][0]["cephfs"]["user"] == "other"


async def test_the_old_client_explains(old_kubectl):
    result = await old_kubectl("explain", "networkpolicy.spec")
    assert (result.code, result.err) == (0, "")
    assert re.findall(r"^   (\w+)\t(\S+)$", result.out, re.MULTILINE) == [
        ("egress", "<[]Object>"),
        ("ingress", "<[]Object>"),
        ("podSelector", "<Object>"),
        ("policyTypes", "<[]string>"),
    ]
    nested = await old_kubectl("explain", "--recursive", "deployment")
    assert "maxSurge\t<string>" in nested.out
    assert (await old_kubectl("explain", "networkpolicy.spec.egres")).code == 1
