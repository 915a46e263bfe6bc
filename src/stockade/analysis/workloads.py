"""``deploy/web`` and its like: which pods a workload stands for, and how people write its kind.

In: a state whose pods know their ancestors (``model.owners``; representative pods of files name their workload). Out: the pods
that run. Called by ``analysis.target``, ``analysis.source`` and ``analysis.path``.
"""

from __future__ import annotations

import re

from stockade.model.meta import ObjectRef
from stockade.policy.compiled import CompiledPolicies

# As kubectl's discovery has them: plural, singular, short name; with the group, too.
_NAMES = {
    "Deployment": ("deployments", "deployment", "deploy", "apps"),
    "ReplicaSet": ("replicasets", "replicaset", "rs", "apps"),
    "StatefulSet": ("statefulsets", "statefulset", "sts", "apps"),
    "DaemonSet": ("daemonsets", "daemonset", "ds", "apps"),
    "Job": ("jobs", "job", "", "batch"),
    "CronJob": ("cronjobs", "cronjob", "cj", "batch"),
    "ReplicationController": ("replicationcontrollers", "replicationcontroller", "rc", ""),
}


def _spellings() -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, (plural, singular, short, group) in _NAMES.items():
        found |= {name: kind for name in (plural, singular, short) if name}
        if group:
            found |= {f"{name}.{group}": kind for name in (plural, singular)}
    return found


WORKLOADS: dict[str, str] = _spellings()  # as written -> kind

_KIND = re.compile(r"(?:[a-z0-9-]+:)?([a-z.]+)/")


def names_workload(text: str) -> bool:
    """Whether whoever reads a cluster has to read the owners of its pods, too."""
    match = _KIND.match(text)
    return bool(match and match[1] in WORKLOADS)


def pods_of(compiled: CompiledPolicies, kind: str, ref: ObjectRef) -> tuple[ObjectRef, ...]:
    """The live pods with such an ancestor, sorted; empty when there are none."""
    return tuple(
        entry.ref
        for entry in compiled.pods
        if entry.ref.namespace == ref.namespace
        and any(
            owner.kind == kind and owner.name == ref.name
            for owner in entry.pod.metadata.owner_references or ()
        )
    )


def nothing_runs(kind: str, ref: ObjectRef) -> str:
    """What to say when there are none."""
    return f"{kind} {ref} does not exist here, or none of its pods is running"
