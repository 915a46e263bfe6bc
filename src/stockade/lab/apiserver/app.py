"""The API server as an aiohttp application.

    request ─► count ─► errors to Status ─► gate (who, and may they) ─► path (requests.parse_target)
        ├─ discovery, OpenAPI, health, version
        ├─ reads, watches, writes, subresources ─► ObjectStore
        └─ exec, attach, port-forward, log (streams) ─► Runtime of the node

``lab.daemon`` makes the app, gives it TLS and a socket on loopback, and runs it on the loop of everything else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from stockade.lab.apiserver import (
    discovery,
    eviction,
    failures,
    negotiation,
    openapi,
    openapi_v2,
    options,
    reads,
    rules,
    subresources,
    watches,
    writes,
)
from stockade.lab.apiserver.bodies import JSON, answer, warn
from stockade.lab.apiserver.connections import BOUNDS, Bounds, read_in_time
from stockade.lab.apiserver.context import CONTEXT, Context
from stockade.lab.apiserver.gate import authorize
from stockade.lab.apiserver.health import add_health_routes, count
from stockade.lab.apiserver.kinds import Catalogue
from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.requests import Target, flag, parse_target
from stockade.lab.apiserver.reviews import add_review_routes
from stockade.lab.apiserver.service_accounts import ServiceAccountTokens
from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.apiserver.streams import add_stream_routes
from stockade.lab.node.runtime import Runtime

log = logging.getLogger(__name__)
MAX_BODY = 3 * 1024 * 1024  # etcd's request limit doubled, as kube-apiserver bounds bodies
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TargetHandler = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]

COLLECTION: Mapping[str, TargetHandler] = {
    "GET": reads.list_objects,
    "POST": writes.create_object,
    "DELETE": writes.delete_collection,
}
OBJECT: Mapping[str, TargetHandler] = {
    "GET": reads.get_object,
    "PUT": writes.replace_object,
    "PATCH": writes.patch_object,
    "DELETE": writes.delete_object,
}
SUBRESOURCE: Mapping[str, Mapping[str, TargetHandler]] = {
    "status": {"GET": reads.get_object, "PUT": writes.replace_object, "PATCH": writes.patch_object},
    "scale": {
        "GET": subresources.get_scale,
        "PUT": subresources.replace_scale,
        "PATCH": subresources.patch_scale,
    },
    "binding": {"POST": subresources.bind_pod},
    "eviction": {"POST": eviction.evict_pod},
    "ephemeralcontainers": {
        "GET": reads.get_object,
        "PUT": writes.replace_object,
        "PATCH": writes.patch_object,
    },
    "finalize": {"PUT": subresources.finalize_namespace},
    "token": {"POST": subresources.request_token},
}


def create_app(
    store: ObjectStore,
    *,
    tokens: Mapping[str, str],
    runtime: Runtime | None = None,
    version: Mapping[str, str],
    bounds: Bounds | None = None,
    accounts: ServiceAccountTokens | None = None,
) -> web.Application:
    """``tokens``: bearer token → user name; ``accounts`` knows those of pods. ``version``: what ``/version`` answers (gitVersion, major, minor …)."""
    app = web.Application(
        middlewares=[count, _answer_errors, authorize, read_in_time], client_max_size=MAX_BODY
    )
    app[BOUNDS] = bounds or Bounds()
    app[CONTEXT] = Context(store=store, runtime=runtime, tokens=tokens, version=version, accounts=accounts)
    app.on_shutdown.append(_end_streams)
    app.on_response_prepare.append(_anonymous)
    add_health_routes(app)
    app.router.add_get("/", _root)
    app.router.add_get("/api{slash:/?}", _core_group)
    app.router.add_get("/apis{slash:/?}", _groups)
    app.router.add_get("/apis/{group}{slash:/?}", _group)
    app.router.add_get("/openapi/v2", _openapi_v2)
    app.router.add_get("/openapi/v3", _openapi_index)
    app.router.add_get("/openapi/v3/{path:.*}", _openapi_v3)
    add_review_routes(app)
    app.router.add_post("/api/v1/namespaces/{namespace}/bindings", subresources.bind_by_name)
    if runtime is not None:
        add_stream_routes(app, store, runtime)
    app.router.add_route("*", "/api/{version}{path:(/.*)?}", _resource)
    app.router.add_route("*", "/apis/{group}/{version}{path:(/.*)?}", _resource)
    return app


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return answer(error.status, error.code)
    except web.HTTPNotFound:
        status = failures.unknown_path().status
        return answer(status, status["code"])
    except web.HTTPMethodNotAllowed:
        status = failures.method_not_allowed().status
        return answer(status, status["code"])
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {MAX_BODY}"
        return answer(failures.failure(413, "RequestEntityTooLarge", message).status, 413)
    except (web.HTTPException, ConnectionResetError):
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        code = HTTPStatus.INTERNAL_SERVER_ERROR
        message = "Internal error occurred: see the log of the lab"
        return answer(failures.failure(code, "InternalError", message).status, code)


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Which library answers, in which version, is nobody's business."""
    del request
    response.headers.pop("Server", None)


