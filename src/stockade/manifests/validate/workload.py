"""Validation of the kinds that make pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job, CronJob."""

from __future__ import annotations

from stockade.manifests.paths import Path
from stockade.manifests.validate import meta, names, pod
from stockade.manifests.validate.access import JsonObject, child, text
from stockade.manifests.validate.errors import (
    FieldError,
    at_least_zero,
    forbidden,
    invalid,
    not_supported,
    required,
)
from stockade.model.selectors import LabelSelector, LabelSelectorRequirement

_SPEC: Path = ("spec",)
_MISMATCH = "`selector` does not match template `labels`"
_JOB_POLICIES = ("OnFailure", "Never")


def validate_apps(obj: JsonObject) -> list[FieldError]:
    """apps/v1: a selector is required and must select the template's pods."""
    spec = child(obj, "spec")
    errors = meta.metadata(obj, names.dns_subdomain)
    errors += at_least_zero((*_SPEC, "replicas"), spec.get("replicas"))
    errors += at_least_zero((*_SPEC, "minReadySeconds"), spec.get("minReadySeconds"))
    errors += _selector(spec, text(obj, "kind").lower() or "deployment")
    return errors + _template(spec)


def _selector(spec: JsonObject, kind: str) -> list[FieldError]:
    path: Path = (*_SPEC, "selector")
    labels = child(child(child(spec, "template"), "metadata"), "labels")
    if spec.get("selector") is None:  # which selects nothing
        return [required(path), invalid((*_SPEC, "template", "metadata", "labels"), labels, _MISMATCH)]
    selector = child(spec, "selector")
    errors = meta.selector(selector, path)
    if not child(selector, "matchLabels") and not selector.get("matchExpressions"):
        errors.append(invalid(path, selector, f"empty selector is invalid for {kind}"))
    if not errors and not _matches(selector, labels):
        errors.append(invalid((*_SPEC, "template", "metadata", "labels"), labels, _MISMATCH))
    return errors


def _matches(selector: JsonObject, labels: JsonObject) -> bool:
    rules = [
        LabelSelectorRequirement(key=r["key"], operator=r["operator"], values=r.get("values"))
        for r in selector.get("matchExpressions") or []
    ]
    return LabelSelector(match_labels=selector.get("matchLabels"), match_expressions=rules).matches(labels)


def _template(spec: JsonObject) -> list[FieldError]:
    """The pods must be restarted for ever."""
    template = child(spec, "template")
    errors = pod.template(template, (*_SPEC, "template"))
    policy = text(child(template, "spec"), "restartPolicy")
    if policy in _JOB_POLICIES:
        errors.append(not_supported((*_SPEC, "template", "spec", "restartPolicy"), policy, ("Always",)))
    return errors


def validate_replication_controller(obj: JsonObject) -> list[FieldError]:
    spec = child(obj, "spec")
    errors = meta.metadata(obj, names.dns_subdomain)
    errors += at_least_zero((*_SPEC, "replicas"), spec.get("replicas"))
    selector = child(spec, "selector")
    if not selector:
        return [*errors, required((*_SPEC, "selector"))]
    labels = child(child(child(spec, "template"), "metadata"), "labels")
    if any(labels.get(key) != value for key, value in selector.items()):
        errors.append(invalid((*_SPEC, "template", "metadata", "labels"), labels, _MISMATCH))
    return errors + _template(spec)


def validate_job(obj: JsonObject) -> list[FieldError]:
    return meta.metadata(obj, names.dns_subdomain) + _job(child(obj, "spec"), _SPEC)


def validate_cron_job(obj: JsonObject) -> list[FieldError]:
    spec = child(obj, "spec")
    errors = meta.metadata(obj, names.dns_subdomain)
    if not text(spec, "schedule"):
        errors.append(required((*_SPEC, "schedule")))
    return errors + _job(child(child(spec, "jobTemplate"), "spec"), (*_SPEC, "jobTemplate", "spec"))


def _job(spec: JsonObject, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished"):
        errors += at_least_zero((*path, key), spec.get(key))
    restart = text(child(child(spec, "template"), "spec"), "restartPolicy")
    if restart in {"", "Always"}:  # also when it is the default: a Job must choose
        at = (*path, "template", "spec", "restartPolicy")
        errors.append(required(at, 'valid values: "OnFailure", "Never"'))
    return errors + pod.template(child(spec, "template"), (*path, "template"))


def validate_update_apps(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """The selector of an apps/v1 workload is fixed."""
    errors = meta.metadata_update(new, old)
    after = child(child(new, "spec"), "selector")
    if after != child(child(old, "spec"), "selector"):
        errors.append(meta.immutable((*_SPEC, "selector"), after))
    return errors


def validate_update_job(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """What a job counts, and what it runs, is fixed; a suspended job may still be told where to run."""
    errors = meta.metadata_update(new, old)
    after, before = child(new, "spec"), child(old, "spec")
    for key in ("selector", "completionMode", "template"):
        if after.get(key) != before.get(key) and not (key == "template" and before.get("suspend")):
            errors.append(meta.immutable((*_SPEC, key), after.get(key)))
    if after.get("completions") != before.get("completions") and after.get("completionMode") != "Indexed":
        errors.append(meta.immutable((*_SPEC, "completions"), after.get("completions")))
    return errors


_STATEFUL_FIXED = ("serviceName", "selector", "volumeClaimTemplates", "podManagementPolicy")
_STATEFUL_MESSAGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def validate_update_stateful_set(new: JsonObject, old: JsonObject) -> list[FieldError]:
    errors = meta.metadata_update(new, old)
    after, before = child(new, "spec"), child(old, "spec")
    if any(after.get(key) != before.get(key) for key in _STATEFUL_FIXED):
        errors.append(forbidden(_SPEC, _STATEFUL_MESSAGE))
    return errors
