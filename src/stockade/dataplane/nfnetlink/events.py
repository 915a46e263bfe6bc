"""What the kernel tells about changes of nf_tables (multicast group 7): transaction by transaction, who and what. Called by
``backend`` (has our table changed since?) and ``monitor`` (tell the agent).

The kernel sends a transaction's notifications before it lets the next one begin, and ends them with the new generation id.
So messages up to a NEWGEN are one transaction, and whoever has read a NEWGEN has read all that came before it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

import msgspec

from stockade.dataplane.netlink import NETLINK_NETFILTER, Message, NetlinkSocket, attribute_map, text
from stockade.dataplane.nfnetlink.wire import (
    CHAIN_NAME,
    ELEMENTS_SET,
    FAMILY_INET,
    GEN_ID,
    GEN_NAME,
    GEN_PID,
    GROUP,
    NFGEN_SIZE,
    OBJECT_NAME,
    OUR_TABLE,
    RULE_CHAIN,
    SET_NAME,
    Kind,
)

_BUFFER = 8 << 20  # bytes of notifications that may wait; a full sync of a large kube-proxy is about one MB
_KEPT = 8  # changes of one transaction that are worth naming
_WORDS = {
    Kind.NEWTABLE: ("table changed", 0),
    Kind.DELTABLE: ("table deleted", 0),
    Kind.NEWCHAIN: ("chain {} added", CHAIN_NAME),
    Kind.DELCHAIN: ("chain {} deleted", CHAIN_NAME),
    Kind.NEWRULE: ("rule added to chain {}", RULE_CHAIN),
    Kind.DELRULE: ("rule deleted from chain {}", RULE_CHAIN),
    Kind.NEWSET: ("set {} added", SET_NAME),
    Kind.DELSET: ("set {} deleted", SET_NAME),
    Kind.NEWSETELEM: ("element added to set {}", ELEMENTS_SET),
    Kind.DELSETELEM: ("element deleted from set {}", ELEMENTS_SET),
    Kind.NEWOBJ: ("object {} added", OBJECT_NAME),
    Kind.DELOBJ: ("object {} deleted", OBJECT_NAME),
}


class Commit(msgspec.Struct, frozen=True):
    """One transaction of somebody. ``pid`` is what the process is called outside of all containers, ``port`` that of its socket.
    ``changes``: the first things it did to our table, in words; empty if nothing."""

    generation_id: int
    process: str
    pid: int
    changes: tuple[str, ...] = ()
    port: int = 0


class Lost(msgspec.Struct, frozen=True):
    """The kernel could not keep notifications for us: anything may have happened."""


class Events:
    """``ignored``: ports of sockets whose changes are our own: of those only the new generation id is heard. Opens in the network namespace of the calling thread."""

    def __init__(self, ignored: Iterable[int] = ()) -> None:
        self._socket = NetlinkSocket(NETLINK_NETFILTER)
        self._socket.reserve(receive=_BUFFER)
        self._socket.ignore(ignored, but=Kind.NEWGEN)
        self._socket.join(GROUP)
        self._changes: list[str] = []

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def pause(self) -> None:
        """Hear nothing: as long as somebody listens the kernel writes every rule of a transaction twice, for nobody if it is ours."""
        self._socket.leave(GROUP)

    def resume(self) -> None:
        """What others did meanwhile is not told; the generation id tells that there was something."""
        self._socket.join(GROUP)

    def drain(self) -> list[Commit | Lost]:
        """All that has come; never waits. By one thread at a time."""
        found: list[Commit | Lost] = []
        while True:
            try:
                messages = self._socket.waiting()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._changes.clear()
                found.append(Lost())
                continue
            if not messages:
                return found
            for message in messages:
                self._take(message, found)

    def _take(self, message: Message, found: list[Commit | Lost]) -> None:
        if message.kind == Kind.NEWGEN:
            found.append(_commit(message, tuple(self._changes)))
            self._changes = []
        elif len(self._changes) < _KEPT and is_ours(message.body):
            self._changes.append(_words(message))


def is_ours(body: bytes) -> bool:
    """Of table ``inet stockade``. The kernel writes the table's name first in every message about an object."""
    return body[0] == FAMILY_INET and body.startswith(OUR_TABLE, NFGEN_SIZE)


def _commit(message: Message, changes: tuple[str, ...]) -> Commit:
    parts = attribute_map(message.body, NFGEN_SIZE)
    number, pid = (int.from_bytes(parts.get(each, b""), "big") for each in (GEN_ID, GEN_PID))
    return Commit(number, text(parts.get(GEN_NAME, b"")), pid, changes, message.port)


def _words(message: Message) -> str:
    if message.kind not in _WORDS:
        return "something changed"
    words, attribute = _WORDS[Kind(message.kind)]
    return words.format(text(attribute_map(message.body, NFGEN_SIZE).get(attribute, b"")))
