"""A DaemonSet's pods and their nodes: which nodes suit a pod, and how a pod is bound to one. Pure.

In: nodes and pods as JSON. Out: answers, or a pod edited in place where the name says so. Called by ``daemonset``. Rules: the controller's
shouldRun and its tolerations; node name by ``matchFields``, which the scheduler honours.
"""

from __future__ import annotations

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.controllers.fit import is_chosen, is_tolerated

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
    """Should a daemon of these tolerations run there? Also when the node is not Ready, or full: the pod waits then."""
    taints = node.get("spec", {}).get("taints") or []
    hard = [taint for taint in taints if taint.get("effect") in ("NoSchedule", "NoExecute")]
    return is_chosen(node, pod) and all(
        taint.get("key") in BORNE or is_tolerated(taint, pod) for taint in hard
    )


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
