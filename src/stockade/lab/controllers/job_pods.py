"""The pods of a Job: made from its template, with an index where it has indexes. Pure.

Called by ``job`` and ``job_status``. Rules: batch/v1 Job, completionMode Indexed (annotation, label, hostname, JOB_COMPLETION_INDEX).
"""

from __future__ import annotations

import secrets

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.controllers.podset import pod_from_template

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
VARIABLE = "JOB_COMPLETION_INDEX"


def job_pod(job: JsonObject, index: int | None) -> JsonObject:
    name, metadata = job["metadata"]["name"], job["metadata"]
    labels = {
        "batch.kubernetes.io/controller-uid": metadata["uid"],
        "batch.kubernetes.io/job-name": name,
        "controller-uid": metadata["uid"],
        "job-name": name,
    }
    if index is None:
        pod = pod_from_template(job, labels=labels)
    else:
        suffix = secrets.token_hex(3)[:5]
        pod = pod_from_template(job, name=f"{name}-{index}-{suffix}", labels={**labels, INDEX: str(index)})
        pod["metadata"]["annotations"] = {**(pod["metadata"].get("annotations") or {}), INDEX: str(index)}
        pod["spec"].setdefault("hostname", f"{name}-{index}")
        _tell_index(pod["spec"])
    pod["metadata"]["finalizers"] = [*(pod["metadata"].get("finalizers") or []), TRACKING]
    return pod


def _tell_index(spec: JsonObject) -> None:
    source = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        variables = container.setdefault("env", [])
        if all(variable.get("name") != VARIABLE for variable in variables):
            variables.append({"name": VARIABLE, "valueFrom": source})


def index_of(pod: JsonObject) -> int:
    """-1 for a pod without one."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdecimal() else -1


def is_tracked(pod: JsonObject) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def release(pod: JsonObject) -> None:
    """Edits ``pod``."""
    left = [each for each in pod["metadata"].get("finalizers") or [] if each != TRACKING]
    pod["metadata"].pop("finalizers", None)
    if left:
        pod["metadata"]["finalizers"] = left


def succeeded(pod: JsonObject) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Succeeded")
