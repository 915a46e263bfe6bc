"""What a lab needs of the machine, checked before anything is made. The answer is one line for the user."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"))
PACKAGES = {"nft": "nftables", "busybox": "busybox"}
MODULES = ("aiohttp", "cryptography", "dns")


def missing_requirement() -> str | None:
    """Why a lab cannot start here, with what to do; None when it can."""
    if not sys.platform.startswith("linux"):
        return "a lab needs Linux: it is made of network namespaces and nftables"
    for tool, package in PACKAGES.items():
        if shutil.which(tool, path=SEARCH_PATH) is None:
            return f"{tool} is not installed; run: apt-get install {package}"
    if any(importlib.util.find_spec(module) is None for module in MODULES):
        return "the lab's Python libraries are not installed; run: pip install 'stockade[agent,lab]'"
    return None


def has_ipv6() -> bool:
    """Whether the kernel has IPv6 at all: a boot with ``ipv6.disable=1`` leaves nothing to switch on in a namespace."""
    return Path("/proc/sys/net/ipv6/conf/default").exists()
