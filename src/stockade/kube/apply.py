"""Objects of any kind, as they are: server-side apply, and delete until gone. Where a kind is served, discovery says.

In: an ApiClient, an object (apiVersion, kind, metadata). Out: the object as stored. Called by the pytest plugin. Rule source: API
concepts, "Server-Side Apply"; discovery of one group version (APIResourceList).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import quote

import msgspec

from stockade.kube.client import ApiClient, JsonObject
from stockade.kube.errors import KubeError

APPLY = "application/apply-patch+yaml"
SETTLE_SECONDS = 10.0
"""For what follows an object: a definition's kind that is served, an object that is gone."""
_PAUSE = 0.03


class _Row(msgspec.Struct, frozen=True):
    name: str = ""
    kind: str = ""
    namespaced: bool = False


class _Rows(msgspec.Struct, frozen=True):
    resources: list[_Row] = []


async def apply(client: ApiClient, obj: JsonObject, namespace: str, manager: str) -> JsonObject:
    """As the owner of every field in ``obj``, whoever owned it before. ``namespace`` is for an object that names none."""
    path = await path_of(client, obj, namespace)
    params = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
    body = await client.request("PATCH", path, params=params, body=obj, content_type=APPLY)
    stored: JsonObject = msgspec.json.decode(body)
    return stored


async def delete(client: ApiClient, obj: JsonObject, namespace: str) -> None:
    """Returns when the object is gone, or another one has its name."""
    path = await path_of(client, obj, namespace)
    uid = _uid(msgspec.json.decode(await client.request("GET", path)))
    await client.request("DELETE", path, params={"propagationPolicy": "Background"})
    end = (
        time.monotonic()
        + SETTLE_SECONDS
        + float(obj.get("spec", {}).get("terminationGracePeriodSeconds", 30))
    )
    while time.monotonic() < end:
        try:
            if _uid(msgspec.json.decode(await client.request("GET", path))) != uid:
                return
        except KubeError as error:
            if error.code == 404:
                return
            raise
        await asyncio.sleep(_PAUSE)
    raise KubeError(0, "", f"{_words(obj)} is deleted, but still there")


async def path_of(client: ApiClient, obj: JsonObject, namespace: str) -> str:
    """Raises KubeError for a kind that is not served, also a moment after its definition was applied."""
    end = time.monotonic() + SETTLE_SECONDS
    version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    meta: Any = obj.get("metadata")
    name = str(meta.get("name") or "") if isinstance(meta, dict) else ""
    if not (version and kind and name):
        raise KubeError(0, "", f"{_words(obj)} is not an object: it needs apiVersion, kind and metadata.name")
    root = f"/apis/{quote(version)}" if "/" in version else f"/api/{quote(version)}"
    while (row := await _row(client, root, kind)) is None:
        if "." not in version or time.monotonic() > end:
            raise KubeError(404, "NotFound", f"the cluster does not serve {kind} in {version}")
        await asyncio.sleep(_PAUSE)
    space = quote(str(meta.get("namespace") or namespace), safe="")
    where = f"/namespaces/{space}" if row.namespaced else ""
    return f"{root}{where}/{row.name}/{quote(name, safe='')}"


async def _row(client: ApiClient, root: str, kind: str) -> _Row | None:
    try:
        rows = msgspec.json.decode(await client.request("GET", root), type=_Rows)
    except KubeError as error:
        if error.code == 404:
            return None
        raise
    return next((row for row in rows.resources if row.kind == kind and "/" not in row.name), None)


def _uid(obj: JsonObject) -> str:
    return str(obj.get("metadata", {}).get("uid", ""))


def _words(obj: JsonObject) -> str:
    meta = obj.get("metadata")
    name = meta.get("name", "") if isinstance(meta, dict) else ""
    return f"{obj.get('kind', 'this')} {name}".strip()
