"""Arithmetic of a Deployment's rollout: how large each ReplicaSet may be now. Pure.

In: a Deployment's spec and its ReplicaSets. Out: sizes. Called by ``deployment``. Rules: apps/v1 DeploymentStrategy
(maxSurge rounds up, maxUnavailable down; not both zero) and the rolling-update procedure of the Deployment controller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from stockade.lab.apiserver.registry import JsonObject

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Without vowels and look-alikes, as the API server's own generated names."""


class Bounds(msgspec.Struct, frozen=True):
    """How far a rollout may leave ``desired`` pods: at most so many more, at most so many not available."""

    desired: int
    surge: int
    unavailable: int


def template_hash(deployment: JsonObject) -> str:
    """The same for the same pod template; part of the ReplicaSet's name and of its pods' labels.
    ``status.collisionCount`` gives another one when that name is taken by somebody else's ReplicaSet."""
    taken = deployment.get("status", {}).get("collisionCount") or 0
    content = msgspec.json.encode([deployment["spec"]["template"], taken], order="deterministic")
    number = int.from_bytes(hashlib.sha256(content).digest()[:8])
    digits = []
    for _ in range(10):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def bounds(spec: JsonObject) -> Bounds:
    desired = int(spec.get("replicas", 1))
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), desired, round_up=True)
    unavailable = share(rolling.get("maxUnavailable", "25%"), desired, round_up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Bounds(desired, surge, min(unavailable, desired))


def share(value: int | str, total: int, *, round_up: bool) -> int:
    """A count, or a percentage of ``total``."""
    if isinstance(value, int):
        return value
    percent = int(value.removesuffix("%"))
    return (total * percent + (99 if round_up else 0)) // 100


def size(replicaset: JsonObject) -> int:
    return int(replicaset["spec"].get("replicas", 1))


def available(replicaset: JsonObject) -> int:
    return int(replicaset.get("status", {}).get("availableReplicas") or 0)


def new_size(limits: Bounds, new: JsonObject | None, old: Iterable[JsonObject]) -> int:
    """As many pods of the new template as the surge leaves room for."""
    current = size(new) if new else 0
    if current >= limits.desired:
        return limits.desired
    room = limits.desired + limits.surge - current - sum(map(size, old))
    return current + max(0, min(room, limits.desired - current))


def old_sizes(limits: Bounds, new: JsonObject, old: list[JsonObject]) -> dict[str, int]:
    """Name → size of the old ReplicaSets that shrink; ``old`` is oldest first. Pods that do not work go first."""
    least = limits.desired - limits.unavailable
    total = size(new) + sum(map(size, old))
    spare = total - least - (size(new) - min(size(new), available(new)))
    sizes = {rs["metadata"]["name"]: size(rs) for rs in old}
    result = dict(sizes)
    for rs in old:
        name = rs["metadata"]["name"]
        broken = max(0, size(rs) - available(rs))
        step = min(broken, max(0, spare))
        result[name] -= step
        spare -= step
    surplus = min(spare, available(new) + sum(min(available(rs), size(rs)) for rs in old) - least)
    for rs in old:
        name = rs["metadata"]["name"]
        step = min(result[name], max(0, surplus))
        result[name] -= step
        surplus -= step
    return {name: count for name, count in result.items() if count != sizes[name]}
