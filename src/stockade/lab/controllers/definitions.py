"""The end of a custom kind: its objects go first, then its definition.

In: CustomResourceDefinitions that are being deleted. Out: their objects deleted; the finalizer taken away when none is left. Rules: the
finalizer controller of apiextensions.
"""

from __future__ import annotations

from stockade.lab.apiserver.crd.definition import CLEANUP, DEFINITIONS
from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import is_terminating
from stockade.lab.controllers.workqueue import WorkQueue

_LOOK_AGAIN = 0.5
"""Seconds until we look whether finalizers have let go of what is left."""


class DefinitionController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(self._registry, self._queue, {DEFINITIONS: itself}, self._reconcile)

    def _reconcile(self, key: Place) -> None:
        definition = self._registry.find(DEFINITIONS, *key)
        if definition is None or not is_terminating(definition):
            return
        resource = f"{definition['spec']['names']['plural']}.{definition['spec']['group']}"
        if self._registry.serves(resource):
            for obj in self._registry.list(resource):
                if not is_terminating(obj):
                    self._registry.delete(resource, *place(obj))
            if self._registry.list(resource):
                self._queue.add_after(key, _LOOK_AGAIN)
                return
        self._registry.mutate(DEFINITIONS, *key, _release)


def _release(definition: JsonObject) -> None:
    left = [each for each in definition["metadata"].get("finalizers") or [] if each != CLEANUP]
    definition["metadata"]["finalizers"] = left
