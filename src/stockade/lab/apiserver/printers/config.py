"""Namespaces, nodes and the kinds that hold configuration (printNamespace, printNode, printConfigMap …)."""

from __future__ import annotations

from stockade.lab.apiserver.ages import age_of
from stockade.lab.apiserver.printers.columns import NONE, Printer, columns
from stockade.lab.apiserver.registry import JsonObject

ROLE = "node-role.kubernetes.io/"
UNKNOWN = "<unknown>"


def _age(obj: JsonObject) -> str:
    return age_of(obj["metadata"].get("creationTimestamp"))


def _namespace(obj: JsonObject) -> list[object]:
    return [obj["metadata"]["name"], obj.get("status", {}).get("phase", ""), _age(obj)]


def _node(obj: JsonObject) -> list[object]:
    info = obj.get("status", {}).get("nodeInfo") or {}
    addresses: dict[str, str] = {}
    for item in obj.get("status", {}).get("addresses") or []:
        addresses.setdefault(item.get("type"), item.get("address"))  # of two families, the primary one
    labels = obj["metadata"].get("labels") or {}
    roles = sorted(key.removeprefix(ROLE) for key in labels if key.startswith(ROLE))
    return [
        obj["metadata"]["name"],
        _node_status(obj),
        ",".join(filter(None, roles)) or NONE,
        _age(obj),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or NONE,
        addresses.get("ExternalIP") or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(obj: JsonObject) -> str:
    states = [
        c.get("status") for c in obj.get("status", {}).get("conditions") or [] if c.get("type") == "Ready"
    ]
    status = "Unknown" if not states else "Ready" if states[0] == "True" else "NotReady"
    return f"{status},SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else status


def _config_map(obj: JsonObject) -> list[object]:
    count = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
    return [obj["metadata"]["name"], count, _age(obj)]


def _secret(obj: JsonObject) -> list[object]:
    return [obj["metadata"]["name"], obj.get("type", "Opaque"), len(obj.get("data") or {}), _age(obj)]


def _service_account(obj: JsonObject) -> list[object]:
    return [obj["metadata"]["name"], len(obj.get("secrets") or []), _age(obj)]


def _lease(obj: JsonObject) -> list[object]:
    return [obj["metadata"]["name"], obj.get("spec", {}).get("holderIdentity") or "", _age(obj)]


NODE_WIDE = "Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime"

NAMESPACE = Printer(columns("Name,Status,Age"), _namespace)
NODE = Printer(columns("Name,Status,Roles,Age,Version", NODE_WIDE), _node)
CONFIG_MAP = Printer(columns("Name,Data,Age"), _config_map)
SECRET = Printer(columns("Name,Type,Data,Age"), _secret)
SERVICE_ACCOUNT = Printer(columns("Name,Secrets,Age"), _service_account)
LEASE = Printer(columns("Name,Holder,Age"), _lease)
