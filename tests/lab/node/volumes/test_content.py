"""What files a volume holds."""

from __future__ import annotations

import base64

import pytest

from stockade.lab.node.volumes.content import File, MissingError, files, inner_path

POD = {
    "metadata": {"name": "p", "namespace": "ns", "labels": {"b": "2", "a": 'x"y'}},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]},
}


class Sources:
    def find(self, resource, name):
        secret = {"data": {"k": base64.b64encode(b"s").decode()}}
        held = {("configmaps", "cm"): {"data": {"a": "1", "b": "2"}}, ("secrets", "s"): secret}
        return held.get((resource, name))

    def token(self, audience, seconds):
        return f"{audience}:{seconds}".encode()


def of(volume: dict, owner=(None, None)) -> dict[str, File]:
    return files({"name": "v", **volume}, POD, Sources(), owner)


def test_items_and_modes() -> None:
    whole = of({"configMap": {"name": "cm", "defaultMode": 0o400}})
    assert whole == {"a": File(b"1", 0o400), "b": File(b"2", 0o400)}
    items = [{"key": "a", "path": "d/./x", "mode": 0o600}]
    assert of({"configMap": {"name": "cm", "items": items}}) == {"d/x": File(b"1", 0o600)}
    assert of({"secret": {"secretName": "s"}}) == {"k": File(b"s")}


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        (
            {"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}},
            "configmap references non-existent config key: z",
        ),
        (
            {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "status.podIP"}}]}},
            "unsupported",
        ),
        ({"projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}}, "not supported"),
    ],
)
def test_what_is_missing_is_said_unless_it_is_optional(volume, text) -> None:
    with pytest.raises(MissingError, match=text):
        of(volume)
    (kind,) = volume
    if kind in ("configMap", "secret"):
        assert of({kind: {**volume[kind], "optional": True}}) == {}


def test_downward() -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}},
    ]
    found = of({"downwardAPI": {"items": items}})
    assert (found["labels"].data, found["cpu"].data) == (b'a="x\\"y"\nb="2"', b"2")


def test_projected_later_over_earlier() -> None:
    sources = [
        {"configMap": {"name": "cm"}},
        {"secret": {"name": "s", "items": [{"key": "k", "path": "a"}]}},
        {"serviceAccountToken": {"path": "t", "audience": "x", "expirationSeconds": 700}},
    ]
    found = of({"projected": {"sources": sources}})
    assert {path: file.data for path, file in found.items()} == {"a": b"s", "b": b"2", "t": b"x:700"}
    owned = of({"projected": {"sources": sources}}, owner=(1000, None))
    assert owned["t"] == File(b"x:700", 0o600, 1000)


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../b", "..data", "..x/y"])
def test_no_file_outside(path) -> None:
    with pytest.raises(MissingError, match="invalid path"):
        inner_path(path)
