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

EPHEMERAL = "ephemeralcontainers"
WORKLOADS = ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet")
OMITTED = ("annotations", "finalizers", "labels", "managedFields", "ownerReferences")
NAME_LABEL = "kubernetes.io/metadata.name"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


def omit_empty(metadata: JsonObject) -> None:
    """ObjectMeta's lists and maps are ``omitempty``: an empty one is not stored, nor seen."""
    for field in OMITTED:
        if field in metadata and not metadata[field]:
            del metadata[field]


def prepare_create(kind: Kind, obj: JsonObject) -> None:
    """Before validation."""
    if kind.custom is not None:
        if kind.has_status:
            obj.pop("status", None)
        return
    if kind.kind in WORKLOADS:
        obj["status"] = {}
    prepare = _CREATE.get(kind.kind)
    if prepare is not None:
        prepare(obj)


def prepare_update(kind: Kind, obj: JsonObject, old: JsonObject, subresource: str = "") -> None:
    """Before validation."""
    if kind.custom is not None:
        return
    if kind.resource == "pods" and subresource != EPHEMERAL:
        _keep_ephemeral_containers(obj, old)
    elif kind.kind == "Namespace":
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
    if kind.resource != "services":
        return []
    uid = obj["metadata"]["uid"]
    others = (other for other in stored() if other["metadata"]["uid"] != uid)
    return services.allocate(obj, old, others, families)


def with_ephemeral_containers(old: JsonObject, asked: JsonObject) -> JsonObject:
    """Of a write to the subresource nothing counts but the list."""
    after = (asked.get("spec") or {}).get("ephemeralContainers") or []
    spec = {key: value for key, value in old["spec"].items() if key != "ephemeralContainers"}
    return {**old, "spec": {**spec, "ephemeralContainers": after} if after else spec}


def check_ephemeral_containers(new: JsonObject, old: JsonObject) -> list[Cause]:
    """The list only grows, by containers with names of their own."""
    before = old["spec"].get("ephemeralContainers") or []
    after = new["spec"].get("ephemeralContainers") or []
    where = "spec.ephemeralContainers"
    kept = [{key: each.get(key) for key in ("name", "image", "command", "args")} for each in before]
    now = [{key: each.get(key) for key in ("name", "image", "command", "args")} for each in after]
    if now[: len(kept)] != kept:
        return [
            Cause("FieldValueForbidden", "Forbidden: existing ephemeral containers may not change", where)
        ]
    spec, causes = new["spec"], []
    others = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    taken = {each["name"] for each in (*others, *before)}
    for at, container in enumerate(after[len(before) :], len(before)):
        causes += [
            Cause("FieldValueRequired", "Required value", f"{where}[{at}].{field}")
            for field in ("name", "image")
            if not container.get(field)
        ]
        name = container.get("name") or ""
        if name in taken:
            causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{where}[{at}].name"))
        taken.add(name)
    return causes


def _keep_ephemeral_containers(pod: JsonObject, old: JsonObject) -> None:
    """They come by their subresource alone."""
    spec = pod.get("spec") or {}
    spec.pop("ephemeralContainers", None)
    if old["spec"].get("ephemeralContainers"):
        spec["ephemeralContainers"] = old["spec"]["ephemeralContainers"]


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


def _create_job(job: JsonObject) -> None:
    """Job strategy, generateSelector: unless the user takes care of it, a job selects the pods with its own uid."""
    spec = job["spec"] = job.get("spec") or {}
    template = spec.get("template")
    if spec.get("manualSelector") or not isinstance(template, dict):
        return
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    metadata = template["metadata"] = template.get("metadata") or {}
    own = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    metadata["labels"] = {**(metadata.get("labels") or {}), **own}
    selector = spec["selector"] = spec.get("selector") or {}
    key = "batch.kubernetes.io/controller-uid"
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), key: uid}


def _create_replication_controller(controller: JsonObject) -> None:
    """Of old: without a selector it selects by its template's labels, and has them itself."""
    labels = ((controller.get("spec") or {}).get("template") or {}).get("metadata", {}).get("labels") or {}
    spec, metadata = controller["spec"], controller["metadata"]
    if not spec.get("selector") and labels:
        spec["selector"] = dict(labels)
    if not metadata.get("labels") and labels:
        metadata["labels"] = dict(labels)


_CREATE: dict[str, Callable[[JsonObject], None]] = {
    "Namespace": _create_namespace,
    "Pod": _create_pod,
    "Service": _create_service,
    "Secret": _fold_string_data,
    "Job": _create_job,
    "ReplicationController": _create_replication_controller,
}
