"""The shape of every controller: watches put keys into a queue, one worker reconciles them, level-triggered.

        Registry.watch(resource) ──► keys of that change ──► WorkQueue ──► reconcile(key)
                                                               ▲                │ failed: later
                                                               └────────────────┘

``reconcile`` is synchronous and reads the registry itself, so it always sees the present state and is never interrupted;
it must do nothing when all is in order. A Service with 500 endpoints is not looked at for each of them: what takes long is looked
at less often. Called by each controller's ``run``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject, Registry
from stockade.lab.controllers.workqueue import WorkQueue

K = TypeVar("K", bound=Hashable)
Keys = Callable[[Change], Iterable[K]]

Place = tuple[str, str]
"""Namespace and name: the key of most controllers."""

_LABORIOUS = 0.002  # seconds of work for one look; not of waiting for a processor
_SHARE = 4  # a laborious look is followed by so many times as long without another at the same key
_LONGEST_REST = 0.5
log = logging.getLogger(__name__)


def place(obj: JsonObject) -> Place:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def itself(change: Change) -> list[Place]:
    """The changed object is what to look at."""
    return [place(change.object)]


async def run_loop(
    registry: Registry, queue: WorkQueue[K], watches: Mapping[str, Keys[K]], reconcile: Callable[[K], None]
) -> None:
    """Never returns; cancel it to stop."""
    try:
        async with asyncio.TaskGroup() as group:
            for resource, keys in watches.items():
                group.create_task(feed(registry, queue, resource, keys))
            group.create_task(_work(queue, reconcile))
    finally:
        queue.close()


async def feed(registry: Registry, queue: WorkQueue[K], resource: str, keys: Keys[K]) -> None:
    """Put what changes of ``resource`` concern into the queue. Never returns."""
    async for change in registry.watch(resource):
        try:
            found = list(keys(change))
        except Exception:  # one object that nobody expected must not end the lab
            log.exception("%s %s cannot be looked at", resource, place(change.object))
            continue
        for key in found:
            queue.add(key)


async def _work(queue: WorkQueue[K], reconcile: Callable[[K], None]) -> None:
    while True:
        key = await queue.get()
        started = time.thread_time()
        try:
            reconcile(key)
        except ApiError as error:
            log.info("%s: %s; trying again", key, error)
            queue.retry(key)
        except Exception:
            log.exception("%s could not be reconciled; trying again", key)
            queue.retry(key)
        else:
            queue.forget(key)
        if (took := time.thread_time() - started) > _LABORIOUS:
            queue.rest(key, min(_SHARE * took, _LONGEST_REST))
        await asyncio.sleep(0)  # a long queue must not keep requests waiting
