"""World: the reflectors' sink, and the newest ClusterState.

In: calls of several reflectors, each cut down to what policy reads (``agent.relevant``). Out: ``take`` gives the newest state, the very
same value as before when nothing relevant happened; ``changed`` wakes whoever programs. Called by ``agent.node``.
Changes are gathered, not delayed: the first one wakes at once, those that come while rules are being written wait together.
How long the oldest of them has been waiting is known until ``settled`` says that it is in force: that is the enforcement latency.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from stockade.agent.relevant import relevant
from stockade.kube.resources import KubeObject, Resource
from stockade.model.meta import ObjectRef
from stockade.store.delta import Delete, Delta, Replace, Upsert, apply
from stockade.store.state import ClusterState

log = logging.getLogger(__name__)


class World:
    """Lives in the event loop's thread; the states it hands out may go anywhere."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.changed = asyncio.Event()
        self._monotonic = monotonic
        self._state = ClusterState()
        self._pending: list[Delta] = []
        self._untold: list[Delta] = []
        self._troubles: dict[str, str] = {}
        self._pending_since: float | None = None
        self._taken_since: float | None = None

    @property
    def current(self) -> ClusterState:
        """The state as of the last ``take``."""
        return self._state

    def take(self) -> ClusterState:
        """Everything that happened so far, as one state."""
        self.changed.clear()
        pending, self._pending = self._pending, []
        if self._taken_since is None:
            self._taken_since = self._pending_since
        self._pending_since = None
        self._state = apply(self._state, pending)
        self._untold += pending
        return self._state

    def deltas(self) -> list[Delta]:
        """What led to the state of the last ``take``, since this was last asked, or since ``settled``."""
        untold, self._untold = self._untold, []
        return untold

    def settled(self) -> float:
        """What was taken is in force, or changed nothing: how many seconds ago the oldest of it came in."""
        self._untold = []
        since, self._taken_since = self._taken_since, None
        return 0.0 if since is None else self._monotonic() - since

    @property
    def troubles(self) -> dict[str, str]:
        """Resource -> why its copy may be getting old."""
        return dict(self._troubles)

    # -- kube.reflector.Sink

    def replace(self, resource: Resource, objects: list[KubeObject]) -> None:
        self._gather(Replace(resource.plural, tuple(relevant(obj) for obj in objects)))

    def upsert(self, resource: Resource, obj: KubeObject) -> None:
        self._gather(Upsert(resource.plural, relevant(obj)))

    def delete(self, resource: Resource, ref: ObjectRef) -> None:
        self._gather(Delete(resource.plural, ref))

    def trouble(self, resource: Resource, error: Exception | None, retry_in: float) -> None:
        """One line for each trouble, not for each attempt, nor for each resource that shares it."""
        if error is None:
            if self._troubles.pop(str(resource), None) and not self._troubles:
                log.info("the Kubernetes API answers again")
            return
        text = str(error)
        if text not in self._troubles.values():
            log.warning("cannot follow %s: %s; trying again in %.1fs", resource, text, retry_in)
        self._troubles[str(resource)] = text

    def _gather(self, delta: Delta) -> None:
        if self._pending_since is None:
            self._pending_since = self._monotonic()
        self._pending.append(delta)
        self.changed.set()
