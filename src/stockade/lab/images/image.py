"""What the kubelet part needs to know of an image, and how references are written.

Reference grammar as in container runtimes: ``[registry/][path/]name[:tag][@digest]``; ``nginx`` is docker.io/library/nginx:latest.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(
    r"[a-zA-Z0-9][a-zA-Z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*(:[\w][\w.-]{0,127})?(@[a-z0-9]+:[0-9a-f]+)?"
)


class ImageError(Exception):
    """An image that cannot be used or loaded; the text is for people. ``reason`` is the container's waiting reason."""

    def __init__(self, text: str, reason: str = "ErrImagePull") -> None:
        super().__init__(text)
        self.reason = reason


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """``root`` is never written, nor is what lies ``below`` it, the uppermost first; ``binds`` are host paths shown read-only inside; ``note`` goes to
    the pod's events. ``program``: instead of a file of the image the container runs a part of the lab."""

    reference: str
    id: str
    root: str
    below: tuple[str, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    environment: dict[str, str] = msgspec.field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("/bin/sh",)
    working_directory: str = "/"
    uid: int = 0
    gid: int = 0
    program: str = ""
    stop_signal: str = ""
    note: str = ""


def normalize(reference: str) -> str:
    """The full form of a reference; raises ImageError (InvalidImageName) for what is none."""
    if not _REFERENCE.fullmatch(reference):
        raise ImageError(
            f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": invalid reference format',
            "InvalidImageName",
        )
    name, at, digest = reference.partition("@")
    head, slash, rest = name.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost"):
        head, rest = "docker.io", name if slash else f"library/{name}"
    if ":" not in rest and not at:
        rest += ":latest"
    return f"{head}/{rest}{at}{digest}"


def short_name(reference: str) -> str:
    """The last path element without tag and digest: what chooses a stand-in."""
    return normalize(reference).partition("@")[0].rsplit("/", 1)[-1].partition(":")[0]


def private_directory(path: Path) -> None:
    """Like ``mkdir -p``, with mode 0700 also for the parents it has to make."""
    for directory in (*reversed(path.parents), path):
        if not directory.is_dir():
            directory.mkdir(mode=0o700, exist_ok=True)
