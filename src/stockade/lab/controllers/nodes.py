"""A DaemonSet's pods and their nodes: which nodes suit a pod, and how a pod is bound to one. Pure.

In: nodes and pods as JSON. Out: answers, or a pod edited in place where the name says so. Called by ``daemonset``. Rules: the controller's
shouldRun and its tolerations; node name by ``matchFields``, which the scheduler honours.
"""

from __future__ import annotations

from stockade.lab.apiserver.registry import JsonObject

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NODE_NAME = "metadata.name"
CONDITIONS = (  # taints that a daemon's pod bears in any case
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
BORNE = (*(key for key, _ in CONDITIONS), "node.kubernetes.io/network-unavailable")


def suits(node: JsonObject, pod: JsonObject) -> bool:
    spec, labels = pod["spec"], node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED)
    terms = (required or {}).get("nodeSelectorTerms") or []
    if required is not None and not any(_term(term, node) for term in terms):
        return False
    taints = node.get("spec", {}).get("taints") or []
    hard = [taint for taint in taints if taint.get("effect") in ("NoSchedule", "NoExecute")]
    return all(taint.get("key") in BORNE or _tolerates(spec, taint) for taint in hard)


def _term(term: JsonObject, node: JsonObject) -> bool:
    labels, fields = node["metadata"].get("labels") or {}, {NODE_NAME: node["metadata"]["name"]}
    rules = [(rule, labels) for rule in term.get("matchExpressions") or []]
    rules += [(rule, fields) for rule in term.get("matchFields") or []]
    return bool(rules) and all(_holds(rule, values) for rule, values in rules)


def _holds(rule: JsonObject, values: dict[str, str]) -> bool:
    value, wanted = values.get(rule["key"]), rule.get("values") or []
    match rule.get("operator"):
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compare(value, wanted, greater=operator == "Gt")
    return False


def _compare(value: str | None, wanted: list[str], *, greater: bool) -> bool:
    try:
        ours, theirs = int(value or ""), int(wanted[0])
    except (ValueError, IndexError):
        return False
    return ours > theirs if greater else ours < theirs


def _tolerates(spec: JsonObject, taint: JsonObject) -> bool:
    for item in spec.get("tolerations") or []:
        key, exists = item.get("key"), item.get("operator") == "Exists"
        same_key = key == taint.get("key") or (not key and exists)
        same_value = exists or (item.get("value") or "") == (taint.get("value") or "")
        if same_key and same_value and item.get("effect") in (None, "", taint.get("effect")):
            return True
    return False


def tolerate_all_conditions(pod: JsonObject) -> None:
    """Edits ``pod``."""
    tolerations = pod["spec"]["tolerations"] = list(pod["spec"].get("tolerations") or [])
    added = list(CONDITIONS)
    if pod["spec"].get("hostNetwork"):
        added.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
    tolerations += [{"key": key, "operator": "Exists", "effect": effect} for key, effect in added]


def bind_by_affinity(pod: JsonObject, node: str) -> None:
    """Edits ``pod``: the node's name replaces what its terms asked for, which has been looked at."""
    affinity = pod["spec"].setdefault("affinity", {})
    term = {"matchFields": [{"key": NODE_NAME, "operator": "In", "values": [node]}]}
    affinity.setdefault("nodeAffinity", {})[REQUIRED] = {"nodeSelectorTerms": [term]}


def bound_node(pod: JsonObject) -> str:
    """The node that the pod was made for; for an adopted pod the one that it is on."""
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED) or {}
    for term in required.get("nodeSelectorTerms") or []:
        for rule in term.get("matchFields") or []:
            if rule.get("key") == NODE_NAME and len(rule.get("values") or []) == 1:
                return str(rule["values"][0])
    return str(pod["spec"].get("nodeName") or "")
