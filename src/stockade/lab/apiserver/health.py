"""``/healthz``, ``/livez``, ``/readyz`` (with ``?verbose``), ``/version`` and ``/metrics``.

In: requests; what the middleware counted. Out: text. Called by the application. Rules: kube-apiserver's health page and the names of
its metrics, of which these are the ones that a small cluster can tell.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.bodies import answer
from stockade.lab.apiserver.context import CONTEXT
from stockade.lab.apiserver.gate import attributes

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from stockade.lab.apiserver.store import ObjectStore

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CHECKS = ("ping", "storage")
STREAMED = ("exec", "attach", "portforward", "log")


class Counts(msgspec.Struct):
    """Since the start. Keys: (verb, group, resource, code) and (verb, resource); seconds are of requests that end by themselves."""

    requests: Counter[tuple[str, str, str, str]] = msgspec.field(default_factory=Counter)
    seconds: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    finished: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    running: int = 0


COUNTS = web.AppKey("counts", Counts)


def add_health_routes(app: web.Application) -> None:
    app[COUNTS] = Counts()
    for path in ("healthz", "livez", "readyz"):
        app.router.add_get(f"/{path}", _health)
        app.router.add_get(f"/{path}/{{check}}", _one)
    app.router.add_get("/version{slash:/?}", _version)
    app.router.add_get("/metrics", _metrics)


@web.middleware
async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
    counts, start = request.app[COUNTS], time.monotonic()
    counts.running += 1
    code = "0"  # the client went away
    try:
        response = await handler(request)
        code = str(response.status)
        return response
    finally:
        counts.running -= 1
        asked = attributes(request.method, request.path, {**request.query})
        served = not asked.path and request.app[CONTEXT].store.kinds.has(
            f"{asked.resource}.{asked.group}" if asked.group else asked.resource
        )
        resource = asked.resource if served else ""  # strangers' paths must not become labels
        verb = asked.verb.upper() if request.method in ("GET", "POST", "PUT", "PATCH", "DELETE") else "OTHER"
        counts.requests[verb, asked.group if served else "", resource, code] += 1
        if verb != "WATCH" and asked.subresource not in STREAMED:
            counts.seconds[verb, resource] += time.monotonic() - start  # type: ignore[assignment]
            counts.finished[verb, resource] += 1


async def _health(request: web.Request) -> web.Response:
    if "verbose" not in request.query:
        return web.Response(text="ok")
    lines = [f"[+]{check} ok" for check in CHECKS]
    return web.Response(text="\n".join([*lines, f"{request.path.strip('/')} check passed", ""]))


async def _one(request: web.Request) -> web.Response:
    if request.match_info["check"] not in CHECKS:
        raise web.HTTPNotFound
    return web.Response(text="ok")


async def _version(request: web.Request) -> web.Response:
    return answer(dict(request.app[CONTEXT].version))


async def _metrics(request: web.Request) -> web.Response:
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - 40 ms nobody else needs
    except ImportError:
        raise failures.failure(501, "NotImplemented", "metrics need the package prometheus-client") from None

    context, counts = request.app[CONTEXT], request.app[COUNTS]

    class Collected:
        def collect(self) -> Iterator[Metric]:
            yield from _families(counts, context.store, len(context.streams))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})


def _families(counts: Counts, store: ObjectStore, watches: int) -> Iterator[Metric]:
    from prometheus_client.core import (  # noqa: PLC0415 - as above
        CounterMetricFamily,
        GaugeMetricFamily,
        SummaryMetricFamily,
    )

    requests = CounterMetricFamily(
        "apiserver_request",
        "Requests by verb, resource and code.",
        labels=("verb", "group", "resource", "code"),
    )
    for (verb, group, resource, code), number in sorted(counts.requests.items()):
        requests.add_metric((verb, group, resource, code), number)
    yield requests
    duration = SummaryMetricFamily(
        "apiserver_request_duration_seconds",
        "Time to answer, watches and streams apart.",
        labels=("verb", "resource"),
    )
    for (verb, resource), number in sorted(counts.finished.items()):
        duration.add_metric((verb, resource), number, counts.seconds[verb, resource])
    yield duration
    yield GaugeMetricFamily("apiserver_current_inflight_requests", "Requests under way.", counts.running)
    yield GaugeMetricFamily("apiserver_longrunning_requests", "Watches under way.", watches)
    objects = GaugeMetricFamily("apiserver_storage_objects", "Objects stored.", labels=("resource",))
    for resource in dict.fromkeys(kind.resource for kind in store.kinds.all()):
        objects.add_metric((resource,), store.count(resource))
    yield objects
    yield GaugeMetricFamily("apiserver_storage_revision", "The newest resourceVersion.", store.revision)
