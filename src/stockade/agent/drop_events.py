"""The Events that ``agent.drops`` wrote, read back as rows: what ``stockade drops`` prints.

In: core/v1 Events with reason NetworkPolicyDenied. Out: DropRow values, once or for ever; one row for each kind of denied packet of a
pod, however many Events tell of it (an agent that starts anew begins a new one). Called by ``cli.drops``.
Whoever may write Events chooses what stands in them: nothing here trusts it to be well-formed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable

import msgspec

from stockade.agent.attribution import PREFIX
from stockade.agent.drops import LOG_FAILED, REASON
from stockade.kube.client import ApiClient
from stockade.kube.decode import decode_object
from stockade.kube.errors import KubeError
from stockade.kube.pages import Scope
from stockade.kube.reflector import Reflector
from stockade.kube.resources import EVENTS, Event, KubeObject, Resource
from stockade.model.meta import ObjectRef

FIELDS = f"reason={REASON}"
NODE_EVENTS = "default"  # where Events about Nodes live
COMPLAINT_SECONDS = 120.0  # an agent that cannot read its log says so again every half minute

_Key = tuple[object, ...]


class DropRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of denied packet of one pod, with how often and when it was seen; also the JSON of ``stockade drops``, where fields
    may be added and none taken away.

    ``peer`` is the other end's address, and in parentheses who that is; ``peer_kind`` pod, service, node or external. ``policies`` isolate
    the pod (empty: it was fenced). ``nearest`` is the rule that almost allowed it, and why it did not. ``ports`` or ``peers`` above 1: a
    summary of so many ports or addresses besides those that have rows of their own. Times are RFC 3339.
    """

    namespace: str
    pod: str
    direction: str
    peer: str
    peer_kind: str = ""
    peers: int = 1
    port: str
    ports: int = 1
    protocol: str
    policies: list[str]
    nearest: str = ""
    count: int
    first: str
    last: str
    message: str

    @property
    def key(self) -> _Key:
        """What makes it one kind."""
        what = (self.peer, self.port, self.protocol, self.peers > 1, self.ports > 1)
        return self.namespace, self.pod, self.direction, what, tuple(self.policies)


def row_of(event: Event) -> DropRow | None:
    """None for events of other reasons (a server may not know the field selector)."""
    if event.reason != REASON:
        return None
    notes = event.metadata.annotations or {}

    def note(key: str) -> str:
        return notes.get(PREFIX + key, "")

    return DropRow(
        namespace=event.involved_object.namespace or event.metadata.namespace,
        pod=event.involved_object.name,
        direction=note("direction"),
        peer=note("peer"),
        peer_kind=note("peer-kind"),
        peers=_number(note("peers")),
        port=note("port"),
        ports=_number(note("ports")),
        protocol=note("protocol"),
        policies=[name for name in note("policies").split(",") if name],
        nearest=note("nearest"),
        count=event.count or 1,
        first=event.first_timestamp or "",
        last=event.last_timestamp or "",
        message=event.message,
    )


def merged(rows: Iterable[DropRow]) -> list[DropRow]:
    """One row for each kind, the one seen last at the end."""
    kinds: dict[_Key, DropRow] = {}
    for row in rows:
        known = kinds.get(row.key)
        kinds[row.key] = row if known is None else _together(known, row)
    return sorted(kinds.values(), key=lambda row: row.last)


def _together(one: DropRow, other: DropRow) -> DropRow:
    newest = max(one, other, key=lambda row: row.last)
    return msgspec.structs.replace(
        newest,
        count=one.count + other.count,
        first=min(one.first or other.first, other.first or one.first),
        ports=max(one.ports, other.ports),
        peers=max(one.peers, other.peers),
    )


async def list_rows(client: ApiClient, namespace: str, pod: str = "") -> list[DropRow]:
    """Oldest first. Raises KubeError."""
    page = await client.list_raw(EVENTS, namespace, {"fieldSelector": _fields(pod)})
    events = (decode_object(EVENTS, raw) for raw in page.items or [])
    rows = (row_of(event) for event in events if isinstance(event, Event))
    return merged(row for row in rows if row)


async def list_complaints(client: ApiClient, now: dt.datetime) -> list[str]:
    """Nodes whose agents cannot read their log at the moment. Best effort: who asks for drops may not be allowed to ask for this."""
    try:
        page = await client.list_raw(EVENTS, NODE_EVENTS, {"fieldSelector": f"reason={LOG_FAILED}"})
    except KubeError:
        return []
    events = (decode_object(EVENTS, raw) for raw in page.items or [])
    return sorted(
        f"node {event.involved_object.name}: {event.message}"
        for event in events
        if isinstance(event, Event) and event.reason == LOG_FAILED and _is_recent(event, now)
    )


def _is_recent(event: Event, now: dt.datetime) -> bool:
    try:
        last = dt.datetime.fromisoformat(event.last_timestamp or "")
        return (now - last).total_seconds() < COMPLAINT_SECONDS
    except (ValueError, TypeError):
        return False


class _Follower:
    """A reflector's sink that tells each kind when it is new or its count grew."""

    def __init__(self, tell: Callable[[DropRow], None], complain: Callable[[str], None]) -> None:
        self._tell, self._complain = tell, complain
        self._rows: dict[ObjectRef, DropRow] = {}

    def replace(self, resource: Resource, objects: list[KubeObject]) -> None:
        del resource
        events = [obj for obj in objects if isinstance(obj, Event)]
        for ref in set(self._rows) - {event.metadata.ref for event in events}:
            del self._rows[ref]
        grown = {row.key for event in events if (row := self._growth(event))}
        for row in merged(self._rows.values()):
            if row.key in grown:
                self._tell(row)

    def upsert(self, resource: Resource, obj: KubeObject) -> None:
        del resource
        row = self._growth(obj) if isinstance(obj, Event) else None
        if row is not None:
            (whole,) = merged(each for each in self._rows.values() if each.key == row.key)
            self._tell(whole)

    def delete(self, resource: Resource, ref: ObjectRef) -> None:
        del resource
        self._rows.pop(ref, None)

    def trouble(self, resource: Resource, error: Exception | None, retry_in: float) -> None:
        if error is not None:
            self._complain(f"cannot follow {resource}: {error}; trying again in {retry_in:.1f}s")

    def _growth(self, event: Event) -> DropRow | None:
        """The event's row, if there is something new in it."""
        ref, row = event.metadata.ref, row_of(event)
        known = self._rows.get(ref)
        if row is None or (known is not None and row.count <= known.count):
            return None
        self._rows[ref] = row
        return row


async def follow_rows(
    client: ApiClient,
    namespace: str,
    tell: Callable[[DropRow], None],
    complain: Callable[[str], None],
    pod: str = "",
) -> None:
    """First what is there, then what happens; never returns."""
    scope = Scope(namespace, _fields(pod))
    await Reflector(client, EVENTS, _Follower(tell, complain), scope=scope).run()


def _fields(pod: str) -> str:
    return f"{FIELDS},involvedObject.name={pod}" if pod else FIELDS


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 1
