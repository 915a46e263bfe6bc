"""Which users and groups exist in this lab: all of them as root, perhaps only 0 in a user namespace.

In: /proc/self/uid_map, gid_map and setgroups. Out: whether a container can run as a user, in words if not; and what is to be said about
a lab in a user namespace. Called by the kubelet part before a container starts, by ``lab.cluster`` when the lab is ready. Rules:
user_namespaces(7); who made the namespace: ``lab.user_namespace``, or whoever started the lab in one.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from stockade.lab.node import syscalls

_ALL = 2**32 - 1
_OVERLAY_SINCE = (5, 11)
_HOW = (
    "newuidmap, newgidmap (Debian, Ubuntu: apt-get install uidmap) and ranges in /etc/subuid and /etc/subgid"
)


class Identities(msgspec.Struct, frozen=True):
    """Ranges as (first, count). ``sets_groups``: a process may change its supplementary groups."""

    uids: tuple[tuple[int, int], ...]
    gids: tuple[tuple[int, int], ...]
    sets_groups: bool = True
    in_user_namespace: bool = True

    @property
    def only_root(self) -> bool:
        return self.uids == ((0, 1),)

    def refusal(self, uid: int, gid: int, groups: Iterable[int] = ()) -> str | None:
        """Why nothing can run as that user; None when it can."""
        for what, number, held in (("user", uid, self.uids), ("group", gid, self.gids)):
            if not _contains(held, number):
                return self._missing(what, number)
        for number in groups:
            if not self.sets_groups or not _contains(self.gids, number):
                return self._missing("group", number)
        return None

    def _missing(self, what: str, number: int) -> str:
        return (
            f"{what} {number} does not exist in this lab, which runs without root; there are more with {_HOW}"
        )

    def note(self, release: str) -> str:
        """For the line that says the lab is ready; empty for a lab of root. ``release``: of the kernel."""
        if not self.in_user_namespace:
            return ""
        users = f", and pods have no user but 0 (more with {_HOW})" if self.only_root else ""
        version = tuple(map(int, re.findall(r"\d+", release)[:2]))
        copies = (
            "; this kernel has no overlay file systems for it (Linux 5.11 has): every container copies its image"
            if version < _OVERLAY_SINCE
            else ""
        )
        return f"it runs without root{users}{copies}"


def _contains(held: Iterable[tuple[int, int]], number: int) -> bool:
    return any(first <= number < first + count for first, count in held)


def read(proc: Path = Path("/proc/self")) -> Identities:
    def ranges(name: str) -> tuple[tuple[int, int], ...]:
        try:
            rows = [line.split() for line in (proc / name).read_text().splitlines()]
        except OSError:  # a kernel without user namespaces
            return ((0, _ALL),)
        return tuple((int(first), int(count)) for first, _, count in rows)

    try:
        sets_groups = (proc / "setgroups").read_text().strip() != "deny"
    except OSError:
        sets_groups = True
    return Identities(ranges("uid_map"), ranges("gid_map"), sets_groups, syscalls.in_user_namespace())


@functools.cache
def own() -> Identities:
    """Of this process, which does not change its user namespace any more."""
    return read()


def note() -> str:
    return own().note(os.uname().release)
