"""``scale``, ``binding``, ``finalize``, ``token``: objects that are asked for but never stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.bodies import answer, read_object
from stockade.lab.apiserver.context import context_of
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.options import check_write
from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.apiserver.requests import Target, is_dry_run
from stockade.lab.apiserver.selectors import field_value
from stockade.lab.apiserver.service_accounts import ISSUER
from stockade.lab.apiserver.writes import (
    decode_patch,
    name_mismatch,
    patched,
    updating,
)
from stockade.manifests.validate import names
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
        "spec": {"replicas": _count(obj, paths.wanted)},
        "status": {"replicas": _count(obj, paths.present), "selector": selector},
    }


def _count(obj: JsonObject, path: tuple[str, ...]) -> int:
    text = field_value(obj, path)
    return int(text) if text.isdecimal() else 0


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
    given = typed(scale, _Scale, "Scale")
    name, version = given.metadata.name or target.name, given.metadata.resourceVersion
    if name != target.name:
        raise failures.bad_request(name_mismatch(name, target.name))
    replicas = given.spec.replicas
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise failures.invalid(
            SCALE, target.name, [failures.Cause("FieldValueInvalid", why, "spec.replicas")]
        )
    store = context_of(request).store
    held = store.get(target.kind.resource, target.namespace, target.name)
    wanted: JsonObject = msgspec.json.decode(msgspec.json.encode(held))
    wanted["metadata"]["resourceVersion"] = version or held["metadata"]["resourceVersion"]
    *steps, last = _scale_paths(target.kind).wanted
    place = wanted
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = replicas
    stored = store.replace(
        target.kind.resource,
        target.namespace,
        target.name,
        wanted,
        managers=updating(request, target, held),
        dry_run=is_dry_run(request.query),
    )
    return answer(_scale_of(target.kind, stored))


async def bind_by_name(request: web.Request) -> web.Response:
    """POST of a Binding to the collection ``bindings``: the old way, where the body names the pod."""
    given = typed(await read_object(request, BINDING), _Binding, "Binding")
    if not given.metadata.name:
        cause = failures.Cause("FieldValueRequired", "Required value: name is required", "metadata.name")
        raise failures.invalid(BINDING, "", [cause])
    check_write("POST", request.query, request.query.getall("dryRun", []))
    pods = context_of(request).store.kinds.of("pods")
    return await bind_pod(request, Target(pods, request.match_info["namespace"], given.metadata.name))


async def bind_pod(request: web.Request, target: Target) -> web.Response:
    """A scheduler's decision; a pod is bound once."""
    given = typed(await read_object(request), _Binding, "Binding")
    node, store = given.target.name, context_of(request).store
    held = store.get("pods", target.namespace, target.name)
    if given.metadata.name not in ("", target.name):
        raise failures.bad_request(name_mismatch(given.metadata.name, target.name))
    if names.dns_subdomain(node):
        cause = failures.Cause("FieldValueRequired", "Required value", "target.name")
        raise failures.invalid(BINDING, target.name, [cause])
    if given.metadata.uid not in ("", held["metadata"]["uid"]):
        why = f"Precondition failed: UID in precondition: {given.metadata.uid}, UID in object meta: {held['metadata']['uid']}"
        raise failures.conflict(target.kind, target.name, why)
    if bound := held["spec"].get("nodeName"):
        why = f'pod {target.name} is already assigned to node "{bound}"'
        raise failures.conflict(POD_BINDING, target.name, why)
    if "deletionTimestamp" in held["metadata"]:
        why = f"pod {target.name} is being deleted, cannot be assigned to a host"
        raise failures.conflict(POD_BINDING, target.name, why)

    def bind(pod: JsonObject) -> None:
        pod["spec"]["nodeName"] = node

    if not is_dry_run(request.query):
        store.mutate("pods", target.namespace, target.name, bind)
    return answer(success(), 201)


async def finalize_namespace(request: web.Request, target: Target) -> web.Response:
    body = typed(await read_object(request, target.kind), _Finalized, "Namespace")
    if body.metadata.name not in ("", target.name):
        raise failures.bad_request(name_mismatch(body.metadata.name, target.name))
    store = context_of(request).store
    held = store.get("namespaces", "", target.name)
    if body.metadata.resourceVersion not in ("", held["metadata"]["resourceVersion"]):
        raise failures.conflict(target.kind, target.name)
    for index, each in enumerate(body.spec.finalizers):
        if each != "kubernetes" and "/" not in each:
            text = f'Invalid value: "{each}": name is neither a standard finalizer name nor is it fully qualified'
            cause = failures.Cause("FieldValueInvalid", text, f"spec.finalizers[{index}]")
            raise failures.invalid(target.kind, target.name, [cause])

    def finalize(namespace: JsonObject) -> None:
        namespace.setdefault("spec", {})["finalizers"] = body.spec.finalizers

    if is_dry_run(request.query):
        spec = {**held.get("spec", {}), "finalizers": body.spec.finalizers}
        return answer({**held, "spec": spec})
    return answer(store.mutate("namespaces", "", target.name, finalize))


class ObjectName(msgspec.Struct, frozen=True):
    name: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815 - the API's word


class _Replicas(msgspec.Struct, frozen=True):
    replicas: int = 0


class _Scale(msgspec.Struct, frozen=True):
    metadata: ObjectName = ObjectName()
    spec: _Replicas = _Replicas()


class _Node(msgspec.Struct, frozen=True):
    name: str = ""


class _Binding(msgspec.Struct, frozen=True):
    metadata: ObjectName = ObjectName()
    target: _Node = _Node()


class _Finalizers(msgspec.Struct, frozen=True):
    finalizers: list[str] = []


class _Finalized(msgspec.Struct, frozen=True):
    metadata: ObjectName = ObjectName()
    spec: _Finalizers = _Finalizers()


SCALE = Kind(kind="Scale", plural="scales", singular="scale", group="autoscaling")
BINDING = Kind(kind="Binding", plural="bindings", singular="binding", verbs=("create",))
POD_BINDING = Kind(kind="Binding", plural="pods/binding", singular="")
_T = TypeVar("_T", bound=msgspec.Struct)


def typed(body: JsonObject, form: type[_T], kind: str) -> _T:
    """Nulls are as if they were absent. Raises ApiError BadRequest for a value of a wrong type."""
    given = {
        key: {name: inner for name, inner in value.items() if inner is not None}
        if isinstance(value, dict)
        else value
        for key, value in body.items()
        if value is not None
    }
    try:
        return msgspec.convert(given, form)
    except msgspec.ValidationError as error:
        message = f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal: {error}'
        raise failures.bad_request(message) from None


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


def success() -> JsonObject:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
