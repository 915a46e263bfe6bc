"""Which nodes a pod fits, and in the scheduler's words why not. Pure.

In: a pod, a node, the pods that are bound to that node. Out: None, or a ``Refusal``. Called by ``scheduler`` and, in part, by ``nodes``. The filters and their order are those
of kube-scheduler that need no resource accounting: unschedulable, taints, node affinity and selector, host ports, number of pods.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.controllers.objects import condition

_BLOCKING: Final = {"NoSchedule", "NoExecute"}
_ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - a value of the API, nothing is bound
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_UNREADY: Final = {"False": "node.kubernetes.io/not-ready", "Unknown": "node.kubernetes.io/unreachable"}


class Refusal(msgspec.Struct, frozen=True):
    """``preemptible``: the end of some pod on the node could make room."""

    text: str
    preemptible: bool = False


def refusal(node: JsonObject, pod: JsonObject, there: Collection[JsonObject]) -> Refusal | None:
    """The first filter that refuses; ``there`` are the pods bound to the node that are not finished."""
    spec = node.get("spec", {})
    cordon = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}
    if spec.get("unschedulable") and not is_tolerated(cordon, pod):
        return Refusal("node(s) were unschedulable")
    for taint in taints_of(node):
        if taint.get("effect") in _BLOCKING and not is_tolerated(taint, pod):
            return Refusal("node(s) had untolerated taint(s)")
    if not is_chosen(node, pod):
        return Refusal("node(s) didn't match Pod's node affinity/selector")
    if _ports_collide(pod, there):
        return Refusal("node(s) didn't have free ports for the requested pod ports", preemptible=True)
    room = (node.get("status", {}).get("allocatable") or {}).get("pods")
    if room is not None and len(there) >= int(room):
        return Refusal("Too many pods", preemptible=True)
    return None


def message(refusals: Sequence[Refusal]) -> str:
    """What FailedScheduling says, with the outcome of the preemption that was not possible."""
    if not refusals:
        return "no nodes available to schedule pods"
    head = f"0/{len(refusals)} nodes are available: "
    later = [
        "No preemption victims found for incoming pod"
        if each.preemptible
        else "Preemption is not helpful for scheduling"
        for each in refusals
    ]
    return f"{head}{_counted(each.text for each in refusals)}. preemption: {head}{_counted(later)}."


def _counted(texts: Iterable[str]) -> str:
    found = list(texts)
    return ", ".join(sorted(f"{found.count(text)} {text}" for text in set(found)))


def taints_of(node: JsonObject) -> list[JsonObject]:
    """Those written, and the one of a node that is not Ready before the node controller has written it."""
    taints = list(node.get("spec", {}).get("taints") or [])
    key = unready_taint(node)
    if key and all(taint.get("key") != key for taint in taints):
        taints.append({"key": key, "effect": "NoSchedule"})
    return taints


def unready_taint(node: JsonObject) -> str:
    """ "" for a Ready node."""
    return _UNREADY.get(str(condition(node, "Ready").get("status", "False")), "")


def is_tolerated(taint: JsonObject, pod: JsonObject) -> bool:
    """By one of the pod's tolerations."""
    for toleration in pod["spec"].get("tolerations") or []:
        effect, key = toleration.get("effect"), toleration.get("key")
        if effect not in {None, "", taint.get("effect")} or key not in {None, "", taint.get("key")}:
            continue
        exists = toleration.get("operator", "Equal") == "Exists"
        if exists or (key and toleration.get("value", "") == taint.get("value", "")):
            return True
    return False


def is_chosen(node: JsonObject, pod: JsonObject) -> bool:
    """By node selector and required node affinity."""
    labels = node["metadata"].get("labels") or {}
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(_term_matches(term, labels, fields) for term in required.get("nodeSelectorTerms") or [])


def _term_matches(term: JsonObject, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """A term without requirements matches no node."""
    by_label, by_field = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not by_label and not by_field:
        return False
    return all(_holds(each, labels) for each in by_label) and all(_holds(each, fields) for each in by_field)


def _holds(requirement: JsonObject, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement["key"]), requirement.get("values") or []
    test = _OPERATORS.get(requirement.get("operator", ""))
    return test is not None and test(value, values)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None


def _compare(value: str | None, values: list[str], *, greater: bool) -> bool:
    ours, theirs = _number(value), _number(values[0] if len(values) == 1 else None)
    if ours is None or theirs is None:
        return False
    return ours > theirs if greater else ours < theirs


_OPERATORS: Final[Mapping[str, Callable[[str | None, list[str]], bool]]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": lambda value, values: _compare(value, values, greater=True),
    "Lt": lambda value, values: _compare(value, values, greater=False),
}


def _ports_collide(pod: JsonObject, there: Iterable[JsonObject]) -> bool:
    wanted = _host_ports(pod)
    if not wanted:
        return False
    taken = {port for other in there for port in _host_ports(other)}
    return any(_collide(one, other) for one in wanted for other in taken)


def _collide(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    same_address = one[0] == other[0] or _ANY_ADDRESS in (one[0], other[0])
    return same_address and one[1:] == other[1:]


def _host_ports(pod: JsonObject) -> set[tuple[str, str, int]]:
    """Address, protocol, port. On the node's network every container port is the node's."""
    spec = pod["spec"]
    sidecars = [each for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    found = set()
    for container in [*(spec.get("containers") or []), *sidecars]:
        for port in container.get("ports") or []:
            number = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else 0)
            if number:
                found.add((port.get("hostIP") or _ANY_ADDRESS, port.get("protocol") or "TCP", int(number)))
    return found
