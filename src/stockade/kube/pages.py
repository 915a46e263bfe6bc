"""A whole collection, page by page. Called by ``reflector`` and ``snapshot``. Rule source: API concepts, "Retrieving large results"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from stockade.kube.client import Page
from stockade.kube.decode import decode_object
from stockade.kube.errors import KubeError
from stockade.kube.resources import KubeObject, Resource

PAGE_SIZE = 500


class Api(Protocol):
    """The reading part of ApiClient."""

    async def list_raw(
        self, resource: Resource, namespace: str = "", params: Mapping[str, str] | None = None
    ) -> Page[msgspec.Raw]: ...

    def stream(
        self, path: str, params: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class Scope(msgspec.Struct, frozen=True):
    """Which part of a collection: all of it, one namespace's, only what a field selector matches."""

    namespace: str = ""
    field_selector: str = ""

    @property
    def params(self) -> dict[str, str]:
        return {"fieldSelector": self.field_selector} if self.field_selector else {}


async def list_all(
    api: Api, resource: Resource, scope: Scope, page_size: int = PAGE_SIZE
) -> tuple[list[KubeObject], str]:
    """The objects, and the resourceVersion to watch from. Raises KubeError."""
    objects: list[KubeObject] = []
    params = {"limit": str(page_size), **scope.params}
    while True:
        try:
            page = await api.list_raw(resource, scope.namespace, params)
        except KubeError as error:
            if error.code != 410 or "continue" not in params:
                raise
            objects, params = [], scope.params  # the pages are too old by now: everything in one answer
            continue
        decoded = (decode_object(resource, raw) for raw in page.items or [])
        objects += [obj for obj in decoded if obj is not None]
        if not page.metadata.continue_:
            return objects, page.metadata.resource_version
        params = {**params, "continue": page.metadata.continue_}
