"""A node's network: the node itself made ready, and one routed veth per pod.

In: names and addresses. Out: ``PodNetns`` values, whose descriptor containers join and inside which the lab's own servers
open sockets. Called by the kubelet part (pods) and by the cluster's start-up (``prepare_node``). Needs CAP_NET_ADMIN and
CAP_SYS_ADMIN in the namespace it runs in.

    pod                          node
    lo 127.0.0.1, ::1            lo 127.0.0.1, ::1, 169.254.1.1/32, NodeIPs; the IPv4 service range dev lo
    eth0 PodIPs/32, /128 <veth>  fe80::1 on each; PodIP dev vethN src NodeIP, once for each family
    169.254.1.1 dev eth0
    default via 169.254.1.1      default via the outside link (lab.internet)
    default via fe80::1          default via the outside link

The node's own address stands on lo: some kernels (small virtual machines) have no dummy links.
No bridge: every packet between pods is forwarded by the node, so one nftables forward chain sees all of them. Reverse path
filtering is strict on the node, so that a pod cannot send with an address that is not its own; IPv6 has it as a rule
(``lab.proxy.render.ANTI_SPOOFING``), as the kernel has no setting for it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from stockade.dataplane.netlink import NetlinkError, NetlinkSocket, Request
from stockade.lab.addresses import GATEWAY, GATEWAY_6, SERVICE_CIDR
from stockade.lab.node import links, netns

POD_LINK = "eth0"
_POD_LINK_INDEX = 100  # above the fall-back tunnel devices that some kernels put into every namespace
_FIRST_VETH_INDEX = 1000  # the kernel numbers links of others from 2 on

_NODE_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "1",
    "net/ipv4/conf/default/rp_filter": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/icmp_ratelimit": "0",  # "unreachable" and "refused" come at once, every time
}
_POD_SYSCTLS = {"net/ipv4/ip_forward": "0"}
NO_IPV6 = {"net/ipv6/conf/default/disable_ipv6": "1"}
"""No link-local traffic past an IPv4-only network; ::1 stays."""
_IPV6 = {
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/accept_dad": "0",  # addresses are ours to give, and usable at once
}
IPV6_ROUTER = {
    **_IPV6,
    "net/ipv6/conf/default/addr_gen_mode": "1",  # fe80::1 alone: nothing has to be made up on a thousand links
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/icmp/ratelimit": "0",
}
_IPV6_POD = {**_IPV6, "net/ipv6/conf/default/router_solicitations": "0"}


class _NodeSide:
    """The node's end: pods are made in a thread, and taken off the network in another."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self._lock = threading.Lock()

    def execute(self, *requests: Request) -> None:
        with self._lock:
            self._socket.execute(*requests)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


class PodNetns:
    """A pod's network namespace. It lives while ``fd`` is open or a process or socket is inside."""

    def __init__(
        self, name: str, addresses: tuple[str, ...], fd: int, link: str, node: _NodeSide, index: int
    ) -> None:
        self.name = name
        self.addresses = addresses
        self.fd = fd
        self.link = link
        self._node = node
        self._index = index

    @property
    def address(self) -> str:
        """The primary one."""
        return self.addresses[0]

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0
    ) -> socket.socket:
        """A socket inside the pod's network."""
        return netns.open_socket(self.fd, family, kind, proto)

    def close(self) -> None:
        """Take the pod off the network now, even if a process of it still lives, and let the namespace go. Idempotent.

        Without the routes nothing reaches the pod, and the reverse path filter drops what it sends: its addresses may be given
        to another pod at once. The kernel deletes the veth with the namespace, later and in batches: 30 ms each otherwise.
        """
        if self.fd < 0:
            return
        fd, self.fd = self.fd, -1
        try:
            self._node.execute(*(links.delete_route(address, self._index) for address in self.addresses))
        except NetlinkError as error:
            if error.errno != errno.ESRCH:  # gone already
                raise
        finally:
            os.close(fd)


