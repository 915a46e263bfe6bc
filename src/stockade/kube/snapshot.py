"""Everything that policy reads, listed once from a live cluster. For ``check``, ``explain`` and the analyses without ``-f``.

In: an Access value. Out: a Snapshot, whose ``objects`` go into ``ClusterState.of``. Synchronous: callers are commands.
Pods, namespaces and policies must be readable, or no answer would be true; the others only improve explanations.
"""

from __future__ import annotations

import asyncio

import msgspec

from stockade.kube.client import ApiClient
from stockade.kube.config import Access
from stockade.kube.decode import decode_object
from stockade.kube.errors import KubeError
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
PAGE_SIZE = "500"


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
        results = await asyncio.gather(*(_list(client, each) for each in resources), return_exceptions=True)
    objects: list[KubeObject] = []
    notes: list[Diagnostic] = []
    for resource, result in zip(resources, results, strict=True):
        if isinstance(result, list):
            objects += result
        elif isinstance(result, KubeError) and resource in HELPFUL and result.code in {403, 404}:
            notes.append(_note(resource, result))
        elif isinstance(result, KubeError) and result.code == 403:
            raise KubeError(403, result.reason, _forbidden(access, resource, result))
        else:
            raise result
    return Snapshot(objects, notes)


async def _list(client: ApiClient, resource: Resource) -> list[KubeObject]:
    objects: list[KubeObject] = []
    params = {"limit": PAGE_SIZE}
    while True:
        try:
            page = await client.list_raw(resource, params=params)
        except KubeError as error:
            if error.code != 410 or "continue" not in params:
                raise
            objects, params = [], {}
            continue
        objects += [obj for raw in page.items or [] if (obj := decode_object(resource, raw)) is not None]
        if not page.metadata.continue_:
            return objects
        params = {**params, "continue": page.metadata.continue_}


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
