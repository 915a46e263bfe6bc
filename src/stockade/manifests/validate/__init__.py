"""What the API server would refuse, and what it would only warn about.

In: a raw object whose field types are right (``manifests.strict``), with defaults applied or not. Out: FieldErrors with the server's
texts, in the server's order; warnings as plain texts. Pure. Called by the lab's API server on create and update, and by
``manifests.load`` for files. Kinds without a validator of their own are checked for their metadata alone.
"""

from __future__ import annotations

from collections.abc import Callable

from stockade.manifests.validate import config, disruption, meta, names, networkpolicy, pod, service, workload
from stockade.manifests.validate.access import JsonObject
from stockade.manifests.validate.errors import ErrorType, FieldError

__all__ = ["ErrorType", "FieldError", "validate", "validate_update", "warnings"]

_CLUSTER_SCOPED = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Namespace",
        "Node",
        "PersistentVolume",
    }
)
_NO_NAME = frozenset(
    {
        "SelfSubjectAccessReview",
        "SelfSubjectRulesReview",
        "SelfSubjectReview",
        "TokenRequest",
        "DeleteOptions",
    }
)
_FREE_NAME = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})

_VALIDATORS: dict[tuple[str, str], Callable[[JsonObject], list[FieldError]]] = {
    ("networking.k8s.io/v1", "NetworkPolicy"): networkpolicy.validate,
    ("v1", "ConfigMap"): config.validate,
    ("v1", "Pod"): pod.validate,
    ("v1", "Secret"): config.validate,
    ("v1", "Service"): service.validate,
    ("v1", "ReplicationController"): workload.validate_replication_controller,
    ("policy/v1", "PodDisruptionBudget"): disruption.validate,
    ("apps/v1", "Deployment"): workload.validate_apps,
    ("apps/v1", "ReplicaSet"): workload.validate_apps,
    ("apps/v1", "StatefulSet"): workload.validate_apps,
    ("apps/v1", "DaemonSet"): workload.validate_apps,
    ("batch/v1", "Job"): workload.validate_job,
    ("batch/v1", "CronJob"): workload.validate_cron_job,
}
_UPDATES: dict[tuple[str, str], Callable[[JsonObject, JsonObject], list[FieldError]]] = {
    ("v1", "ConfigMap"): config.validate_update,
    ("v1", "Pod"): pod.validate_update,
    ("v1", "Secret"): config.validate_update,
    ("v1", "Service"): service.validate_update,
    ("apps/v1", "Deployment"): workload.validate_update_apps,
    ("apps/v1", "ReplicaSet"): workload.validate_update_apps,
    ("apps/v1", "StatefulSet"): workload.validate_update_stateful_set,
    ("apps/v1", "DaemonSet"): workload.validate_update_apps,
    ("batch/v1", "Job"): workload.validate_update_job,
}


def _key(obj: JsonObject) -> tuple[str, str]:
    return str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")


def validate(obj: JsonObject) -> list[FieldError]:
    """Every reason to refuse ``obj`` on create; empty when it would be stored."""
    own = _VALIDATORS.get(_key(obj))
    if own is not None:
        return own(obj)
    kind = _key(obj)[1]
    if kind in _NO_NAME:
        return []
    if kind in _FREE_NAME:
        return meta.metadata(obj, lambda _: [], namespaced=kind not in _CLUSTER_SCOPED)
    form = names.dns_label if kind == "Namespace" else names.dns_subdomain
    return meta.metadata(obj, form, namespaced=kind not in _CLUSTER_SCOPED)


def validate_update(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """Every reason to refuse replacing ``old`` by ``new``: what may not change, and what ``validate`` says of ``new``."""
    own = _UPDATES.get(_key(new), meta.metadata_update)
    return own(new, old) + validate(new)


def warnings(obj: JsonObject) -> list[str]:
    """Texts for ``Warning`` headers; the object is stored all the same."""
    return networkpolicy.warnings(obj) if _key(obj) == ("networking.k8s.io/v1", "NetworkPolicy") else []
