"""Connections that the kernel remembers for an address, and how it is made to forget them: ctnetlink.

In: addresses of pods that are gone. Out: their entries of the connection table are deleted, those they opened and those they accepted,
also behind address translation. Called by ``agent.flows`` when live flows are kept: a connection then outlives a stricter policy, and
must not outlive its pod, or the next pod with that address would inherit it.

Deleting is never how a *policy* cuts flows: the far end's next packet makes a new entry with directions swapped, and what was denied
is a reply all of a sudden (reference dataplane 3). It is right here because nobody lives at the address any more.
Rule source: linux/netfilter/nfnetlink_conntrack.h. The kernel filters the dump since 5.8 (CTA_FILTER); an older one sends every entry,
and what comes is looked at here in any case.
"""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Collection, Iterator

import msgspec

from stockade.dataplane.netlink import (
    NETLINK_NETFILTER,
    Message,
    NetlinkSocket,
    Request,
    attribute,
    attribute_map,
    nested,
    u32,
)
from stockade.net.cidr import Address

_CTNETLINK = 1 << 8
_GET, _DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_AF = {4: 2, 6: 10}
_FAMILY = {2: 4, 10: 6}
_NFGENMSG = struct.Struct("!BBH")

_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_TUPLE_IP = 1
_SOURCE = {4: 1, 6: 3}  # CTA_IP_V4_SRC, CTA_IP_V6_SRC
_LENGTH = {4: 4, 6: 16}
_FILTER_FLAGS = {_TUPLE_ORIG: 1, _TUPLE_REPLY: 2}
_FILTER_BY_SOURCE = 1
_FEW = 4  # so many addresses are asked for one by one; for more one walk through the whole table is cheaper


class Entry(msgspec.Struct, frozen=True):
    """One connection: who opened it, and who answers it behind all translation. ``key`` names it to the kernel."""

    opener: Address
    answerer: Address
    key: bytes

    def is_of(self, addresses: Collection[Address]) -> bool:
        return self.opener in addresses or self.answerer in addresses


class Conntrack:
    """The connection table of the network namespace of the thread that makes this. Methods raise OSError."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_NETFILTER)

    def close(self) -> None:
        self._socket.close()

    def forget(self, addresses: Collection[Address]) -> int:
        """Delete every entry of ``addresses``; how many there were."""
        found = {entry.key: entry for entry in self._entries(frozenset(addresses))}
        for entry in found.values():
            self._delete(entry)
        return len(found)

    def _entries(self, addresses: frozenset[Address]) -> Iterator[Entry]:
        requests = list(_whole(addresses) if len(addresses) > _FEW else _filtered(addresses))
        for request in requests:
            for message in self._socket.dump(request):
                entry = _entry(message)
                if entry is not None and entry.is_of(addresses):
                    yield entry

    def _delete(self, entry: Entry) -> None:
        body = _header(entry.opener[0]) + entry.key
        try:
            self._socket.execute(Request(_DELETE, body, purpose="forget a connection"))
        except OSError as error:
            if error.errno != errno.ENOENT:  # it has just ended by itself
                raise


def _header(family: int) -> bytes:
    return _NFGENMSG.pack(_AF[family], 0, 0)


def _whole(addresses: frozenset[Address]) -> Iterator[Request]:
    for family in sorted({family for family, _ in addresses}):
        yield Request(_GET, _header(family), purpose="list connections")


def _filtered(addresses: frozenset[Address]) -> Iterator[Request]:
    """The source of the original direction opened the connection; the source of the reply answers it, whatever was dialled."""
    for family, address in sorted(addresses):
        source = attribute(_SOURCE[family], address.to_bytes(_LENGTH[family], "big"))
        for which, flags in _FILTER_FLAGS.items():
            body = nested(which, nested(_TUPLE_IP, source))
            body += nested(_FILTER, u32(flags, _FILTER_BY_SOURCE))
            yield Request(_GET, _header(family) + body, purpose="list connections")


def _entry(message: Message) -> Entry | None:
    """None for what this cannot read: another address family, or an entry cut short."""
    if len(message.body) < _NFGENMSG.size:
        return None
    family = _FAMILY.get(message.body[0])
    parts = attribute_map(message.body, _NFGENMSG.size)
    if family is None:
        return None
    opener, answerer = (_source(parts.get(each, b""), family) for each in (_TUPLE_ORIG, _TUPLE_REPLY))
    if opener is None or answerer is None:
        return None
    key = nested(_TUPLE_ORIG, parts[_TUPLE_ORIG])
    for kind in (_ID, _ZONE):
        if kind in parts:
            key += attribute(kind, parts[kind])
    return Entry((family, opener), (family, answerer), key)


def _source(tuple_: bytes, family: int) -> int | None:
    addresses = attribute_map(attribute_map(tuple_).get(_TUPLE_IP, b""))
    value = addresses.get(_SOURCE[family])
    return None if value is None or len(value) != _LENGTH[family] else int.from_bytes(value, "big")


def forget(addresses: Collection[Address]) -> int:
    """Once, with a socket of its own; blocking. Raises OSError."""
    with contextlib.closing(Conntrack()) as table:
        return table.forget(addresses)
