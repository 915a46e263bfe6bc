"""Pods learn all of their ancestors."""

from __future__ import annotations

import msgspec
import pytest

from stockade.model.meta import ObjectRef, OwnerReference
from stockade.model.objects import Pod
from stockade.model.owners import with_ancestors


def owned(*owners: tuple[str, str], **labels: str) -> Pod:
    meta = {
        "name": "p",
        "namespace": "shop",
        "labels": {key.replace("_", "-"): value for key, value in labels.items()},
        "ownerReferences": [{"kind": kind, "name": name} for kind, name in owners],
    }
    return msgspec.convert({"metadata": meta}, Pod)


def ancestors(pod: Pod) -> list[str]:
    return [f"{owner.kind}/{owner.name}" for owner in pod.metadata.owner_references or []]


def table(kind: str, name: str, *above: tuple[str, str]):
    return {(kind, ObjectRef("shop", name)): [OwnerReference(kind=k, name=n) for k, n in above]}


@pytest.mark.parametrize(
    ("pod", "owners", "expected"),
    [
        (owned(), {}, []),
        (owned(("StatefulSet", "db")), {}, ["StatefulSet/db"]),
        (
            owned(("ReplicaSet", "web-1")),
            table("ReplicaSet", "web-1", ("Deployment", "web")),
            ["ReplicaSet/web-1", "Deployment/web"],
        ),
        (owned(("Job", "j-1")), table("Job", "j-1", ("CronJob", "j")), ["Job/j-1", "CronJob/j"]),
        # The ReplicaSets could not be read: the name and the label say the same.
        (
            owned(("ReplicaSet", "web-5d4f"), pod_template_hash="5d4f"),
            {},
            ["ReplicaSet/web-5d4f", "Deployment/web"],
        ),
        (owned(("ReplicaSet", "web-5d4f"), pod_template_hash="other"), {}, ["ReplicaSet/web-5d4f"]),
        # One that is known to stand alone is nobody's, whatever its name looks like.
        (
            owned(("ReplicaSet", "web-5d4f"), pod_template_hash="5d4f"),
            table("ReplicaSet", "web-5d4f"),
            ["ReplicaSet/web-5d4f"],
        ),
    ],
)
def test_ancestors(pod, owners, expected):
    assert ancestors(with_ancestors(pod, owners)) == expected


def test_a_circle_of_owners_ends():
    circle = table("ReplicaSet", "a", ("ReplicaSet", "a"))
    assert set(ancestors(with_ancestors(owned(("ReplicaSet", "a")), circle))) == {"ReplicaSet/a"}
