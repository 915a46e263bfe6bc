"""Pods as endpoints of a Service. Pure.

In: a Service and the pods it selects. Out: the pods grouped by the ports they serve it on (a named targetPort may mean
another number in each pod), and the entries of EndpointSlice and Endpoints. Called by ``endpoints``. Rules: discovery.k8s.io/v1
EndpointConditions (ready needs the pod's Ready condition, and not terminating; publishNotReadyAddresses overrides);
a finished pod or one without an address is no endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.controllers.objects import is_finished, is_ready, is_terminating

Port = tuple[str, str, int, str]
"""Name, protocol, number, application protocol."""

Ports = tuple[Port, ...]


def group_by_ports(service: JsonObject, pods: Iterable[JsonObject]) -> dict[Ports, list[JsonObject]]:
    """Sorted, so that the same state gives the same objects; one empty group when there is no pod."""
    groups: dict[Ports, list[JsonObject]] = {}
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["name"]):
        if _address(pod) and not is_finished(pod):
            groups.setdefault(_ports(service, pod), []).append(pod)
    return dict(sorted(groups.items())) or {(): []}


def families(service: JsonObject) -> list[str]:
    """Address types of the Service's slices; Services of before there were families have none written."""
    return list(service["spec"].get("ipFamilies") or ["IPv4"])


def _address(pod: JsonObject, family: str = "") -> str:
    """The pod's address of ``family``, or its primary one."""
    status = pod.get("status", {})
    primary = str(status.get("podIP") or "")
    if not family or (primary and (":" in primary) == (family == "IPv6")):
        return primary
    listed = (str(entry.get("ip") or "") for entry in status.get("podIPs") or ())
    return next((ip for ip in listed if ip and (":" in ip) == (family == "IPv6")), "")


def _ports(service: JsonObject, pod: JsonObject) -> Ports:
    ports = []
    for entry in service["spec"].get("ports") or []:
        number = _target(entry, pod)
        if number:
            name, protocol = entry.get("name", ""), entry.get("protocol", "TCP")
            ports.append((name, protocol, number, entry.get("appProtocol", "")))
    return tuple(ports)


def _target(entry: JsonObject, pod: JsonObject) -> int:
    """0 when no container names the port."""
    target = entry.get("targetPort") or entry["port"]
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or []), *sidecars]:
        for port in container.get("ports") or []:
            if port.get("name") == target and port.get("protocol", "TCP") == entry.get("protocol", "TCP"):
                return int(port["containerPort"])
    return 0


def slice_ports(ports: Ports) -> list[JsonObject]:
    return [
        {"name": name, "protocol": protocol, "port": number} | ({"appProtocol": app} if app else {})
        for name, protocol, number, app in ports
    ]


def _is_offered(service: JsonObject, pod: JsonObject) -> bool:
    """May clients be sent there now?"""
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    return published or (is_ready(pod) and not is_terminating(pod))


def endpoint(service: JsonObject, pod: JsonObject, family: str) -> JsonObject | None:
    """None when the pod has no address of ``family``."""
    address = _address(pod, family)
    if not address:
        return None
    entry: JsonObject = {
        "addresses": [address],
        "conditions": {
            "ready": _is_offered(service, pod),
            "serving": is_ready(pod) or bool(service["spec"].get("publishNotReadyAddresses")),
            "terminating": is_terminating(pod),
        },
        "targetRef": _reference(pod),
    }
    if node := pod["spec"].get("nodeName"):
        entry["nodeName"] = node
    if hostname := _hostname(service, pod):
        entry["hostname"] = hostname
    return entry


def endpoint_subsets(service: JsonObject, groups: dict[Ports, list[JsonObject]]) -> list[JsonObject]:
    """Endpoints.subsets; terminating pods are not in it at all, unless published."""
    subsets = []
    for ports, pods in groups.items():
        usable = [pod for pod in pods if _address(pod, families(service)[0])]
        offered = [_endpoint_address(service, pod) for pod in usable if _is_offered(service, pod)]
        waiting = [pod for pod in usable if not _is_offered(service, pod) and not is_terminating(pod)]
        subset: JsonObject = {"addresses": offered} if offered else {}
        if waiting:
            subset["notReadyAddresses"] = [_endpoint_address(service, pod) for pod in waiting]
        if not subset:
            continue
        if ports:
            subset["ports"] = [{k: v for k, v in port.items() if v} for port in slice_ports(ports)]
        subsets.append(subset)
    return subsets


def _endpoint_address(service: JsonObject, pod: JsonObject) -> JsonObject:
    address = {"ip": _address(pod, families(service)[0]), "targetRef": _reference(pod)}
    if node := pod["spec"].get("nodeName"):
        address["nodeName"] = node
    if hostname := _hostname(service, pod):
        address["hostname"] = hostname
    return address


def _reference(pod: JsonObject) -> JsonObject:
    metadata = pod["metadata"]
    return {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _hostname(service: JsonObject, pod: JsonObject) -> str:
    """Only pods that name this Service as their subdomain have a DNS name of their own."""
    spec = pod["spec"]
    return str(spec.get("hostname", "")) if spec.get("subdomain") == service["metadata"]["name"] else ""
