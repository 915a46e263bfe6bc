"""Objects in one line each, as tests and named worlds write them.

In: names and the fields that matter. Out: model views, made by the same decoder that reads real objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import EndpointSlice, Namespace, Node, Pod, Service

Json = Any
NODE = "lab-node-1"
NODE_IP = "172.30.0.1"


def namespace(name: str, labels: Mapping[str, str] | None = None) -> Namespace:
    return msgspec.convert({"metadata": {"name": name, "labels": dict(labels or {})}}, Namespace)


def node(name: str = NODE, *ips: str) -> Node:
    addresses = [{"type": "InternalIP", "address": ip} for ip in ips or (NODE_IP,)]
    return msgspec.convert({"metadata": {"name": name}, "status": {"addresses": addresses}}, Node)


def pod(
    name: str,
    labels: Mapping[str, str] | None = None,
    *ips: str,
    ports: Sequence[Json] = (),
    on: str = NODE,
    phase: str = "Running",
    **more: Json,
) -> Pod:
    """``name`` may be ``namespace/name``; ``ports`` are containerPorts; ``more``: ``host_network``, ``terminating``."""
    space, _, short = name.rpartition("/")
    meta: Json = {"name": short, "namespace": space or "default", "labels": dict(labels or {})}
    if more.get("terminating"):
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec: Json = {"nodeName": on, "containers": [{"name": "main", "ports": list(ports)}]}
    if more.get("host_network"):
        spec["hostNetwork"] = True
    status = {"phase": phase, "podIPs": [{"ip": ip} for ip in ips]}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status}, Pod)


def policy(name: str, spec: Mapping[str, Json]) -> NetworkPolicy:
    """``spec`` is written as in YAML; ``name`` may be ``namespace/name``."""
    space, _, short = name.rpartition("/")
    meta = {"name": short, "namespace": space or "default"}
    return msgspec.convert({"metadata": meta, "spec": dict(spec)}, NetworkPolicy)


def service(name: str, selector: Mapping[str, str] | None, ip: str, *ports: Json) -> Service:
    space, _, short = name.rpartition("/")
    spec = {"selector": selector, "clusterIP": ip, "clusterIPs": [ip] if ip else None, "ports": list(ports)}
    return msgspec.convert(
        {"metadata": {"name": short, "namespace": space or "default"}, "spec": spec}, Service
    )


def endpoint_slice(name: str, pods: Sequence[Pod], *ports: Json) -> EndpointSlice:
    """The slice of Service ``name`` that lists ``pods`` as ready."""
    space, _, short = name.rpartition("/")
    endpoints = [
        {
            "addresses": list(member.ips[:1]),
            "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "namespace": member.ref.namespace, "name": member.ref.name},
        }
        for member in pods
    ]
    labels = {"kubernetes.io/service-name": short}
    meta = {"name": f"{short}-x7k2p", "namespace": space or "default", "labels": labels}
    return msgspec.convert({"metadata": meta, "endpoints": endpoints, "ports": list(ports)}, EndpointSlice)
