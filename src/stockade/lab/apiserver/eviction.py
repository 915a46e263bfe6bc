"""``pods/eviction``: a deletion that PodDisruptionBudgets may refuse, as ``kubectl drain`` asks for it.

In: an Eviction (policy/v1, or v1beta1 of clients before 1.22). Out: the pod's graceful deletion and one disruption less, or 429, which means: try
again. Rules: the Eviction API: a pod that does not run yet, or no more, or that ends anyway needs no budget; one that is not ready may go when its
budget is met without it.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.bodies import answer, read_object
from stockade.lab.apiserver.context import context_of
from stockade.lab.apiserver.options import delete_options
from stockade.lab.apiserver.registry import ApiError, JsonObject, Registry
from stockade.lab.apiserver.requests import Target, is_dry_run
from stockade.lab.apiserver.subresources import ObjectName, success, typed
from stockade.lab.apiserver.writes import check_preconditions
from stockade.lab.controllers.objects import is_ready, is_terminating
from stockade.lab.disruption import BUDGETS, covers, tell_allowed
from stockade.lab.events import timestamp

_WITHOUT = ("Pending", "Succeeded", "Failed")
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


class _Eviction(msgspec.Struct, frozen=True):
    metadata: ObjectName = ObjectName()
    deleteOptions: JsonObject | None = None  # noqa: N815 - the API's word


async def evict_pod(request: web.Request, target: Target) -> web.Response:
    given = typed(await read_object(request), _Eviction, "Eviction")
    if given.metadata.name not in ("", target.name):
        raise failures.bad_request("name in URL does not match name in Eviction object")
    options, store = delete_options(given.deleteOptions or {}, request.query, ()), context_of(request).store
    held = store.get("pods", target.namespace, target.name)
    check_preconditions(target.kind, held, options.preconditions)
    dry_run = is_dry_run(request.query) or options.is_dry_run
    _spend(store, held, dry_run=dry_run)
    store.delete("pods", target.namespace, target.name, options.gracePeriodSeconds, dry_run=dry_run)
    return answer(success(), 201)


def _spend(store: Registry, pod: JsonObject, *, dry_run: bool) -> None:
    """Raises ApiError TooManyRequests."""
    if is_terminating(pod) or pod.get("status", {}).get("phase", "Pending") in _WITHOUT:
        return
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    budgets = [budget for budget in store.list(BUDGETS, namespace) if covers(budget, pod)]
    if len(budgets) > 1:
        raise failures.failure(500, "InternalError", _SEVERAL)
    if not budgets or _is_spare(budgets[0], pod):
        return
    _check(budgets[0])

    def change(budget: JsonObject) -> None:
        budget["status"]["disruptionsAllowed"] -= 1
        budget["status"].setdefault("disruptedPods", {})[name] = timestamp()
        tell_allowed(budget)

    if not dry_run:
        store.mutate(BUDGETS, namespace, budgets[0]["metadata"]["name"], change, "status")


def _is_spare(budget: JsonObject, pod: JsonObject) -> bool:
    """Not ready, and not missed (KEP-3017)."""
    if is_ready(pod):
        return False
    status = budget.get("status") or {}
    healthy, wanted = int(status.get("currentHealthy", 0)), int(status.get("desiredHealthy", 0))
    policy = budget["spec"].get("unhealthyPodEvictionPolicy")
    return healthy >= wanted > 0 or policy == "AlwaysAllow"


def _check(budget: JsonObject) -> None:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        text = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(_REFUSED, text, 10)
    if status.get("disruptionsAllowed", 0) > 0:
        return
    needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    raise _too_many(
        _REFUSED, f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
    )


def _too_many(message: str, cause: str, seconds: int = 0) -> ApiError:
    details: JsonObject = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    return failures.failure(
        429, "TooManyRequests", message, {**details, "retryAfterSeconds": seconds} if seconds else details
    )
