"""GET pods/NAME/log: a container's output as plain text, with ``follow``, ``tailLines``, ``previous`` and the like.

In: query parameters of PodLogOptions (core/v1). Out: the bytes that ``Runtime.logs`` yields, as they come.
A container that has not started answers BadRequest with the kubelet's text.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime

from aiohttp import web

from stockade.lab.apiserver.registry import Registry
from stockade.lab.apiserver.streams.pods import Target, find_container, flag
from stockade.lab.apiserver.streams.status import bad_request
from stockade.lab.node.runtime import LogOptions, NotRunningError, Runtime

_FIRST = 0.1
"""Seconds to wait for output (or a refusal) before the headers go out; a quiet container is followed for longer."""
_CHECK = 5.0
_INT64 = 2**63 - 1


class Log:
    """The handler; ``add_stream_routes`` registers it."""

    def __init__(self, registry: Registry, runtime: Runtime) -> None:
        self._registry = registry
        self._runtime = runtime

    async def handle(self, request: web.Request) -> web.StreamResponse:
        options = parse_options(request)
        target = find_container(request, self._registry)
        _require_log(target, options)
        try:
            chunks = self._runtime.logs(target.uid, target.container, options)
        except NotRunningError as error:
            raise bad_request(str(error)) from error
        first = asyncio.ensure_future(_next(chunks))
        try:
            await asyncio.wait({first}, timeout=_FIRST)
            if first.done() and isinstance(first.exception(), NotRunningError):
                raise bad_request(str(first.exception()))
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, NotRunningError):
                await _copy(request, response, first, chunks)
            return response
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()


async def _copy(
    request: web.Request,
    response: web.StreamResponse,
    pending: asyncio.Future[bytes | None],
    chunks: AsyncIterator[bytes],
) -> None:
    """Until the log ends or the client goes; a client that goes while all is quiet is noticed within seconds."""
    try:
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.wait({pending}, timeout=_CHECK)
            if not pending.done():
                continue
            chunk = pending.result()
            if chunk is None:
                await response.write_eof()
                return
            await response.write(chunk)
            pending = asyncio.ensure_future(_next(chunks))
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)


def parse_options(request: web.Request) -> LogOptions:
    since = _number(request, "sinceSeconds")
    since_seconds = None if since is None else float(since)
    if since_time := request.query.get("sinceTime"):
        if since is not None:
            raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
        since_seconds = _seconds_ago(since_time)
    return LogOptions(
        follow=flag(request, "follow"),
        previous=flag(request, "previous"),
        timestamps=flag(request, "timestamps"),
        tail_lines=_number(request, "tailLines"),
        since_seconds=since_seconds,
        limit_bytes=_number(request, "limitBytes"),
    )


def _number(request: web.Request, name: str) -> int | None:
    """kubectl leaves ``tailLines`` out for "all" (-1)."""
    text = request.query.get(name)
    if text is None:
        return None
    if not text.removeprefix("-").isdecimal():
        raise bad_request(f'unable to decode query: strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise bad_request(f"{name}: Invalid value: {text}: must be greater than or equal to 0")
    return min(int(text), _INT64)


def _seconds_ago(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_request(f'sinceTime: parsing time "{text}" as RFC 3339: cannot parse') from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


def _require_log(target: Target, options: LogOptions) -> None:
    """The kubelet's refusals, from what it last said of the container."""
    name, pod, status = target.container, target.name, target.status
    if options.previous and not (status.get("lastState") or {}).get("terminated"):
        raise bad_request(f'previous terminated container "{name}" in pod "{pod}" not found')
    if not status:
        raise bad_request(f'container "{name}" in pod "{pod}" is waiting to start: ContainerCreating')
    waiting = target.state.get("waiting")
    if waiting is not None and not (status.get("lastState") or {}).get("terminated"):
        reason = waiting.get("reason")
        text = f'container "{name}" in pod "{pod}" is waiting to start'
        raise bad_request(f"{text}: {reason}" if reason else f"{text} - no logs yet")


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)
