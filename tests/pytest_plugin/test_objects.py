"""What a test may give to apply. No lab is started."""

from __future__ import annotations

import pytest

from stockade.model.meta import ObjectMeta
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import PodSpec
from stockade.pytest.cluster import StockadeError
from stockade.pytest.objects import objects_of

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
TEXT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


@pytest.mark.parametrize(
    "given",
    [MAP, TEXT, f"---\n{TEXT}---\n", '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}', [MAP],
     {"apiVersion": "v1", "kind": "List", "items": [MAP]}],
)  # fmt: skip
def test_forms(given):
    assert list(objects_of(given)) == [MAP]


def test_files_and_directories(tmp_path):
    (tmp_path / "a.yaml").write_text(TEXT)
    assert list(objects_of(tmp_path / "a.yaml")) == list(objects_of(str(tmp_path))) == [MAP]


def test_structs():
    (found,) = objects_of(NetworkPolicy(metadata=ObjectMeta(name="p", namespace="n")))
    assert (found["apiVersion"], found["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    assert found["metadata"] == {"name": "p", "namespace": "n"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("a: [\n", "<text>:"),
        ("- a\n- b\n", "<text>:1:1 is no object"),
        ("missing.yaml", "missing.yaml"),
        (PodSpec(), "a PodSpec is no object of the API"),
        ({"kind": "List", "items": [1]}, "this is no object"),
    ],
)
def test_mistakes(given, text):
    with pytest.raises(StockadeError, match=text):
        list(objects_of(given))
