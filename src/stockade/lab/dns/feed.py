"""The daemon's end of the DNS processes: questions come in as fields, answers go out as bytes.

    client ──UDP, TCP──► replica (a process in a pod: parses) ──(number, fields)──► Feed ──► Responder ──► Zone
           ◄──────────── id put in ◄──────────────────────────── (number, bytes) ◄──┘
In: a function that says what the world is now. Out: one socket for each replica, passed to its process at its start. So bytes of pods
are parsed by a process that holds no token, no object and no capability, and the daemon reads what that process says with a schema.
A replica that says something else loses its line, and ends. ``ClusterNames`` is the world of kube-dns; ``lab.internet`` has its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Final

import dns.exception
import msgspec

from stockade.lab.addresses import CLUSTER_DOMAIN, OUTSIDE_NAMES, OUTSIDE_NAMES_6
from stockade.lab.apiserver.registry import Registry
from stockade.lab.dns.question import Question
from stockade.lab.dns.records import cluster_zone
from stockade.lab.dns.wire import Responder
from stockade.lab.mirror import Mirror

_RESOURCES: Final = ("services", "endpointslices.discovery.k8s.io", "pods")
_OUTSIDE: Final = {**OUTSIDE_NAMES, **OUTSIDE_NAMES_6}
_NUMBER: Final = 4
_LARGEST: Final = 8192
_TURN: Final = 32
"""Questions answered before others have their turn on the event loop."""

World = Callable[[], Responder]
_log = logging.getLogger(__name__)


class _Asked(msgspec.Struct, frozen=True, array_like=True):
    """What a replica sends after the number: ``question.Question``, each label as Latin-1 text, and whether it came over TCP."""

    labels: list[str]
    type: int
    rdclass: int
    payload: int
    version: int
    recursion: bool
    stream: bool


class ClusterNames:
    """The cluster's names as the registry has them at the moment of a question, while ``run`` runs."""

    def __init__(
        self, registry: Registry, domain: str = CLUSTER_DOMAIN, outside: Mapping[str, str] = _OUTSIDE
    ) -> None:
        self._mirror = Mirror(registry, _RESOURCES)
        self._domain = domain
        self._outside = outside
        self._responder: Responder | None = None

    async def run(self) -> None:
        await self._mirror.run()

    def now(self) -> Responder:
        """Built anew by the first question after a change: a hundred pods that start cost nothing here."""
        if self._responder is None or self._mirror.changed.is_set():
            self._mirror.changed.clear()
            services, slices, pods = (self._mirror.objects(resource) for resource in _RESOURCES)
            self._responder = Responder(cluster_zone(services, slices, pods, self._domain, self._outside))
        return self._responder


class Feed:
    """The replicas of one node: ``lines`` to them. While ``online`` is false they know what they knew before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: Responder | None = None
        self.online = True
        self.lines: set[socket.socket] = set()

    def attach(self) -> socket.socket:
        """The replica's end of a new line; the caller passes it to the process and closes it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.lines.add(ours)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_questions, ours)
        return theirs

    def _on_questions(self, line: socket.socket) -> None:
        try:
            for _ in range(_TURN):
                message = line.recv(_LARGEST)
                if not message:
                    break
                answer = self.answer(message)
                with contextlib.suppress(BlockingIOError):  # it does not listen; its client asks again
                    line.send(answer)
            else:
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # the process ended
        except (msgspec.DecodeError, dns.exception.DNSException, ValueError) as error:
            _log.warning("a DNS process said what it should not, and is cut off: %s", error)
        asyncio.get_running_loop().remove_reader(line.fileno())
        self.lines.discard(line)
        line.close()

    def answer(self, message: bytes) -> bytes:
        """One question of a replica to its answer, both with their number. Raises ValueError for what is no question."""
        asked = msgspec.json.decode(message[_NUMBER:], type=_Asked)
        labels = tuple(label.encode("latin-1") for label in asked.labels)
        what = Question(labels, asked.type, asked.rdclass, asked.payload, asked.version, asked.recursion)
        if self.online or self._last is None:
            self._last = self._world()
        return message[:_NUMBER] + self._last.answer(what, stream=asked.stream)
