"""A client outside the cluster: one web page, fetched from the simulated Internet.

In: the paths of a running lab, a URL whose host is an IP address or a name of the simulated Internet. Out: the page. Called by
``stockade outside``. The lab's daemon keeps the namespace open; which of its descriptors that is, the inode in ``LabPaths.outside`` tells.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from stockade.lab import processes, user_namespace
from stockade.lab.addresses import OUTSIDE_NAMES
from stockade.lab.node import netns
from stockade.lab.paths import LabPaths

LARGEST = 1 << 20


class OutsideError(Exception):
    """No lab, or no such URL; the text is for people."""


class NoAnswerError(Exception):
    """The other side does not answer, or refuses; the text is for people."""


class Answer(msgspec.Struct, frozen=True):
    status: int
    page: str


def fetch(paths: LabPaths, url: str, seconds: float) -> Answer:
    """Raises OutsideError, NoAnswerError."""
    host, port, path = _parts(url)
    _enter_user_namespace(paths)
    namespace = _open(paths)
    try:
        return netns.inside(namespace, lambda: _get(host, port, path, seconds))
    except TimeoutError as error:
        raise NoAnswerError(f"no answer within {seconds:g} s") from error
    except OSError as error:
        raise NoAnswerError(os.strerror(error.errno) if error.errno else str(error)) from error
    except http.client.HTTPException as error:
        raise NoAnswerError(f"not an HTTP answer: {type(error).__name__}") from error
    finally:
        os.close(namespace)


def _parts(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or 80
        name = parts.hostname or ""
        host = str(ipaddress.ip_address(OUTSIDE_NAMES.get(name, name)))
    except ValueError:
        host = ""
    if not host or parts.scheme != "http":
        known = ", ".join(OUTSIDE_NAMES)
        raise OutsideError(f"{url}: not an http:// URL with an IP address (names outside: {known})")
    return host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _get(host: str, port: int, path: str, seconds: float) -> Answer:
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(LARGEST).decode(errors="replace"))
    finally:
        connection.close()


def _enter_user_namespace(paths: LabPaths) -> None:
    """For good: this process is root of the lab afterwards, when the lab was started without root."""
    first = processes.first_process(paths)
    with contextlib.suppress(OSError):  # not running, or another user's: that is said in a moment
        if first is not None:
            user_namespace.join(first)


def _open(paths: LabPaths) -> int:
    """A descriptor of the namespace outside."""
    try:
        wanted = f"net:[{int(paths.outside.read_text())}]"
    except (OSError, ValueError):
        wanted = ""
    for path in _descriptors(paths) if wanted else ():
        try:
            if str(path.readlink()) == wanted:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # closed meanwhile
    raise OutsideError(f"lab '{paths.name}' is not running, or belongs to another user")


def _descriptors(paths: LabPaths) -> Iterator[Path]:
    for process in processes.of_lab(paths):
        with contextlib.suppress(OSError):  # ended meanwhile, or not ours to look at
            yield from list(Path(f"/proc/{process.pid}/fd").iterdir())