class PodNetwork:
    """Makes pod networks in the namespace of the thread that constructs it: the node's, which ``fd`` refers to."""

    def __init__(self) -> None:
        self._node = _NodeSide()
        self.fd = netns.namespace_of(self._node.fileno())
        self._indexes = itertools.count(_FIRST_VETH_INDEX)
        self._node_addresses: dict[bool, str] = {}

    def close(self) -> None:
        """Pods made here stay as they are."""
        self._node.close()
        os.close(self.fd)

    def prepare_node(self, *addresses: str) -> None:
        """Once, in the node's fresh namespace. ``addresses``, one of each family, become the node's InternalIPs."""
        self._node_addresses = {is_ipv6(address): address for address in addresses}
        own_ipv6 = IPV6_ROUTER if self._node_addresses.get(True) else NO_IPV6
        netns.inside(self.fd, lambda: write_sysctls({**_NODE_SYSCTLS, **own_ipv6}))
        self._node.execute(
            links.set_up(links.LOOPBACK),
            # scope link: answered for on every pod's link, but never chosen as a source address
            links.add_address(links.LOOPBACK, GATEWAY, scope=links.SCOPE_LINK),
            *(links.add_address(links.LOOPBACK, address) for address in addresses),
            # The node's own packet to a Service needs some route before the output hook can translate it. In IPv6 a route to lo
            # would refuse it, and the default route does.
            links.add_route(SERVICE_CIDR, links.LOOPBACK, source=self._node_addresses[False]),
        )

    def create(self, name: str, *addresses: str) -> PodNetns:
        """The network of the pod ``name`` (used in errors only), complete and reachable from the node when this returns."""
        has_ipv6 = any(is_ipv6(address) for address in addresses)
        inner = netns.inside_new(lambda: _open_pod_side(_IPV6_POD if has_ipv6 else NO_IPV6))
        index = next(self._indexes)
        link = f"veth{index}"
        try:
            fd = netns.namespace_of(inner.fileno())
            try:
                self._connect(inner, fd, link, index, addresses)
            except BaseException:
                os.close(fd)
                raise
        except NetlinkError as error:
            raise NetlinkError(
                f"network of pod {name}: {error.purpose}", error.errno or 0, error.detail
            ) from None
        finally:
            inner.close()
        return PodNetns(name, addresses, fd, link, self._node, index)

    def _connect(
        self, inner: NetlinkSocket, fd: int, link: str, index: int, addresses: tuple[str, ...]
    ) -> None:
        self._node.execute(links.create_veth(link, index, POD_LINK, _POD_LINK_INDEX, fd))
        inner.execute(*_pod_side(addresses))
        gateways = [links.add_address(index, GATEWAY_6)] if any(map(is_ipv6, addresses)) else []
        self._node.execute(
            links.set_up(index),
            *gateways,
            *(
                links.add_route(address, index, source=self._node_addresses.get(is_ipv6(address)))
                for address in addresses
            ),
        )
        links.carrier(inner.fileno(), POD_LINK)  # the pod's first packet must not be lost


def _open_pod_side(ipv6: Mapping[str, str]) -> NetlinkSocket:
    """Runs in the new namespace."""
    write_sysctls({**_POD_SYSCTLS, **ipv6})
    return NetlinkSocket()


def _pod_side(addresses: tuple[str, ...]) -> list[Request]:
    requests = [
        links.set_up(links.LOOPBACK),
        *(links.add_address(_POD_LINK_INDEX, address) for address in addresses),
        links.set_up(_POD_LINK_INDEX),
        links.add_route(GATEWAY, _POD_LINK_INDEX),
        links.add_route("0.0.0.0/0", _POD_LINK_INDEX, via=GATEWAY),
    ]
    if any(map(is_ipv6, addresses)):
        requests.append(links.add_route("::/0", _POD_LINK_INDEX, via=GATEWAY_6))
    return requests


def is_ipv6(address: str) -> bool:
    return ":" in address


def write_sysctls(values: Mapping[str, str]) -> None:
    """In the network namespace of the calling thread. A key this kernel lacks (IPv6 left out) is passed over; one that is right
    already is not written, because writing some of them waits for a lock that all namespaces share."""
    for key, value in values.items():
        path = Path("/proc/sys", key)
        with contextlib.suppress(FileNotFoundError):
            if path.read_text().strip() != value:
                path.write_text(value)
