"""Bodies as kubectl 1.37 sends them (recorded), every kind as the Go types of the API write it (protobuf/main.go), and bodies that nobody should send."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.lab.apiserver import reviews
from stockade.lab.apiserver.kinds import KINDS
from stockade.lab.apiserver.protobuf import decode, is_protobuf

DEPLOYMENT = bytes.fromhex(
    "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412ba010a1f0a0377656212001a0022002a00320038"
    "0042005a0a0a0361707012037765621288010800120c0a0a0a0361707012037765621a6e0a1c0a0012001a0022002a00"
    "3200380042005a0a0a036170701203776562124e12300a056e67696e7812076e67696e783a312a00320a0a0010001850"
    "22002a0042006a007200800100880100900100a201001a00320042004a0052005800600068008201008a01009a0100c2"
    "010022020a00280038001a0c0800100018002000280038001a002200"
)
SERVICE = bytes.fromhex(
    "6b3873000a0d0a02763112075365727669636512660a1d0a02733212001a0022002a003200380042005a090a03617070"
    "1202733212410a1c0a0638302d776562120354435018502209080110001a03776562280012090a03617070120273321a"
    "0022084e6f6465506f72743a00420052005a00600068001a020a001a002200"
)


PROTOBUF = {"Content-Type": "application/vnd.kubernetes.protobuf"}
BODIES = [
    json.loads(line) for line in (Path(__file__).parent / "protobuf/bodies.jsonl").read_text().splitlines()
]
EXCHANGED = {
    ("v1", "Binding"),
    ("authentication.k8s.io/v1", "TokenRequest"),
    ("autoscaling/v1", "Scale"),
    ("policy/v1", "Eviction"),
    ("meta.k8s.io/v1", "DeleteOptions"),
}


def named(obj: dict[str, Any]) -> tuple[str, str]:
    return obj["apiVersion"], obj["kind"]


def without_empty(value: Any) -> Any:
    """What one form writes and the other leaves out."""
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: without_empty(item) for key, item in value.items()}
    return {key: item for key, item in inner.items() if item not in ("", 0, {}, None)}


def envelope(api_version: bytes, kind: bytes, raw: bytes) -> bytes:
    meta = b"\x0a" + bytes([len(api_version)]) + api_version + b"\x12" + bytes([len(kind)]) + kind
    return b"k8s\x00\x0a" + bytes([len(meta)]) + meta + b"\x12" + bytes([len(raw)]) + raw


def test_every_kind_that_is_served_can_be_sent():
    served = {(kind.api_version, kind.kind) for kind in (*KINDS, *reviews.KINDS)}
    assert {named(body["json"]) for body in BODIES} == served | EXCHANGED


@pytest.mark.parametrize("body", BODIES, ids=lambda body: ".".join(named(body["json"])))
def test_both_forms_say_the_same(body):
    decoded = decode(base64.b64decode(body["protobuf"]))
    assert without_empty(decoded) == without_empty(body["json"])


def test_a_schema_and_its_alternatives():
    body = next(body for body in BODIES if body["json"]["kind"] == "CustomResourceDefinition")
    crd = decode(base64.b64decode(body["protobuf"]))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["items"] == schema["additionalProperties"] == {"type": "string"}
    assert schema["additionalItems"] is True
    assert schema["dependencies"] == {"a": ["b"], "c": {"type": "string"}}
    assert schema["default"] == {"a": [1, None]}
    assert schema["not"] == {"items": [{"type": "string"}], "additionalProperties": False}
    assert schema["maximum"] == -1.5


def test_options_have_the_version_of_what_they_are_about():
    options = decode(envelope(b"coordination.k8s.io/v1", b"DeleteOptions", b"\x08\x05"))
    assert options["gracePeriodSeconds"] == 5


def test_a_deployment_keeps_the_given_zero_and_drops_the_padding():
    assert decode(DEPLOYMENT) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{"name": "nginx", "image": "nginx:1", "ports": [{"containerPort": 80}]}]
                },
            },
        },
    }


def test_a_service_with_a_named_target_port():
    assert decode(SERVICE)["spec"] == {
        "ports": [{"name": "80-web", "protocol": "TCP", "port": 80, "targetPort": "web"}],
        "selector": {"app": "s2"},
        "type": "NodePort",
    }


def test_secret_values_come_out_as_base64():
    entry = b"\x0a\x01p\x12\x01q"
    body = envelope(b"v1", b"Secret", b"\x12" + bytes([len(entry)]) + entry)
    assert decode(body)["data"] == {"p": "cQ=="}


def test_delete_options_with_grace_period_zero():
    assert decode(envelope(b"v1", b"DeleteOptions", b"\x08\x00\x22\x0aBackground")) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Background",
    }


def test_negative_numbers_and_times():
    meta = b"\x38" + b"\xff" * 9 + b"\x01" + b"\x42\x06\x08\x80\x8b\xd2\xbb\x06"
    obj = decode(envelope(b"v1", b"Pod", b"\x0a" + bytes([len(meta)]) + meta))
    assert obj["metadata"] == {"generation": -1, "creationTimestamp": "2025-01-01T00:00:00Z"}


def test_unknown_fields_are_skipped():
    assert decode(envelope(b"v1", b"ConfigMap", b"\xfa\x01\x02hi" + b"\xf8\x01\x05" + b"\x20\x01")) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "immutable": True,
    }


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r'kind "Widget" of version "example\.com/v1"'):
        decode(envelope(b"example.com/v1", b"Widget", b""))


def test_the_same_kind_of_another_group_is_another_message():
    assert decode(envelope(b"events.k8s.io/v1", b"Event", b"\x52\x02hi"))["note"] == "hi"
    with pytest.raises(ValueError, match=r"networking\.k8s\.io/v1"):
        decode(envelope(b"networking.k8s.io/v1", b"Event", b""))


@pytest.mark.parametrize(
    "raw",
    [b"\x0a\x7f", b"\x0a", b"\x0b", b"\xff" * 12, b"\x08\x01", b"\x0a\x03\x0a\x01\xff", b"\x0a\x02\x38\xff"],
    ids=["cut", "no length", "group", "long number", "number for message", "not UTF-8", "cut number"],
)
def test_malformed_bodies_are_errors_of_the_client(raw):
    with pytest.raises(ValueError, match="protobuf"):
        decode(envelope(b"v1", b"Pod", raw))


@settings(max_examples=300, deadline=None)
@given(body=st.sampled_from([DEPLOYMENT, SERVICE]), data=st.data())
def test_damaged_bodies_are_decoded_or_refused(body, data):
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert decode(bytes(damaged))["kind"]


def test_json_is_no_protobuf():
    assert not is_protobuf(b"{}")
    with pytest.raises(ValueError, match="prefix"):
        decode(b"{}")


def field(number: int, value: bytes) -> bytes:
    size = len(value)
    return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7]) + value


async def test_a_lease_is_stored(client):
    raw = field(1, field(1, b"mine")) + field(
        2, field(1, b"me") + b"\x10\x0f" + field(4, b"\x08\x01\x10\xe8\x07")
    )
    body = envelope(b"coordination.k8s.io/v1", b"Lease", b"") + field(2, raw)
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    async with client.post(path, data=body, headers=PROTOBUF) as response:
        assert response.status == 201, await response.text()
        made = await response.json()
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "1970-01-01T00:00:01.000001Z"}
    assert (made["metadata"]["name"], made["spec"]) == ("mine", spec)


async def test_what_is_nested_too_deep_is_refused(client):
    nested = b"[" * 250 + b"]" * 250
    schema = b""
    for _ in range(250):
        schema = b"\xe2\x01" + field(1, schema)[1:]  # not
    revision = envelope(b"apps/v1", b"ControllerRevision", b"") + field(2, field(2, field(1, nested)))
    version = field(1, b"v1") + field(4, field(1, schema))
    definition = envelope(b"apiextensions.k8s.io/v1", b"CustomResourceDefinition", b"") + field(
        2, field(2, field(7, version))
    )
    for path, body in (
        ("/apis/apps/v1/namespaces/default/controllerrevisions", revision),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition),
    ):
        async with client.post(path, data=body, headers=PROTOBUF) as response:
            assert response.status == 400, path
            assert "nested" in (await response.json())["message"]
