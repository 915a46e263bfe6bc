"""The views of what was loaded, with pods and the workloads that made them told apart.

In: ``Loaded``. Out: views for ``ClusterState.of``. A dump of a cluster holds a Deployment, its ReplicaSets and its pods; the pods
then count, each naming all of its ancestors, and the representative pods of workloads that have real ones are left out, as are
those of ReplicaSets and Jobs that another workload made. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stockade.manifests.loaded import Loaded, LoadedObject
from stockade.model.meta import ObjectRef, OwnerReference, View
from stockade.model.objects import Pod
from stockade.model.owners import MIDDLE_KINDS, with_ancestors

Key = tuple[str, ObjectRef]


def views(loaded: Loaded) -> Iterator[View]:
    owners = {_key(item): found for item in loaded.objects if (found := _owners(item)) is not None}
    given = {_key(item) for item in loaded.objects if item.is_representative}
    real: set[Key] = set()
    for item in loaded.objects:
        if isinstance(item.view, Pod) and not item.is_representative:
            pod = with_ancestors(item.view, owners)
            owned = pod.metadata.owner_references or []
            real |= {(owner.kind, ObjectRef(pod.ref.namespace, owner.name)) for owner in owned}
            yield pod
        elif item.view is not None and not item.is_representative:
            yield item.view
    for item in loaded.objects:
        if item.is_representative and item.view is not None and _key(item) not in real:
            made_by = owners.get(_key(item), [])
            if not any(
                (owner.kind, ObjectRef(_key(item)[1].namespace, owner.name)) in given for owner in made_by
            ):
                yield item.view


def _key(item: LoadedObject) -> Key:
    _, kind, namespace, name = item.key
    return kind, ObjectRef(namespace, name)


def _owners(item: LoadedObject) -> list[OwnerReference] | None:
    if item.kind not in MIDDLE_KINDS or not item.is_representative:
        return None
    listed = item.raw["metadata"].get("ownerReferences") or []
    return msgspec.convert(listed, list[OwnerReference])
