"""What an image says about its process, from its configuration. Read from files that came with the image: nothing of it is believed to be a path.

In: ``bundle.Config`` and the unpacked layers. Out: ``Process``, kept with the image. Called by the catalog. Rules: OCI image-spec config.md
(Entrypoint, Cmd, Env, WorkingDir, StopSignal, User: user[:group], names or numbers).
"""

from __future__ import annotations

import os
import stat
from typing import Final

import msgspec

from stockade.lab.images.bundle import Config
from stockade.lab.images.image import DEFAULT_PATH, ImageError
from stockade.lab.images.layers import Stack

_LARGEST_FILE: Final = 1 << 20
_LARGEST_ID: Final = 2**31 - 1


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults are those of a root file system, which says nothing."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("/bin/sh",)
    environment: dict[str, str] = msgspec.field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    working_directory: str = "/"
    uid: int = 0
    gid: int = 0
    stop_signal: str = ""


def process_of(config: Config, root: Stack) -> Process:
    """Raises ImageError for a user that the image does not know."""
    said = config.process
    if said is None:
        return Process()
    pairs = (entry.partition("=") for entry in said.env or [])
    uid, gid = _user(said.user or "", root)
    directory = said.working_directory or "/"
    return Process(
        entrypoint=tuple(said.entrypoint or ()),
        command=tuple(said.cmd or ()),
        environment={"PATH": DEFAULT_PATH} | {name: value for name, _, value in pairs if name},
        working_directory=directory if directory.startswith("/") else f"/{directory}",
        uid=uid,
        gid=gid,
        stop_signal=said.stop_signal or "",
    )


def _user(text: str, root: Stack) -> tuple[int, int]:
    """Without a group: the user's own, 0 for a number that /etc/passwd does not have."""
    user, _, group = text.partition(":")
    if not user:
        return 0, 0
    accounts = _table(root, "passwd")
    row = next((row for row in accounts if row[0] == user or row[2:3] == [user]), None)
    if row is None and not user.isdecimal():
        raise ImageError(f"its user {user!r} is not in its /etc/passwd")
    uid = _number(row[2] if row else user)
    if not group:
        return uid, _number(row[3]) if row and len(row) > 3 else 0
    return uid, _group(group, root)


def _group(text: str, root: Stack) -> int:
    row = next((row for row in _table(root, "group") if row[0] == text), None)
    if row is None and not text.isdecimal():
        raise ImageError(f"its group {text!r} is not in its /etc/group")
    return _number(row[2] if row else text)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) > _LARGEST_ID:
        raise ImageError(f"{text!r} is no user or group id")
    return int(text)


def _table(root: Stack, name: str) -> list[list[str]]:
    """Rows of /etc/passwd or /etc/group; none, when the image has a link there: it could lead to this machine's."""
    place = root.find(f"etc/{name}")
    if place is None:
        return []
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        text = file.read(_LARGEST_FILE).decode(errors="replace")
    rows = [line.split(":") for line in text.splitlines()]
    return [row for row in rows if len(row) > 2]
