"""The downward API: what ``fieldRef`` and ``resourceFieldRef`` may name of a pod, as text. Pure.

Rules: Kubernetes API, ObjectFieldSelector and ResourceFieldSelector v1 core; whole label and annotation maps are for volumes alone, addresses for
the environment alone. Called by ``environment`` and ``volumes.content``.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from stockade.lab.node import quantities

JsonObject = dict[str, Any]
_ENTRY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_RESOURCE = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)")


class FieldError(Exception):
    """The path names nothing that can be had."""


def value(pod: JsonObject, path: str) -> str:
    """Of an environment variable, or a file."""
    meta, spec = pod["metadata"], pod.get("spec", {})
    if match := _ENTRY.fullmatch(path):
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    values = {
        "metadata.name": meta.get("name"),
        "metadata.namespace": meta.get("namespace"),
        "metadata.uid": meta.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        **_addresses(pod.get("status", {})),
    }
    if path not in values:
        raise FieldError(f"unsupported fieldPath: {path}")
    return str(values[path] or "")


def _addresses(status: JsonObject) -> JsonObject:
    return {
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": ",".join(entry["ip"] for entry in status.get("hostIPs") or []),
        "status.podIP": status.get("podIP"),
        "status.podIPs": ",".join(entry["ip"] for entry in status.get("podIPs") or []),
    }


def file_content(pod: JsonObject, path: str) -> str:
    """Of a file: labels and annotations also as a whole, one ``key="value"`` a line."""
    if path in ("metadata.labels", "metadata.annotations"):
        held = pod["metadata"].get(path.removeprefix("metadata.")) or {}
        return "\n".join(
            f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in sorted(held.items())
        )
    if path.startswith("status."):
        raise FieldError(f"unsupported fieldPath: {path}")
    return value(pod, path)


def resource(pod: JsonObject, reference: JsonObject, own: str = "") -> str:
    """A limit or request of one of the pod's containers (``own`` where the reference names none), in units of its divisor. What has no
    limit may use the whole node."""
    name, wanted = reference.get("containerName") or own, str(reference.get("resource") or "")
    match = _RESOURCE.fullmatch(wanted)
    spec = pod.get("spec", {})
    known = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    container = next((each for each in known if each["name"] == name), None)
    if match is None or container is None:
        raise FieldError(f"unsupported container resource: {wanted} of container {name!r}")
    resources = container.get("resources") or {}
    limit = (resources.get("limits") or {}).get(match[2])
    held = limit if match[1] == "limits" else (resources.get("requests") or {}).get(match[2], limit)
    if held is None:
        held = _of_the_node(match[2]) if match[1] == "limits" else "0"
    try:
        return str(quantities.in_units(held, reference.get("divisor") or "1"))
    except ValueError as error:
        raise FieldError(str(error)) from error


def _of_the_node(name: str) -> int:
    if name == "cpu":
        return os.cpu_count() or 1
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if name == "memory" else 0
