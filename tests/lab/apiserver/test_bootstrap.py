"""The objects that a cluster starts with."""

from __future__ import annotations

from stockade.lab.apiserver.bootstrap import create_system_objects
from stockade.lab.apiserver.store import ObjectStore


def test_system_objects_are_there_once():
    store = ObjectStore()
    create_system_objects(store, "172.30.0.1", 6443)
    names = [obj["metadata"]["name"] for obj in store.list("namespaces")]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    service = store.get("services", "default", "kubernetes")
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    revision = store.revision
    create_system_objects(store, "172.30.0.1", 6443)
    assert store.revision == revision


def test_a_new_port_is_published():
    store = ObjectStore()
    create_system_objects(store, "172.30.0.1", 6443)
    create_system_objects(store, "172.30.0.1", 7443)
    assert store.get("services", "default", "kubernetes")["spec"]["ports"][0]["targetPort"] == 7443
    assert store.get("endpoints", "default", "kubernetes")["subsets"][0]["ports"][0]["port"] == 7443
    pieces = store.list("endpointslices.discovery.k8s.io", "default")
    assert [piece["ports"][0]["port"] for piece in pieces] == [7443]
