"""What a container may use, and the cgroup files that say so. Pure.

In: a container's spec, or the machine's size. Out: files and their contents for each controller, in the order in which they are written.
Called by ``cgroups``. Rules: Kubernetes API, ResourceRequirements v1 core; the kernel's cgroup-v2.rst and cgroup-v1/*.rst; a memory limit
holds for memory and swap together, as container runtimes set it, and ends the whole container where the kernel can (memory.oom.group).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stockade.lab.node.quantities import in_units

JsonObject = dict[str, Any]
MEMORY, CPU, PIDS = "memory", "cpu", "pids"
CONTROLLERS: Final = (MEMORY, CPU, PIDS)
POD_PIDS: Final = 4096
_PERIOD: Final = 100_000  # microseconds
_LEAST_QUOTA: Final = 1_000
_SHARE_OF_MACHINE: Final = 0.8
_MOST_PIDS: Final = 32_768


class Setting(msgspec.Struct, frozen=True):
    """``optional``: some kernels have no such file."""

    file: str
    value: str
    optional: bool = False


class Limits(msgspec.Struct, frozen=True):
    """Bytes; thousandths of a CPU; processes. None: no limit of its own."""

    memory: int | None = None
    cpu: int | None = None
    pids: int | None = None

    @property
    def controllers(self) -> tuple[str, ...]:
        return tuple(name for name in CONTROLLERS if getattr(self, name) is not None)


def of_container(spec: JsonObject) -> Limits:
    """Raises ValueError."""
    limits: Mapping[str, object] = (spec.get("resources") or {}).get("limits") or {}
    return Limits(
        memory=in_units(limits["memory"], 1) if limits.get("memory") else None,
        cpu=in_units(limits["cpu"], "1m") if limits.get("cpu") else None,
    )


def of_lab(memory: int, pids: int) -> Limits:
    """All pods of a lab together, on a machine of that much memory and that many processes: they shall not end what else runs there."""
    return Limits(memory=int(memory * _SHARE_OF_MACHINE), pids=min(_MOST_PIDS, int(pids * _SHARE_OF_MACHINE)))


def settings(limits: Limits, controller: str, *, unified: bool) -> list[Setting]:
    if controller == MEMORY and limits.memory is not None:
        return _memory(limits.memory, unified=unified)
    if controller == CPU and limits.cpu is not None:
        quota = max(_LEAST_QUOTA, limits.cpu * _PERIOD // 1000)
        if unified:
            return [Setting("cpu.max", f"{quota} {_PERIOD}")]
        return [Setting("cpu.cfs_period_us", str(_PERIOD)), Setting("cpu.cfs_quota_us", str(quota))]
    if controller == PIDS and limits.pids is not None:
        return [Setting("pids.max", str(limits.pids))]
    return []


def _memory(limit: int, *, unified: bool) -> list[Setting]:
    if unified:
        return [
            Setting("memory.max", str(limit)),
            Setting("memory.swap.max", "0", optional=True),
            Setting("memory.oom.group", "1", optional=True),
        ]
    return [
        Setting("memory.use_hierarchy", "1", optional=True),
        Setting("memory.limit_in_bytes", str(limit)),
        Setting("memory.memsw.limit_in_bytes", str(limit), optional=True),
    ]


def oom_kills(text: str) -> int:
    """From memory.events (v2) or memory.oom_control (v1)."""
    for line in text.splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0
