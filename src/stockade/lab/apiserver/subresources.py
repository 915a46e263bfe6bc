"""``scale``, ``binding``, ``eviction``, ``finalize``, ``token``: objects that are asked for but never stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from aiohttp import web

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.bodies import answer, read_object
from stockade.lab.apiserver.context import context_of
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.apiserver.requests import Target, is_dry_run
from stockade.lab.apiserver.selectors import field_value
from stockade.lab.apiserver.service_accounts import ISSUER
from stockade.lab.apiserver.writes import decode_patch, patched, updating
from stockade.model.selectors import LabelSelector

DEFAULT_TOKEN: Final = 3600  # seconds
SHORTEST_TOKEN: Final = 600
LONGEST_TOKEN: Final = 2**32


def _scale_of(kind: Kind, obj: JsonObject) -> JsonObject:
    metadata, paths = obj["metadata"], _scale_paths(kind)
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = field_value(obj, paths.selector) if paths.selector else _selector_text(kind, obj)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in fields if field in metadata},
        "spec": {"replicas": int(field_value(obj, paths.wanted) or 0)},
        "status": {"replicas": int(field_value(obj, paths.present) or 0), "selector": selector},
    }


class _Paths(msgspec.Struct, frozen=True):
    wanted: tuple[str, ...] = ("spec", "replicas")
    present: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ()


def _scale_paths(kind: Kind) -> _Paths:
    if kind.custom is None or kind.custom.scale is None:
        return _Paths()
    names = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
    wanted, present, selector = (
        tuple(filter(None, str(kind.custom.scale.get(name) or "").split("."))) for name in names
    )
    return _Paths(wanted, present, selector)


def _selector_text(kind: Kind, obj: JsonObject) -> str:
    given = obj.get("spec", {}).get("selector") or {}
    if kind.resource == "replicationcontrollers":
        return ",".join(f"{key}={value}" for key, value in sorted(given.items()))
    if kind.custom is not None:
        return ""
    selector = msgspec.convert(given, LabelSelector)
    return "" if selector.is_empty else str(selector)


async def get_scale(request: web.Request, target: Target) -> web.Response:
    return answer(
        _scale_of(
            target.kind, context_of(request).store.get(target.kind.resource, target.namespace, target.name)
        )
    )


async def replace_scale(request: web.Request, target: Target) -> web.Response:
    return _write_scale(request, target, await read_object(request))


async def patch_scale(request: web.Request, target: Target) -> web.Response:
    patch = decode_patch(request.content_type, await request.read(), target.kind)
    held = context_of(request).store.get(target.kind.resource, target.namespace, target.name)
    return _write_scale(
        request, target, patched(target.kind, _scale_of(target.kind, held), request.content_type, patch)
    )


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
    wanted: JsonObject = msgspec.json.decode(msgspec.json.encode(held))
    wanted["metadata"]["resourceVersion"] = version
    *steps, last = _scale_paths(target.kind).wanted
    place = wanted
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = replicas
    dry_run = is_dry_run(request.query)
    return answer(
        _scale_of(
            target.kind,
            store.replace(
                target.kind.resource,
                target.namespace,
                target.name,
                wanted,
                managers=updating(request, target, held),
                dry_run=dry_run,
            ),
        )
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


async def request_token(request: web.Request, target: Target) -> web.Response:
    """TokenRequest: ``kubectl create token``. Bound to a pod, where ``boundObjectRef`` names one."""
    context = context_of(request)
    account = context.store.get("serviceaccounts", target.namespace, target.name)
    if context.accounts is None:
        raise failures.method_not_allowed()
    asked = await read_object(request)
    spec = asked.get("spec") or {}
    seconds, audiences = spec.get("expirationSeconds") or DEFAULT_TOKEN, spec.get("audiences") or []
    if not isinstance(seconds, int) or not SHORTEST_TOKEN <= seconds <= LONGEST_TOKEN:
        why = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes or more than 2^32 seconds"
        raise failures.invalid(
            target.kind, target.name, [failures.Cause("FieldValueInvalid", why, "spec.expirationSeconds")]
        )
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
        raise failures.bad_request("spec.audiences is a list of strings")
    bound = _bound_pod(context.store, target, spec.get("boundObjectRef") or {})
    token = context.accounts.issue(account, seconds, audiences, bound)
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    status = {"token": token, "expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
    metadata = {"name": target.name, "namespace": target.namespace}
    answered = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata}
    given = {"audiences": audiences or [ISSUER], "expirationSeconds": seconds}
    return answer({**answered, "spec": {**spec, **given}, "status": status}, 201)


def _bound_pod(store: Registry, target: Target, reference: JsonObject) -> JsonObject | None:
    if not reference:
        return None
    if reference.get("kind") != "Pod":
        raise failures.bad_request("a token can be bound to a Pod")
    pod = store.get("pods", target.namespace, str(reference.get("name")))
    if reference.get("uid") not in (None, "", pod["metadata"]["uid"]):
        raise failures.conflict(
            target.kind, target.name, "the UID in the bound object reference is another pod's"
        )
    if pod["spec"].get("serviceAccountName") != target.name:
        raise failures.bad_request(f"pod {pod['metadata']['name']} runs as another service account")
    return pod


def _success() -> JsonObject:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
