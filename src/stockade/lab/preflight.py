"""What a lab needs of the machine, checked before anything is made. The answer is one line for the user."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"))
CAP_SYS_ADMIN, CAP_NET_ADMIN = 21, 12
PACKAGES = {"nft": "nftables", "busybox": "busybox"}
MODULES = ("aiohttp", "cryptography", "dns")


def missing_requirement() -> str | None:
    """Why a lab cannot start here, with what to do; None when it can."""
    if not sys.platform.startswith("linux"):
        return "a lab needs Linux: it is made of network namespaces and nftables"
    if not _has_capabilities():
        return "a lab needs root, to make namespaces and nftables rules; run: sudo stockade up"
    for tool, package in PACKAGES.items():
        if shutil.which(tool, path=SEARCH_PATH) is None:
            return f"{tool} is not installed; run: apt-get install {package}"
    if any(importlib.util.find_spec(module) is None for module in MODULES):
        return "the lab's Python libraries are not installed; run: pip install 'stockade[agent,lab]'"
    return None


def has_ipv6() -> bool:
    """Whether the kernel has IPv6 at all: a boot with ``ipv6.disable=1`` leaves nothing to switch on in a namespace."""
    return Path("/proc/sys/net/ipv6/conf/default").exists()


def _has_capabilities() -> bool:
    """CAP_SYS_ADMIN and CAP_NET_ADMIN effective (root of a container may lack them)."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
            line = next(line for line in status if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return os.geteuid() == 0
    effective = int(line.split()[1], 16)
    return bool(effective >> CAP_SYS_ADMIN & 1) and bool(effective >> CAP_NET_ADMIN & 1)
