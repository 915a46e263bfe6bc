"""GET: one object, a collection, either of them as a Table."""

from __future__ import annotations

import msgspec
from aiohttp import web

from stockade.lab.apiserver.bodies import answer, answer_raw
from stockade.lab.apiserver.context import context_of
from stockade.lab.apiserver.crd.versions import raw_as_served
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.paging import page_of
from stockade.lab.apiserver.requests import Shape, Target, wanted_shape
from stockade.lab.apiserver.selectors import parse_selection
from stockade.lab.apiserver.tables import partial, table_of


async def get_object(request: web.Request, target: Target) -> web.Response:
    """``/status`` reads the whole object, like the real server."""
    store = context_of(request).store
    obj = store.get(target.kind.resource, target.namespace, target.name)
    shape = wanted_shape(request.headers.get("Accept", ""))
    if shape is Shape.PARTIAL:
        return answer(partial(obj))
    if shape is Shape.TABLE:
        version = obj["metadata"]["resourceVersion"]
        return answer(table_of(target.kind, [obj], version, request.query.get("includeObject", "Metadata")))
    entry = store.entry(target.kind.resource, target.namespace, target.name)
    assert entry is not None
    return answer_raw(raw_as_served(target.kind, entry.object, entry.raw))


async def list_objects(request: web.Request, target: Target) -> web.Response:
    """In pages when the client wants them."""
    store, query = context_of(request).store, request.query
    selection = parse_selection(target.kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    page = page_of(store, target.kind, target.namespace, selection, query)
    shape = wanted_shape(request.headers.get("Accept", ""))
    if shape is Shape.PARTIAL:
        partials = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        items = [partial(entry.object) for entry in page.entries]
        return answer({**partials, "metadata": page.metadata(), "items": items})
    if shape is Shape.TABLE:
        objects = [entry.object for entry in page.entries]
        table = table_of(target.kind, objects, str(page.revision), query.get("includeObject", "Metadata"))
        return answer({**table, "metadata": page.metadata()})
    head = {
        "kind": list_kind(target.kind),
        "apiVersion": target.kind.api_version,
        "metadata": page.metadata(),
    }
    raws = (raw_as_served(target.kind, entry.object, entry.raw) for entry in page.entries)
    # The items are stored as JSON already: paste them into the list.
    return answer_raw(b'%s,"items":[%s]}' % (msgspec.json.encode(head)[:-1], b",".join(raws)))


def list_kind(kind: Kind) -> str:
    return kind.custom.list_kind if kind.custom is not None else f"{kind.kind}List"
