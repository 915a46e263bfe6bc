"""Who made a pod, all the way up: Pod → ReplicaSet → Deployment, Pod → Job → CronJob.

In: pods as the API has them (they name their own controller only) and the owners of ReplicaSets and Jobs. Out: pods whose
``owner_references`` list every ancestor, so that a reference such as ``deploy/web`` needs no further table. Called by
``kube.snapshot`` and by the command line for dumps of a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stockade.model.meta import ObjectMeta, ObjectRef, OwnerReference
from stockade.model.objects import Pod

POD_TEMPLATE_HASH = "pod-template-hash"
# Kinds between a pod and what people name; the kind above each, for when it cannot be read.
MIDDLE_KINDS = ("ReplicaSet", "Job")
_DEPTH = 4  # longer chains are not Kubernetes' own

Owners = Mapping[tuple[str, ObjectRef], Sequence[OwnerReference]]


def with_ancestors(pod: Pod, owners: Owners) -> Pod:
    """``owners``: (kind, namespace/name) of a ReplicaSet or Job → its own ownerReferences."""
    found = tuple(_ancestors(pod.metadata, owners))
    if len(found) == len(pod.metadata.owner_references or ()):
        return pod
    meta = msgspec.structs.replace(pod.metadata, owner_references=list(found))
    return msgspec.structs.replace(pod, metadata=meta)


def _ancestors(meta: ObjectMeta, owners: Owners) -> Iterator[OwnerReference]:
    level = list(meta.owner_references or ())
    for _ in range(_DEPTH):
        yield from level
        level = [above for each in level for above in _above(each, meta, owners)]


def _above(owner: OwnerReference, meta: ObjectMeta, owners: Owners) -> Sequence[OwnerReference]:
    known = owners.get((owner.kind, ObjectRef(meta.namespace, owner.name)))
    if known is not None or owner.kind != "ReplicaSet":
        return known or ()
    # A Deployment names its ReplicaSets NAME-HASH and labels their pods with the hash; nobody else sets that label.
    suffix = f"-{(meta.labels or {}).get(POD_TEMPLATE_HASH, '')}"
    if len(suffix) > 1 and owner.name.endswith(suffix):
        return [OwnerReference(kind="Deployment", name=owner.name.removesuffix(suffix), controller=True)]
    return ()
