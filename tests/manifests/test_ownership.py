"""A dump of a cluster holds a workload and its pods; a chart holds the workload alone."""

from __future__ import annotations

import json

from stockade.manifests.load import load_text
from stockade.manifests.ownership import views
from stockade.model.objects import Pod

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def workload(kind: str, name: str, *owners: tuple[str, str], **spec):
    api = "batch/v1" if kind.endswith("Job") else "apps/v1"
    selector = {} if kind.endswith("Job") else {"selector": {"matchLabels": {"app": "web"}}}
    template = TEMPLATE
    if kind == "Job":
        template = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": meta(name, *owners),
        "spec": {**selector, "template": template, **spec},
    }


def meta(name: str, *owners: tuple[str, str]):
    listed = [
        {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": True}
        for kind, owner in owners
    ]
    return {"name": name, "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": listed}


def pod(name: str, *owners: tuple[str, str]):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, *owners), "spec": TEMPLATE["spec"]}


def pods(*objects) -> dict[str, list[str]]:
    """The name of each pod, with its ancestors."""
    loaded = load_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    assert not loaded.has_errors, [str(each) for each in loaded.diagnostics]
    return {
        view.ref.name: [f"{owner.kind}/{owner.name}" for owner in view.metadata.owner_references or []]
        for view in views(loaded)
        if isinstance(view, Pod)
    }


def test_a_workload_alone_is_represented():
    assert pods(workload("Deployment", "web")) == {"web-deploy": ["Deployment/web"]}


def test_real_pods_take_the_place_of_the_representatives():
    dump = (
        workload("Deployment", "web"),
        workload("ReplicaSet", "web-1", ("Deployment", "web")),
        pod("web-1-a", ("ReplicaSet", "web-1")),
    )
    assert pods(*dump) == {"web-1-a": ["ReplicaSet/web-1", "Deployment/web"]}


def test_an_old_replica_set_is_no_second_workload():
    dump = (workload("Deployment", "web"), workload("ReplicaSet", "web-0", ("Deployment", "web")))
    assert pods(*dump) == {"web-deploy": ["Deployment/web"]}


def test_one_workload_with_pods_does_not_hide_another():
    found = pods(
        workload("StatefulSet", "db"), workload("Deployment", "web"), pod("db-0", ("StatefulSet", "db"))
    )
    assert sorted(found) == ["db-0", "web-deploy"]
