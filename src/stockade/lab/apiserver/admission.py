"""What the API server writes into an object before it is stored: the work of strategies and admission plugins.

``ObjectStore`` calls these with an object that it owns, to be edited in place.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence

from stockade.lab.apiserver import services
from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject

NAME_LABEL = "kubernetes.io/metadata.name"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


def prepare_create(kind: Kind, obj: JsonObject) -> None:
    """Before validation."""
    if kind.kind in ("Deployment", "ReplicaSet"):
        obj["status"] = {}
    prepare = _CREATE.get(kind.kind)
    if prepare is not None:
        prepare(obj)


def prepare_update(kind: Kind, obj: JsonObject, old: JsonObject) -> None:
    """Before validation."""
    if kind.kind == "Namespace":
        _name_label(obj)
    elif kind.kind == "Secret":
        _fold_string_data(obj)
    elif kind.kind == "Service":
        services.keep_allocated(obj, old)


def allocate(
    kind: Kind,
    obj: JsonObject,
    old: JsonObject | None,
    stored: Callable[[], Iterable[JsonObject]],
    families: Sequence[str],
) -> list[Cause]:
    """After validation: what the server hands out. ``stored`` yields the objects of this kind in every namespace."""
    if kind.kind != "Service":
        return []
    uid = obj["metadata"]["uid"]
    others = (other for other in stored() if other["metadata"]["uid"] != uid)
    return services.allocate(obj, old, others, families)


def _name_label(namespace: JsonObject) -> None:
    metadata = namespace["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: metadata["name"]}


def _create_namespace(namespace: JsonObject) -> None:
    _name_label(namespace)
    spec = namespace["spec"] = namespace.get("spec") or {}
    spec["finalizers"] = sorted({*(spec.get("finalizers") or []), "kubernetes"})
    namespace["status"] = {"phase": "Active"}


def _create_pod(pod: JsonObject) -> None:
    """PodStrategy.PrepareForCreate and the plugins ServiceAccount, Priority, DefaultTolerationSeconds."""
    spec = pod["spec"] = pod.get("spec") or {}
    pod["status"] = {"phase": "Pending", "qosClass": _qos_class(spec)}
    spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec["tolerations"] = list(spec.get("tolerations") or [])
    tolerated = {item.get("key") for item in tolerations if item.get("effect") in (None, "", "NoExecute")}
    if None not in tolerated:
        tolerations.extend(
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for key in (NOT_READY, UNREACHABLE)
            if key not in tolerated
        )


def _qos_class(spec: JsonObject) -> str:
    """Guaranteed: every container limits cpu and memory, and requests (which default to the limits) are equal."""
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    resources = [container.get("resources") or {} for container in containers]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    for item in resources:
        limits = item.get("limits") or {}
        requests = {**limits, **(item.get("requests") or {})}
        if any(name not in limits or requests[name] != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _create_service(service: JsonObject) -> None:
    service["status"] = {"loadBalancer": {}}


def _fold_string_data(secret: JsonObject) -> None:
    """``stringData`` is write-only: it ends up in ``data``."""
    plain = secret.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
    if encoded:
        secret["data"] = {**(secret.get("data") or {}), **encoded}
    secret.setdefault("type", "Opaque")


_CREATE: dict[str, Callable[[JsonObject], None]] = {
    "Namespace": _create_namespace,
    "Pod": _create_pod,
    "Service": _create_service,
    "Secret": _fold_string_data,
}
