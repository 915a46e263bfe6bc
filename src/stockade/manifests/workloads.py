"""The pods that workloads would make: one representative Pod view for each Deployment, Job and the like found in files.

In: a raw workload with defaults applied. Out: a Pod with the template's labels, ports and network settings, named after the workload,
owned by it. Called by ``manifests.load``. On a cluster the pods themselves are read instead.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stockade.manifests.validate.access import child, text
from stockade.model.meta import ObjectMeta, OwnerReference
from stockade.model.objects import Pod, PodSpec

SUFFIXES = {
    ("apps/v1", "Deployment"): "deploy",
    ("apps/v1", "ReplicaSet"): "rs",
    ("apps/v1", "StatefulSet"): "sts",
    ("apps/v1", "DaemonSet"): "ds",
    ("batch/v1", "Job"): "job",
    ("batch/v1", "CronJob"): "cronjob",
    ("v1", "ReplicationController"): "rc",
}


def is_workload(api_version: str, kind: str) -> bool:
    return (api_version, kind) in SUFFIXES


def representative(raw: dict[str, Any]) -> Pod:
    """``raw`` must be a valid workload. The pod's name is the workload's with the kind's short name: ``web-deploy``."""
    kind, meta, spec = text(raw, "kind"), child(raw, "metadata"), child(raw, "spec")
    if kind == "CronJob":
        spec = child(child(spec, "jobTemplate"), "spec")
    template = child(spec, "template")
    inner = child(template, "metadata")
    name = text(meta, "name")
    owner = OwnerReference(kind=kind, name=name, uid=text(meta, "uid"), controller=True)
    return Pod(
        metadata=ObjectMeta(
            name=f"{name}-{SUFFIXES[text(raw, 'apiVersion'), kind]}",
            namespace=text(meta, "namespace"),
            labels=child(inner, "labels") or None,
            annotations=child(inner, "annotations") or None,
            owner_references=[owner],
        ),
        spec=msgspec.convert(child(template, "spec"), PodSpec),
    )
