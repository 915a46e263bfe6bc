"""The disruption controller: how many pods of each PodDisruptionBudget are healthy, should be, and may be evicted now.

In: budgets, pods and what owns them. Out: each budget's status. Called by ``run_controllers``; the API server reads and lowers
``disruptionsAllowed`` when a pod is evicted. Rules: policy/v1. ``maxUnavailable`` and percentages count against the replicas that the pods' owners
ask for, so each owner must have replicas; a plain ``minAvailable`` counts against the pods that are there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stockade.lab.apiserver.registry import Change, JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import controller_of, is_ready, is_terminating
from stockade.lab.controllers.rollout import share
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.disruption import BUDGETS, PENDING_SECONDS, covers, tell_allowed

_SCALED = {
    "ReplicaSet": "replicasets.apps",
    "ReplicationController": "replicationcontrollers",
    "StatefulSet": "statefulsets.apps",
}


class _CountError(Exception):
    """What the budget asks for cannot be told; the message is the condition's."""


class DisruptionController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        watches = dict.fromkeys(("pods", *_SCALED.values()), self._beside)
        await run_loop(self._registry, self._queue, {BUDGETS: itself, **watches}, self._reconcile)

    def _beside(self, change: Change) -> list[Place]:
        """Every budget of the namespace."""
        return [
            place(budget) for budget in self._registry.list(BUDGETS, change.object["metadata"]["namespace"])
        ]

    def _reconcile(self, key: Place) -> None:
        budget = self._registry.find(BUDGETS, *key)
        if budget is None or is_terminating(budget):
            return
        pods = [pod for pod in self._registry.list("pods", key[0]) if covers(budget, pod)]
        pending = _pending(budget, pods)
        if pending:
            self._queue.add_after(key, PENDING_SECONDS)
        status: JsonObject = {"observedGeneration": budget["metadata"].get("generation", 0)}
        failure = ""
        try:
            expected, desired = self._wanted(budget["spec"], pods)
            healthy = sum(
                is_ready(pod) and not is_terminating(pod) and pod["metadata"]["name"] not in pending
                for pod in pods
            )
            allowed = max(0, healthy - desired) if expected else 0
            status |= {"currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected}
        except _CountError as error:
            failure, allowed = str(error), 0
        status |= {"disruptionsAllowed": allowed, "disruptedPods": pending}

        def change(obj: JsonObject) -> None:
            zero = {"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
            obj["status"] = {**zero, **(obj.get("status") or {}), **status}
            if not pending:
                del obj["status"]["disruptedPods"]
            tell_allowed(obj, failure)

        self._registry.mutate(BUDGETS, *key, change, "status")

    def _wanted(self, spec: JsonObject, pods: list[JsonObject]) -> tuple[int, int]:
        """How many there should be, and how many of them healthy."""
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if most is not None:
            expected = self._replicas(pods)
            return expected, max(0, expected - share(most, expected, round_up=True))
        if isinstance(least, str):
            expected = self._replicas(pods)
            return expected, share(least, expected, round_up=True)
        return len(pods), least or 0

    def _replicas(self, pods: list[JsonObject]) -> int:
        """Of all owners together. Raises _CountError for an owner without replicas; pods of nobody do not count."""
        found: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                continue
            resource = _SCALED.get(owner.get("kind", ""))
            if resource is None:
                plural = (
                    f"{str(owner.get('kind')).lower()}s.{str(owner.get('apiVersion')).rpartition('/')[0]}"
                )
                raise _CountError(f"{plural} does not implement the scale subresource")
            held = self._registry.find(resource, pod["metadata"]["namespace"], owner["name"])
            if held is None or held["metadata"]["uid"] != owner.get("uid"):
                raise _CountError(f'found no controllers for pod "{pod["metadata"]["name"]}"')
            held = self._deployment_of(held) or held
            found[held["metadata"]["uid"]] = int(held["spec"].get("replicas", 1))
        return sum(found.values())

    def _deployment_of(self, owner: JsonObject) -> JsonObject | None:
        above = controller_of(owner)
        if above is None or above.get("kind") != "Deployment":
            return None
        return self._registry.find("deployments.apps", owner["metadata"]["namespace"], above["name"])


def _pending(budget: JsonObject, pods: list[JsonObject]) -> dict[str, str]:
    """Evictions that were allowed, of pods that do not end yet."""
    told: dict[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    here = {pod["metadata"]["name"] for pod in pods if not is_terminating(pod)}
    oldest = datetime.now(UTC) - timedelta(seconds=PENDING_SECONDS)
    return {name: at for name, at in told.items() if name in here and datetime.fromisoformat(at) > oldest}
