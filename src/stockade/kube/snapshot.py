"""Everything that policy reads, listed once from a live cluster. For ``check``, ``explain`` and the analyses without ``-f``.

In: an Access value. Out: a Snapshot, whose ``objects`` go into ``ClusterState.of``. Synchronous: callers are commands.
With ``workloads`` the ReplicaSets and Jobs are listed too, and every pod then names all of its ancestors.
Pods, namespaces and policies must be readable, or no answer would be true; the others only improve explanations.
"""

from __future__ import annotations

import asyncio

import msgspec

from stockade.kube.client import ApiClient
from stockade.kube.config import Access
from stockade.kube.errors import KubeError
from stockade.kube.pages import Scope, list_all
from stockade.kube.resources import (
    ENDPOINT_SLICES,
    JOBS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Controller,
    Event,
    PolicyObject,
    Resource,
)
from stockade.model.diagnostic import Diagnostic, Severity
from stockade.model.meta import ObjectRef, OwnerReference
from stockade.model.objects import Pod
from stockade.model.owners import with_ancestors

NEEDED = (NAMESPACES, PODS, NETWORK_POLICIES)
HELPFUL = (SERVICES, NODES, ENDPOINT_SLICES)
MIDDLE = (REPLICA_SETS, JOBS)  # between a pod and the workload that people name


class Snapshot(msgspec.Struct, frozen=True):
    """``notes`` say what could not be read and what that means for the answer."""

    objects: list[PolicyObject]
    notes: list[Diagnostic]


def read_cluster(access: Access, *, workloads: bool = False) -> Snapshot:
    """Raises KubeError and ConfigError."""
    return asyncio.run(_read(access, workloads=workloads))


async def _read(access: Access, *, workloads: bool = False) -> Snapshot:
    resources = (*NEEDED, *HELPFUL, *(MIDDLE if workloads else ()))
    async with ApiClient(access) as client:
        results = await asyncio.gather(
            *(list_all(client, each, Scope()) for each in resources), return_exceptions=True
        )
    objects: list[PolicyObject] = []
    owners: dict[tuple[str, ObjectRef], list[OwnerReference]] = {}
    notes: list[Diagnostic] = []
    for resource, result in zip(resources, results, strict=True):
        if isinstance(result, KubeError) and resource in MIDDLE and result.code == 404:
            continue  # a cluster that serves none has none
        if isinstance(result, BaseException):
            notes.append(_unread(access, resource, result))
            continue
        for each in result[0]:
            if isinstance(each, Controller):
                owners[resource.kind, each.metadata.ref] = each.metadata.owner_references or []
            elif not isinstance(each, Event):
                objects.append(each)
    if workloads:
        objects = [with_ancestors(each, owners) if isinstance(each, Pod) else each for each in objects]
    return Snapshot(objects, notes)


def _unread(access: Access, resource: Resource, error: BaseException) -> Diagnostic:
    """A note when an answer is true all the same; raises otherwise."""
    if isinstance(error, KubeError) and resource not in NEEDED and error.code in {403, 404}:
        return _note(resource, error)
    if isinstance(error, KubeError) and error.code == 403:
        raise KubeError(403, error.reason, _forbidden(access, resource, error)) from error
    raise error


def _forbidden(access: Access, resource: Resource, error: KubeError) -> str:
    return (
        f"{access.origin} may not list {resource} in all namespaces, which a true answer needs: {error.message} "
        f'(grant it with: kubectl create clusterrole stockade-read --verb=list,watch --resource="{resource}")'
    )


def _note(resource: Resource, error: KubeError) -> Diagnostic:
    return Diagnostic(
        code="cluster-unreadable",
        severity=Severity.WARNING,
        object=str(resource),
        message=f"not read: {error.message}",
        hint="the verdict holds; names of Services, nodes or workloads may be missing from it",
    )
