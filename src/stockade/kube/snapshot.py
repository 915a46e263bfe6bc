"""Everything that policy reads, listed once from a live cluster. For ``check``, ``explain`` and the analyses without ``-f``.

In: an Access value. Out: a Snapshot, whose ``objects`` go into ``ClusterState.of``. Synchronous: callers are commands.
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
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    SERVICES,
    KubeObject,
    Resource,
)
from stockade.model.diagnostic import Diagnostic, Severity

NEEDED = (NAMESPACES, PODS, NETWORK_POLICIES)
HELPFUL = (SERVICES, NODES, ENDPOINT_SLICES)


class Snapshot(msgspec.Struct, frozen=True):
    """``notes`` say what could not be read and what that means for the answer."""

    objects: list[KubeObject]
    notes: list[Diagnostic]


def read_cluster(access: Access) -> Snapshot:
    """Raises KubeError and ConfigError."""
    return asyncio.run(_read(access))


async def _read(access: Access) -> Snapshot:
    async with ApiClient(access) as client:
        resources = (*NEEDED, *HELPFUL)
        results = await asyncio.gather(
            *(list_all(client, each, Scope()) for each in resources), return_exceptions=True
        )
    objects: list[KubeObject] = []
    notes: list[Diagnostic] = []
    for resource, result in zip(resources, results, strict=True):
        if not isinstance(result, BaseException):
            objects += result[0]
        elif isinstance(result, KubeError) and resource in HELPFUL and result.code in {403, 404}:
            notes.append(_note(resource, result))
        elif isinstance(result, KubeError) and result.code == 403:
            raise KubeError(403, result.reason, _forbidden(access, resource, result))
        else:
            raise result
    return Snapshot(objects, notes)


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
        hint="the verdict holds; names of Services or nodes may be missing from it",
    )
