"""The objects that every lab has from its first moment: namespaces, the nodes, the API's and the DNS's Services.

In: the registry. Out: objects in it. Called by ``lab.cluster`` (a new lab) and ``lab.restore`` before anything watches.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from stockade import __version__
from stockade.lab.addresses import API_SERVICE_IP, DNS_SERVICE_IP
from stockade.lab.apiserver.registry import Registry
from stockade.lab.topology import NodePlan

DNS_IMAGE = f"stockade.dev/coredns:{__version__}"
DNS_SERVICE, DNS_DEPLOYMENT = "kube-dns", "coredns"
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVER_VERSION = "v1.36.0+stockade"
VERSION = {  # what /version answers
    "major": "1",
    "minor": "36",
    "gitVersion": SERVER_VERSION,
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


NOT_READY = {
    "type": "Ready",
    "status": "False",
    "reason": "KubeletNotReady",
    "message": "network policy agent not ready",
}
_CONDITIONS = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def bootstrap(registry: Registry, nodes: Sequence[NodePlan]) -> None:
    """Two DNS servers where they can stand on two nodes, as usual."""
    ensure(registry, nodes)
    registry.create("services", "kube-system", _dns_service())
    registry.create("deployments.apps", "kube-system", _dns_deployment(min(2, len(nodes))))


def ensure(registry: Registry, nodes: Iterable[NodePlan]) -> None:
    """What the API server and the kubelets make whenever it is missing."""
    missing = [("namespaces", "", _object("v1", "Namespace", name)) for name in NAMESPACES]
    missing += [("nodes", "", _node(node)) for node in nodes]
    missing += [("services", "default", _kubernetes_service())]
    for resource, namespace, obj in missing:
        if registry.find(resource, namespace, obj["metadata"]["name"]) is None:
            registry.create(resource, namespace, obj)


def _object(api_version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    labels = fields.pop("labels", None)
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _node(plan: NodePlan) -> dict[str, Any]:
    name = plan.name
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 1024}Ki"
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": memory, "pods": "250"}
    machine = "amd64" if platform.machine() == "x86_64" else "arm64"
    conditions = [
        {
            "type": type_,
            "status": "False",
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for type_, reason, message in _CONDITIONS
    ]
    conditions.append({**NOT_READY, "lastHeartbeatTime": now, "lastTransitionTime": now})
    machine_id = uuid.uuid5(uuid.NAMESPACE_OID, name)
    return _object(
        "v1",
        "Node",
        name,
        labels={
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": machine,
            **({"node-role.kubernetes.io/control-plane": ""} if plan.number == 1 else {}),
        },
        spec={"podCIDR": plan.pod_cidrs[0], "podCIDRs": list(plan.pod_cidrs)},
        status={
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in plan.addresses),
                {"type": "Hostname", "address": name},
            ],
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            "nodeInfo": {
                "machineID": machine_id.hex,
                "systemUUID": str(machine_id),
                "bootID": str(uuid.uuid4()),
                "kernelVersion": platform.release(),
                "osImage": "Stockade lab",
                "containerRuntimeVersion": f"stockade://{__version__}",
                "kubeletVersion": SERVER_VERSION,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": machine,
            },
        },
    )


def _kubernetes_service() -> dict[str, Any]:
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
    labels = {"component": "apiserver", "provider": "kubernetes"}
    spec = {"clusterIP": API_SERVICE_IP, "ports": ports}
    return _object("v1", "Service", "kubernetes", labels=labels, spec=spec)


def _dns_service() -> dict[str, Any]:
    """Names, labels and ports as kubeadm makes them."""
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
        {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
    ]
    labels = {
        "k8s-app": DNS_SERVICE,
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    spec = {"clusterIP": DNS_SERVICE_IP, "selector": {"k8s-app": DNS_SERVICE}, "ports": ports}
    annotations = {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"}
    service = _object("v1", "Service", DNS_SERVICE, labels=labels, spec=spec)
    service["metadata"]["annotations"] = annotations
    return service


def _dns_deployment(replicas: int) -> dict[str, Any]:
    """kubeadm's, less the Corefile: what its servers answer is the lab's business."""
    labels = {"k8s-app": DNS_SERVICE}
    container = {
        "name": "coredns",
        "image": DNS_IMAGE,
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
        ],
        "livenessProbe": _probe(
            "/health", 8080, initialDelaySeconds=60, failureThreshold=5, timeoutSeconds=5
        ),
        "readinessProbe": _probe("/ready", 8181, periodSeconds=1),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    tolerations = [
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
    ]
    pod = {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [container],
            "dnsPolicy": "Default",
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "priorityClassName": "system-cluster-critical",
            "tolerations": tolerations,
        },
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": pod,
    }
    return _object("apps/v1", "Deployment", DNS_DEPLOYMENT, labels=labels, spec=spec)


def _probe(path: str, port: int, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}, **timing}
