"""UDP flows that a Service sent to an endpoint which is no more: found in the connection table and forgotten.

In: for each virtual UDP address and port, the endpoints it may lead to. Out: how many entries were deleted. Called by
``lab.proxy.proxy`` when endpoints were lost. A TCP client notices a dead endpoint and connects again, to another one; a UDP client
that keeps its port would be translated to the dead endpoint for as long as it keeps sending (kube-proxy clears these too).
Formats: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping

from stockade.dataplane import netlink
from stockade.dataplane.netlink import Message, NetlinkError, NetlinkSocket, Request
from stockade.lab.proxy.targets import Door

_CT_GET, _CT_DELETE = 0x0101, 0x0102
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID = 1, 2, 12
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_V4_SRC, _CTA_IP_V4_DST, _CTA_IP_V6_SRC, _CTA_IP_V6_DST = 1, 2, 3, 4
_SOURCE, _DESTINATION = (_CTA_IP_V4_SRC, _CTA_IP_V6_SRC), (_CTA_IP_V4_DST, _CTA_IP_V6_DST)
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3
_GENERIC = struct.Struct("!BBH")
_PORT = struct.Struct("!H")


def forget(allowed: Mapping[Door, frozenset[Door]]) -> int:
    """Delete the UDP entries to a key of ``allowed`` that lead elsewhere than its endpoints."""
    with NetlinkSocket(netlink.NETLINK_NETFILTER) as kernel:
        everything = Request(_CT_GET, _GENERIC.pack(socket.AF_UNSPEC, 0, 0), purpose="list connections")
        entries = kernel.dump(everything)
        stale = [request for entry in entries if (request := _deletion(entry, allowed)) is not None]
        for request in stale:
            try:
                kernel.execute(request)
            except NetlinkError as error:
                if error.errno != errno.ENOENT:  # it ended by itself
                    raise
    return len(stale)


def _deletion(entry: Message, allowed: Mapping[Door, frozenset[Door]]) -> Request | None:
    found = netlink.attribute_map(entry.body, _GENERIC.size)
    target = _udp_door(found.get(_CTA_TUPLE_ORIG, b""), _DESTINATION, _CTA_PROTO_DST_PORT)
    if target is None or target not in allowed:
        return None
    endpoint = _udp_door(found.get(_CTA_TUPLE_REPLY, b""), _SOURCE, _CTA_PROTO_SRC_PORT)
    if endpoint in allowed[target]:
        return None
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    body = _GENERIC.pack(family, 0, 0) + netlink.nested(_CTA_TUPLE_ORIG, found[_CTA_TUPLE_ORIG])
    if _CTA_ID in found:  # this very entry, not one that has its addresses by now
        body += netlink.attribute(_CTA_ID, found[_CTA_ID])
    return Request(_CT_DELETE, body, purpose=f"forget a flow to {target[0]}:{target[1]}")


def _udp_door(packed: bytes, address_kinds: tuple[int, int], port_kind: int) -> Door | None:
    """One side of a connection tuple, if it is UDP; ``address_kinds`` for IPv4 and IPv6."""
    parts = netlink.attribute_map(packed)
    protocol = netlink.attribute_map(parts.get(_CTA_TUPLE_PROTO, b""))
    addresses = netlink.attribute_map(parts.get(_CTA_TUPLE_IP, b""))
    address = addresses.get(address_kinds[0]) or addresses.get(address_kinds[1])
    port = protocol.get(port_kind)
    if protocol.get(_CTA_PROTO_NUM) != bytes([socket.IPPROTO_UDP]) or address is None or port is None:
        return None
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address), _PORT.unpack(port)[0]
