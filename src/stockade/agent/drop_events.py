"""The Events that ``agent.drops`` wrote, read back as rows: what ``stockade drops`` prints.

In: core/v1 Events with reason NetworkPolicyDenied. Out: DropRow values, once or for ever. Called by ``cli.drops``.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from stockade.agent.drops import REASON
from stockade.kube.client import ApiClient
from stockade.kube.decode import decode_object
from stockade.kube.pages import Scope
from stockade.kube.reflector import Reflector
from stockade.kube.resources import EVENTS, Event, KubeObject, Resource
from stockade.model.meta import ObjectRef

FIELDS = f"reason={REASON}"


class DropRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of denied packet of one pod, with how often and when it was seen."""

    namespace: str
    pod: str
    direction: str
    peer: str
    port: str
    protocol: str
    policies: list[str]
    count: int
    first: str
    last: str
    message: str


def row_of(event: Event) -> DropRow | None:
    """None for events of other reasons (a server may not know the field selector)."""
    if event.reason != REASON:
        return None
    note = {
        key.removeprefix("stockade.dev/"): value for key, value in (event.metadata.annotations or {}).items()
    }
    return DropRow(
        namespace=event.involved_object.namespace or event.metadata.namespace,
        pod=event.involved_object.name,
        direction=note.get("direction", ""),
        peer=note.get("peer", ""),
        port=note.get("port", ""),
        protocol=note.get("protocol", ""),
        policies=[name for name in note.get("policies", "").split(",") if name],
        count=event.count or 1,
        first=event.first_timestamp or "",
        last=event.last_timestamp or "",
        message=event.message,
    )


async def list_rows(client: ApiClient, namespace: str) -> list[DropRow]:
    """Oldest first. Raises KubeError."""
    page = await client.list_raw(EVENTS, namespace, {"fieldSelector": FIELDS})
    events = (decode_object(EVENTS, raw) for raw in page.items or [])
    rows = (row_of(event) for event in events if isinstance(event, Event))
    return sorted((row for row in rows if row), key=lambda row: row.last)


class _Follower:
    """A reflector's sink that tells each row when it is new or its count grew."""

    def __init__(self, tell: Callable[[DropRow], None], complain: Callable[[str], None]) -> None:
        self._tell, self._complain = tell, complain
        self._counts: dict[ObjectRef, int] = {}

    def replace(self, resource: Resource, objects: list[KubeObject]) -> None:
        events = [obj for obj in objects if isinstance(obj, Event)]
        gone = set(self._counts) - {event.metadata.ref for event in events}
        for ref in gone:
            del self._counts[ref]
        for event in sorted(events, key=lambda each: each.last_timestamp or ""):
            self.upsert(resource, event)

    def upsert(self, resource: Resource, obj: KubeObject) -> None:
        del resource
        row = row_of(obj) if isinstance(obj, Event) else None
        if row is not None and row.count > self._counts.get(obj.metadata.ref, 0):
            self._counts[obj.metadata.ref] = row.count
            self._tell(row)

    def delete(self, resource: Resource, ref: ObjectRef) -> None:
        del resource
        self._counts.pop(ref, None)

    def trouble(self, resource: Resource, error: Exception | None, retry_in: float) -> None:
        if error is not None:
            self._complain(f"cannot follow {resource}: {error}; trying again in {retry_in:.1f}s")


async def follow_rows(
    client: ApiClient, namespace: str, tell: Callable[[DropRow], None], complain: Callable[[str], None]
) -> None:
    """First what is there, then what happens; never returns."""
    await Reflector(client, EVENTS, _Follower(tell, complain), scope=Scope(namespace, FIELDS)).run()
