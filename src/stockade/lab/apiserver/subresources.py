"""``scale``, ``binding``, ``eviction``, ``finalize`` and the access reviews: objects that are asked for but never stored."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.bodies import answer, read_object
from stockade.lab.apiserver.context import USER, context_of
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.requests import Target, is_dry_run
from stockade.lab.apiserver.writes import decode_patch, patched
from stockade.model.selectors import LabelSelector


def _scale_of(obj: JsonObject) -> JsonObject:
    spec, metadata = obj.get("spec", {}), obj["metadata"]
    selector = msgspec.convert(spec.get("selector") or {}, LabelSelector)
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in fields},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": "" if selector.is_empty else str(selector),
        },
    }


async def get_scale(request: web.Request, target: Target) -> web.Response:
    return answer(
        _scale_of(context_of(request).store.get(target.kind.resource, target.namespace, target.name))
    )


async def replace_scale(request: web.Request, target: Target) -> web.Response:
    return _write_scale(request, target, await read_object(request))


async def patch_scale(request: web.Request, target: Target) -> web.Response:
    patch = decode_patch(request.content_type, await request.read())
    held = context_of(request).store.get(target.kind.resource, target.namespace, target.name)
    return _write_scale(request, target, patched(target.kind, _scale_of(held), request.content_type, patch))


def _write_scale(request: web.Request, target: Target, scale: JsonObject) -> web.Response:
    spec, metadata = scale.get("spec") or {}, scale.get("metadata") or {}
    if not isinstance(spec, dict) or not isinstance(metadata, dict):
        raise failures.bad_request("a Scale has a metadata and a spec object")
    replicas: Any = spec.get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise failures.invalid(
            target.kind, target.name, [failures.Cause("FieldValueInvalid", why, "spec.replicas")]
        )
    store = context_of(request).store
    held = store.get(target.kind.resource, target.namespace, target.name)
    version = metadata.get("resourceVersion") or held["metadata"]["resourceVersion"]
    wanted = {
        **held,
        "metadata": {**held["metadata"], "resourceVersion": version},
        "spec": {**held.get("spec", {}), "replicas": replicas},
    }
    dry_run = is_dry_run(request.query)
    return answer(
        _scale_of(store.replace(target.kind.resource, target.namespace, target.name, wanted, dry_run=dry_run))
    )


async def bind_pod(request: web.Request, target: Target) -> web.Response:
    """A scheduler's decision; a pod is bound once."""
    node = ((await read_object(request)).get("target") or {}).get("name") or ""
    store = context_of(request).store
    bound = store.get("pods", target.namespace, target.name).get("spec", {}).get("nodeName")
    if bound or not node:
        why = (
            f'pod {target.name} is already assigned to node "{bound}"' if bound else "target.name is required"
        )
        raise failures.conflict(target.kind, target.name, why)

    def bind(pod: JsonObject) -> None:
        pod["spec"]["nodeName"] = node

    store.mutate("pods", target.namespace, target.name, bind)
    return answer(_success(), 201)


async def evict_pod(request: web.Request, target: Target) -> web.Response:
    """No disruption budgets are served, so an eviction is a graceful deletion."""
    options = (await read_object(request)).get("deleteOptions") or {}
    store = context_of(request).store
    store.delete(
        "pods",
        target.namespace,
        target.name,
        options.get("gracePeriodSeconds"),
        dry_run=is_dry_run(request.query),
    )
    return answer(_success(), 201)


async def finalize_namespace(request: web.Request, target: Target) -> web.Response:
    finalizers = ((await read_object(request, target.kind)).get("spec") or {}).get("finalizers") or []

    def finalize(namespace: JsonObject) -> None:
        namespace.setdefault("spec", {})["finalizers"] = finalizers

    return answer(context_of(request).store.mutate("namespaces", "", target.name, finalize))


def _success() -> JsonObject:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def review_access(request: web.Request) -> web.Response:
    """Whoever has a token of a lab may do everything in it."""
    review = await read_object(request)
    return answer({**review, "status": {"allowed": True}}, 201)


async def review_self(request: web.Request) -> web.Response:
    """``kubectl auth whoami``; the body says nothing beyond its kind, so it is not read."""
    del request
    user = {"username": USER.get(), "groups": ["system:masters", "system:authenticated"]}
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
    return answer({**review, "status": {"userInfo": user}}, 201)
