"""What a set of manifests leaves unsaid and every cluster has: cluster DNS.

In: ClusterState from files. Out: the same state with kube-dns added when the files show none, and a note that says so. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockade.model.meta import ObjectMeta, ObjectRef, View
from stockade.model.objects import (
    Container,
    ContainerPort,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from stockade.store.state import PODS, SERVICES, ClusterState

NAMESPACE, NAME, LABELS = "kube-system", "kube-dns", {"k8s-app": "kube-dns"}
SERVICE_IP, POD_IP = "10.96.0.10", "10.244.0.2"


def with_cluster_dns(state: ClusterState) -> tuple[ClusterState, str]:
    """The state, and a note when DNS was added (empty otherwise)."""
    ref = ObjectRef(NAMESPACE, NAME)
    if ref in state.services:
        return state, ""
    metadata = ObjectMeta(name=NAME, namespace=NAMESPACE, labels=LABELS)
    ports = [(protocol, "dns" if protocol == "UDP" else "dns-tcp") for protocol in ("UDP", "TCP")]
    container = Container(
        name="dns", ports=[ContainerPort(container_port=53, name=name, protocol=p) for p, name in ports]
    )
    pod = Pod(
        metadata=metadata,
        spec=PodSpec(containers=[container]),
        status=PodStatus(phase="Running", pod_ip=POD_IP),
    )
    spec = ServiceSpec(
        cluster_ip=SERVICE_IP,
        selector=LABELS,
        ports=[ServicePort(name=name, protocol=p, port=53, target_port=53) for p, name in ports],
    )
    service = Service(metadata=metadata, spec=spec)
    tables: dict[str, Mapping[Any, View]] = {
        PODS: {**state.pods, ref: pod},
        SERVICES: {**state.services, ref: service},
    }
    note = f"the files show no cluster DNS; a pod {ref} with label k8s-app=kube-dns is assumed"
    return state.replacing(tables), note
