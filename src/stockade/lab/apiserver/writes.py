"""POST, PUT, PATCH, DELETE on objects and collections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from stockade.lab.apiserver import failures, managed, reads, rules
from stockade.lab.apiserver import patch as patches
from stockade.lab.apiserver.apply import applier, apply
from stockade.lab.apiserver.bodies import JSON, answer, check_kind, decode_json, decode_yaml, read_object
from stockade.lab.apiserver.context import context_of
from stockade.lab.apiserver.crd.versions import as_served, as_stored
from stockade.lab.apiserver.identity import Managers
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.merge_keys import merge_keys_of
from stockade.lab.apiserver.options import APPLY_PATCH, DeleteOptions, Preconditions, delete_options
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.requests import Target, field_validation, flag, is_dry_run
from stockade.lab.apiserver.selectors import parse_selection
from stockade.lab.apiserver.store import ObjectStore

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
RETURNS_OBJECT = (
    "namespaces",
    "pods",
    "services",
    "serviceaccounts",
)  # whose DELETE answers the object itself


async def create_object(request: web.Request, target: Target) -> web.Response:
    obj = await read_object(request, target.kind)
    if target.kind.namespaced and not target.namespace:
        raise failures.method_not_allowed()
    warnings = screen(request, target.kind, obj, await _duplicates(request))
    store, dry_run = context_of(request).store, is_dry_run(request.query)
    created = store.create(
        target.kind.resource,
        target.namespace,
        as_stored(target.kind, obj),
        managers=updating(request, target, obj, keep=False),
        dry_run=dry_run,
    )
    return answer(as_served(target.kind, created), 201, [*warnings, *rules.warnings(target.kind, created)])


async def replace_object(request: web.Request, target: Target) -> web.Response:
    obj = await read_object(request, target.kind)
    warnings = screen(request, target.kind, obj, await _duplicates(request))
    return _replace(request, target, obj, warnings)


async def _duplicates(request: web.Request) -> list[str]:
    """Only JSON can carry them to us, and only bodies that were decoded get here."""
    is_json = "Content-Type" not in request.headers or request.content_type == JSON
    return rules.duplicates(await request.read()) if is_json else []


async def patch_object(request: web.Request, target: Target) -> web.Response:
    """Nothing awaits between reading and writing the object, so no version conflict can arise by itself."""
    store, kind = context_of(request).store, target.kind
    patch = decode_patch(request.content_type, await request.read(), kind)
    held = store.find(kind.resource, target.namespace, target.name)
    if held is not None:
        held = as_served(kind, held)
    if request.content_type == APPLY_PATCH:
        return _apply(request, target, held, patch)
    if held is None:
        raise failures.not_found(kind, target.name)
    merged = patched(kind, held, request.content_type, patch)
    check_kind(kind, merged)
    return _replace(request, target, merged, screen(request, kind, merged))


def patched(kind: Kind, held: JsonObject, media: str, patch: Any) -> JsonObject:
    """``held`` with the patch applied; ``held`` stays as it is. Raises ApiError for a patch that does not fit."""
    copy: JsonObject = msgspec.json.decode(msgspec.json.encode(held))
    try:
        if media == JSON_PATCH:
            result: Any = patches.json_patch(copy, patch)
        elif media == MERGE_PATCH:
            result = patches.merge_patch(copy, patch)
        else:
            result = patches.strategic_merge_patch(copy, patch, merge_keys_of(kind))
    except patches.PatchError as error:
        if error.code == 400:
            raise failures.bad_request(str(error)) from None
        text = f"the server rejected our request due to an error in our request: {error}"
        raise failures.failure(error.code, "Invalid", text, {}) from None
    if not isinstance(result, dict):
        raise failures.bad_request("a patch must leave an object")
    return result


def decode_patch(media: str, body: bytes, kind: Kind) -> Any:
    """Raises ApiError. Custom kinds have no strategic merge: clients then fall back to a merge patch."""
    known = (JSON_PATCH, MERGE_PATCH, *(() if kind.custom is not None else (STRATEGIC_PATCH,)), APPLY_PATCH)
    try:
        if media == APPLY_PATCH:
            return decode_yaml(body)
        if media in known:
            return decode_json(body)
    except (ValueError, RecursionError) as error:
        raise failures.bad_request(f"error decoding patch: {error}") from None
    raise failures.unsupported_media_type(*known)


def _apply(request: web.Request, target: Target, held: JsonObject | None, patch: Any) -> web.Response:
    """Server-side apply creates what is absent."""
    kind, query, store = target.kind, request.query, context_of(request).store
    config = _apply_config(target, patch)
    warnings = screen(request, kind, config)
    named = managed.writer_of(request, kind, target.subresource)
    writer = applier(named.manager, kind, target.subresource)
    done = apply(kind, held, config, writer, force=flag(query, "force"), now=store.now())
    entries = [entry.to_json() for entry in done.entries]
    if held is not None:
        return _replace(request, target, done.object, warnings, lambda *_: entries)
    if uid := config["metadata"].get("uid"):
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise failures.conflict(kind, target.name, why)
    created = store.create(
        kind.resource,
        target.namespace,
        as_stored(kind, done.object),
        managers=lambda *_: entries,
        dry_run=is_dry_run(query),
    )
    return answer(as_served(target.kind, created), 201, [*warnings, *rules.warnings(target.kind, created)])


def _apply_config(target: Target, patch: Any) -> JsonObject:
    if not isinstance(patch, dict):
        raise failures.bad_request("an apply patch must be an object")
    check_kind(target.kind, patch)
    metadata = {**(patch.get("metadata") or {})}
    if metadata.get("name", target.name) != target.name:
        raise failures.bad_request(name_mismatch(metadata["name"], target.name))
    if metadata.pop("managedFields", None):
        raise failures.bad_request("metadata.managedFields must be nil")
    return {**patch, "metadata": {**metadata, "name": target.name}}


def _replace(
    request: web.Request,
    target: Target,
    obj: JsonObject,
    warnings: list[str],
    managers: Managers | None = None,
) -> web.Response:
    metadata = obj.get("metadata") or {}
    name, namespace = metadata.get("name"), metadata.get("namespace") or target.namespace
    if not name:
        why = "was undeterminable: name must be provided"
        raise failures.bad_request(f"the name of the object ({target.name} based on URL) {why}")
    if name != target.name:
        raise failures.bad_request(name_mismatch(name, target.name))
    if namespace != target.namespace:
        raise failures.bad_request(
            f"the namespace of the object ({namespace}) does not match the namespace on the request ({target.namespace})"
        )
    stored = context_of(request).store.replace(
        target.kind.resource,
        target.namespace,
        target.name,
        as_stored(target.kind, obj),
        subresource=target.subresource,
        managers=managers or updating(request, target, obj),
        dry_run=is_dry_run(request.query),
    )
    return answer(as_served(target.kind, stored), 200, [*warnings, *rules.warnings(target.kind, stored)])


def updating(
    request: web.Request, target: Target, asked: JsonObject, *, keep: bool = True
) -> Managers | None:
    """Who owns what after an ordinary write. A client that sends managedFields itself may change them (kubectl does, when it
    turns to server-side apply); one that leaves them out keeps them. None: as before; fields of a view are not those of what is stored."""
    if target.kind.stored_as:
        return None
    kind, now = target.kind, context_of(request).store.now()
    writer = managed.writer_of(request, kind, target.subresource)
    given = (asked.get("metadata") or {}).get("managedFields")

    def managers(old: JsonObject | None, new: JsonObject) -> list[JsonObject]:
        before = managed.entries_of(old or {})
        if keep and given is not None:
            before = managed.entries_of(asked)
        return managed.updated(kind, old, new, [entry.to_json() for entry in before], writer, now)

    return managers


def name_mismatch(given: str, asked: str) -> str:
    return f"the name of the object ({given}) does not match the name on the URL ({asked})"


def screen(request: web.Request, kind: Kind, obj: JsonObject, duplicates: Iterable[str] = ()) -> list[str]:
    """Unknown and duplicate fields: refused, warned about, or ignored, as ``fieldValidation`` says; types must fit in any
    case. Drops the unknown fields and answers the warnings."""
    mode, found = field_validation(request.query), rules.decode(kind, obj)
    refusal = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
    if found.fatal:
        raise failures.bad_request(refusal + found.fatal)
    problems = [*duplicates, *found.unknown]
    if problems and mode == "Strict":
        raise failures.bad_request(f"{refusal}strict decoding error: {', '.join(problems)}")
    return problems if mode == "Warn" else []


async def delete_object(request: web.Request, target: Target) -> web.Response:
    options = await _delete_options(request)
    store, kind = context_of(request).store, target.kind
    held = store.get(kind.resource, target.namespace, target.name)
    gone = _delete(store, kind, held, options)
    if kind.resource in RETURNS_OBJECT or gone["metadata"].get("deletionTimestamp"):
        return answer(as_served(kind, gone))
    details = {"name": target.name, "group": kind.group, "kind": kind.plural, "uid": held["metadata"]["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return answer({**status, "details": {key: value for key, value in details.items() if value}})


async def delete_collection(request: web.Request, target: Target) -> web.Response:
    if target.kind.resource == "namespaces" or (target.kind.namespaced and not target.namespace):
        raise failures.method_not_allowed()
    query, store = request.query, context_of(request).store
    options = await _delete_options(request)
    selection = parse_selection(target.kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    chosen = [obj for obj in store.list(target.kind.resource, target.namespace) if selection.matches(obj)]
    gone = [as_served(target.kind, _delete(store, target.kind, obj, options)) for obj in chosen]
    head = {"kind": reads.list_kind(target.kind), "apiVersion": target.kind.api_version}
    return answer({**head, "metadata": {"resourceVersion": str(store.revision)}, "items": gone})


async def _delete_options(request: web.Request) -> DeleteOptions:
    body = await read_object(request) if await request.read() else {}
    return delete_options(body, request.query, request.query.getall("dryRun", []))


def check_preconditions(kind: Kind, held: JsonObject, wanted: Preconditions | None) -> None:
    metadata = held["metadata"]
    if wanted is None:
        return
    for label, asked, present, why in (
        ("UID", wanted.uid, metadata["uid"], "deleted and then recreated"),
        ("ResourceVersion", wanted.resourceVersion, metadata["resourceVersion"], "modified"),
    ):
        if asked and asked != present:
            text = (
                f"the {label} in the precondition ({asked}) does not match the {label} in record ({present})."
            )
            raise failures.conflict(kind, metadata["name"], f"{text} The object might have been {why}")


def _delete(store: ObjectStore, kind: Kind, obj: JsonObject, options: DeleteOptions) -> JsonObject:
    check_preconditions(kind, obj, options.preconditions)
    if options.policy == "Orphan" and not options.is_dry_run:
        store.orphan(obj["metadata"]["uid"])
    metadata = obj["metadata"]
    return store.delete(
        kind.resource,
        metadata.get("namespace", ""),
        metadata["name"],
        options.gracePeriodSeconds,
        foreground=options.policy == "Foreground",
        dry_run=options.is_dry_run,
    )