async def _end_streams(app: web.Application) -> None:
    tasks = list(app[CONTEXT].streams)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _resource(request: web.Request) -> web.StreamResponse:
    group, version = request.match_info.get("group", ""), request.match_info["version"]
    path = request.match_info["path"].strip("/")
    if not path:
        return _resource_list(request, group, version)
    old_watch = path.startswith("watch/") and request.method == "GET"
    path = path.removeprefix("watch/") if old_watch else path
    target = parse_target(_served(request), group, version, path)
    handler = _handlers(target).get(request.method)
    if handler is None:
        raise failures.method_not_allowed()
    form = negotiation.form_of(request.headers.get("Accept", ""))
    if request.method == "GET" and not target.subresource and (old_watch or flag(request.query, "watch")):
        options.check_list(request.query, watch=True)
        return await watches.watch_objects(request, target)
    if handler is reads.list_objects:
        options.check_list(request.query, watch=False)
    elif request.method in ("POST", "PUT", "PATCH"):
        dry_run = request.query.getall("dryRun", [])
        options.check_write(request.method, request.query, dry_run, request.content_type)
    response = await handler(request, target)
    warn(response, rules.deprecation(target.kind))
    return negotiation.present(request, response, form)


def _served(request: web.Request) -> Catalogue:
    return request.app[CONTEXT].store.kinds


def _handlers(target: Target) -> Mapping[str, TargetHandler]:
    if target.subresource:
        return SUBRESOURCE.get(target.subresource, {})
    return OBJECT if target.name else COLLECTION


def _resource_list(request: web.Request, group: str, version: str) -> web.Response:
    found = discovery.resource_list(_served(request), group, version) if request.method == "GET" else None
    if found is None:
        raise failures.unknown_path()
    return answer(found)


async def _root(request: web.Request) -> web.Response:
    return answer(discovery.paths(_served(request)))


async def _core_group(request: web.Request) -> web.Response:
    return _discovery(request, core=True)


async def _groups(request: web.Request) -> web.Response:
    return _discovery(request, core=False)


def _discovery(request: web.Request, *, core: bool) -> web.Response:
    """The aggregated form has an ETag: clients that keep it ask whether it is still good."""
    served = _served(request)
    version = discovery.aggregated_version(request.headers.get("Accept", ""))
    if not version:
        return answer(discovery.api_versions() if core else discovery.api_group_list(served))
    body = msgspec.json.encode(discovery.aggregated(served, core=core, version=version))
    parameters = f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    return _tagged(request, body, f"application/json;{parameters}", hashlib.sha256(body).hexdigest().upper())


def _tagged(request: web.Request, body: bytes, media: str, tag: str) -> web.Response:
    headers = {"ETag": f'"{tag}"', "Vary": "Accept"}
    if tag in {given.value for given in request.if_none_match or ()}:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": media})


async def _group(request: web.Request) -> web.Response:
    found = discovery.api_group(_served(request), request.match_info["group"])
    if found is None:
        raise failures.unknown_path()
    return answer(found)


async def _openapi_v2(request: web.Request) -> web.Response:
    form = openapi_v2.wanted_form(request.headers.get("Accept", ""))
    body, tag = openapi_v2.document(form, _served(request).all())
    return _tagged(request, body, form, tag)


async def _openapi_index(request: web.Request) -> web.Response:
    return answer(openapi.index(_served(request)))


async def _openapi_v3(request: web.Request) -> web.Response:
    served, path = _served(request), request.match_info["path"]
    body = openapi.document(served, path)
    if body is None:
        raise failures.unknown_path()
    tag, asked = openapi.tag(served, path), request.query.get("hash", "")
    if asked and asked != tag:  # of another time
        raise web.HTTPMovedPermanently(f"{request.path}?hash={tag}")
    response = _tagged(request, body, JSON, tag)
    response.headers["Cache-Control"] = "public, immutable" if asked else "no-cache, private"
    return response
