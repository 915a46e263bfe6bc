"""Bodies as kubectl 1.37 sends them (recorded), and bodies that nobody should send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def envelope(api_version: bytes, kind: bytes, raw: bytes) -> bytes:
    meta = b"\x0a" + bytes([len(api_version)]) + api_version + b"\x12" + bytes([len(kind)]) + kind
    return b"k8s\x00\x0a" + bytes([len(meta)]) + meta + b"\x12" + bytes([len(raw)]) + raw


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


def test_the_same_kind_of_another_group_is_not_mistaken():
    with pytest.raises(ValueError, match=r"events\.k8s\.io/v1"):
        decode(envelope(b"events.k8s.io/v1", b"Event", b""))


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
