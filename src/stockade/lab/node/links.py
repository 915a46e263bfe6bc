"""Links, addresses and routes: the rtnetlink requests the lab's node needs, as values for ``NetlinkSocket.execute``.

In: names, interface indexes, addresses as text (IPv4 or IPv6). Out: ``Request`` values; several go to the kernel in one call.
Called by ``lab.node.network`` and ``lab.internet``. Formats: rtnetlink(7), linux/if_link.h, linux/rtnetlink.h.

Interface indexes are chosen by the caller, so that no look-up stands between the creation of a link and its use.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import socket
import struct

from stockade.dataplane import netlink
from stockade.dataplane.netlink import Request

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR = 20
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25

_IFLA_IFNAME = 3
_IFLA_LINKINFO, _IFLA_NET_NS_FD = 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_VETH_INFO_PEER = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7

_IFF_UP = 1
_IFA_F_NODAD = 0x02
_RTNH_F_ONLINK = 4
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_RTN_UNICAST, _RTN_UNREACHABLE = 1, 7

SCOPE_GLOBAL, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
LOOPBACK = 1  # lo is always the first interface of a namespace

_CREATE = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
_SIOCETHTOOL = 0x8946
_ETHTOOL_GLINK = 0x0A
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBi")
_RTMSG = struct.Struct("=BBBBBBBBI")


def set_up(index: int) -> Request:
    body = _IFINFO.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP)
    return Request(_RTM_NEWLINK, body, purpose=f"set link {index} up")


def create_veth(name: str, index: int, peer: str, peer_index: int, peer_netns: int) -> Request:
    """A veth pair: ``name`` here, ``peer`` in the namespace behind the descriptor ``peer_netns``. Both are down: a peer may
    not be created up (ENOTCONN)."""
    peer_side = _IFINFO.pack(socket.AF_UNSPEC, 0, peer_index, 0, 0)
    peer_side += netlink.string(_IFLA_IFNAME, peer) + netlink.u32(_IFLA_NET_NS_FD, peer_netns)
    data = netlink.nested(_IFLA_INFO_DATA, netlink.attribute(_VETH_INFO_PEER, peer_side))
    body = _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0) + netlink.string(_IFLA_IFNAME, name)
    body += netlink.nested(_IFLA_LINKINFO, netlink.string(_IFLA_INFO_KIND, "veth"), data)
    return Request(_RTM_NEWLINK, body, _CREATE, f"create veth link {name}")


def delete_link(index: int) -> Request:
    """The other end of a veth, and every address and route of the link, go with it."""
    body = _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    return Request(_RTM_DELLINK, body, purpose=f"delete link {index}")


def list_links() -> Request:
    """For ``NetlinkSocket.dump``; read the answers with ``link_name``."""
    return Request(_RTM_GETLINK, _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0), purpose="list links")


def link_name(message: netlink.Message) -> tuple[int, str]:
    """(index, name) of an answer to ``list_links``."""
    index = _IFINFO.unpack_from(message.body)[2]
    return index, netlink.text(netlink.attribute_map(message.body, _IFINFO.size)[_IFLA_IFNAME])


def add_address(index: int, address: str, prefix: int | None = None, scope: int = SCOPE_GLOBAL) -> Request:
    """``prefix`` None means one host: /32 or /128. IPv6 addresses skip duplicate detection: we hand them out ourselves."""
    parsed = ipaddress.ip_address(address)
    length = parsed.max_prefixlen if prefix is None else prefix
    flags = _IFA_F_NODAD if parsed.version == 6 else 0
    body = _IFADDR.pack(_family(parsed), length, flags, scope, index)
    body += netlink.attribute(_IFA_LOCAL, parsed.packed) + netlink.attribute(_IFA_ADDRESS, parsed.packed)
    return Request(_RTM_NEWADDR, body, _CREATE, f"add address {address}/{length}")


def add_route(
    destination: str, index: int, via: str | None = None, source: str | None = None, *, onlink: bool = False
) -> Request:
    """``destination`` is an address (one host) or a CIDR, ``0.0.0.0/0`` for the default; ``source`` the preferred source
    address; ``onlink`` takes ``via`` as a neighbour although no route says so."""
    network = ipaddress.ip_network(destination)
    scope = SCOPE_LINK if via is None and network.version == 4 else SCOPE_GLOBAL
    body = _route_header(network, scope, _RTN_UNICAST, _RTNH_F_ONLINK if onlink else 0)
    body += netlink.u32(_RTA_OIF, index)
    if via is not None:
        body += netlink.attribute(_RTA_GATEWAY, ipaddress.ip_address(via).packed)
    if source is not None:
        body += netlink.attribute(_RTA_PREFSRC, ipaddress.ip_address(source).packed)
    return Request(_RTM_NEWROUTE, body, _CREATE, f"add route to {network}")


def add_unreachable(destination: str) -> Request:
    """Forwarded packets to ``destination`` are answered with ICMP unreachable."""
    network = ipaddress.ip_network(destination)
    body = _route_header(network, SCOPE_GLOBAL, _RTN_UNREACHABLE, 0)
    return Request(_RTM_NEWROUTE, body, _CREATE, f"make {network} unreachable")


def delete_route(destination: str, index: int) -> Request:
    network = ipaddress.ip_network(destination)
    body = _route_header(network, 255, 0, 0) + netlink.u32(
        _RTA_OIF, index
    )  # RT_SCOPE_NOWHERE: whatever scope
    return Request(_RTM_DELROUTE, body, purpose=f"delete route to {network}")


def carrier(socket_fd: int, name: str) -> bool:
    """Whether the link ``name``, in the namespace of the socket, has a carrier.

    Asking has an effect we want (Linux 6.8 and newer): a veth whose peer comes up later gets its queue from a work item of the
    kernel, and silently drops what is sent before; this question does that work first. One packet in a hundred, otherwise.
    """
    value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_GLINK, 0), 8)
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
    fcntl.ioctl(socket_fd, _SIOCETHTOOL, request)
    return bool(struct.unpack("=II", value.raw)[1])


def _route_header(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, scope: int, kind: int, flags: int
) -> bytes:
    family = _family(network.network_address)
    header = _RTMSG.pack(family, network.prefixlen, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, kind, flags)
    return header + netlink.attribute(_RTA_DST, network.network_address.packed)


def _family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
