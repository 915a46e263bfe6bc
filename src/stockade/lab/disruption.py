"""PodDisruptionBudgets (policy/v1): which pods one covers, and what it has left. Pure.

In: budgets and pods as JSON. Out: answers, or a status edited in place. Called by the API server when a pod is evicted and by the controller that
fills ``status``. Rules: the Eviction API and the disruption controller.
"""

from __future__ import annotations

from typing import Final

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.controllers.objects import set_condition
from stockade.model.selectors import LabelSelector

BUDGETS: Final = "poddisruptionbudgets.policy"
PENDING_SECONDS: Final = 120
"""So long an eviction that was allowed counts as done, though the pod is still to be seen."""


def covers(budget: JsonObject, pod: JsonObject) -> bool:
    """An empty selector covers every pod of the namespace, none covers no pod."""
    selector = budget.get("spec", {}).get("selector")
    if selector is None:
        return False
    return msgspec.convert(selector, LabelSelector).matches(pod["metadata"].get("labels") or {})


def tell_allowed(budget: JsonObject, failure: str = "") -> None:
    """Edits the condition DisruptionAllowed, by ``status.disruptionsAllowed``."""
    status = budget["status"]
    allowed = not failure and status["disruptionsAllowed"] > 0
    reason = "SyncFailed" if failure else "SufficientPods" if allowed else "InsufficientPods"
    generation = budget["metadata"].get("generation", 0)
    entry: JsonObject = {"type": "DisruptionAllowed", "status": str(allowed), "reason": reason}
    set_condition(
        status.setdefault("conditions", []),
        {**entry, "message": failure, "observedGeneration": generation},
    )
