"""The node's network: the node itself made ready, and one routed veth per pod.

In: names and addresses. Out: ``PodNetns`` values, whose descriptor containers join and inside which the lab's own servers
open sockets. Called by the kubelet part (pods) and by the cluster's start-up (``prepare_node``). Needs CAP_NET_ADMIN and
CAP_SYS_ADMIN in the namespace it runs in.

    pod                      node
    lo 127.0.0.1             lo 127.0.0.1, 169.254.1.1/32, NodeIP/32; the service range dev lo
    eth0 PodIP/32  <veth>    PodIP/32 dev vethN src NodeIP
    169.254.1.1 dev eth0
    default via 169.254.1.1  default via the outside link (lab.internet)

The node's own address stands on lo: some kernels (small virtual machines) have no dummy links.
No bridge: every packet between pods is forwarded by the node, so one nftables forward chain sees all of them. Reverse path
filtering is strict on the node, so that a pod cannot send with an address that is not its own.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from pathlib import Path

from stockade.dataplane.netlink import NetlinkError, NetlinkSocket, Request
from stockade.lab.addresses import GATEWAY, SERVICE_CIDR
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
    "net/ipv6/conf/default/disable_ipv6": "1",
}
_POD_SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/default/disable_ipv6": "1",  # no link-local traffic past an IPv4-only network; ::1 stays
}


class PodNetns:
    """A pod's network namespace. It lives while ``fd`` is open or a process or socket is inside."""

    def __init__(self, name: str, address: str, fd: int, link: str, node: NetlinkSocket, index: int) -> None:
        self.name = name
        self.address = address
        self.fd = fd
        self.link = link
        self._node = node
        self._index = index

    def socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0
    ) -> socket.socket:
        """A socket inside the pod's network."""
        return netns.open_socket(self.fd, family, kind, proto)

    def close(self) -> None:
        """Take the pod off the network now, even if a process of it still lives, and let the namespace go. Idempotent.

        Without the route nothing reaches the pod, and the reverse path filter drops what it sends: its address may be given
        to another pod at once. The kernel deletes the veth with the namespace, later and in batches: 30 ms each otherwise.
        """
        if self.fd < 0:
            return
        fd, self.fd = self.fd, -1
        try:
            self._node.execute(links.delete_route(f"{self.address}/32", self._index))
        except NetlinkError as error:
            if error.errno != errno.ESRCH:  # gone already
                raise
        finally:
            os.close(fd)


class PodNetwork:
    """Makes pod networks in the namespace of the thread that constructs it: the node's."""

    def __init__(self) -> None:
        self._node = NetlinkSocket()
        self._indexes = itertools.count(_FIRST_VETH_INDEX)
        self._node_address: str | None = None

    def close(self) -> None:
        """Pods made here stay as they are."""
        self._node.close()

    def prepare_node(self, address: str) -> None:
        """Once, in the node's fresh namespace. ``address`` becomes the node's InternalIP."""
        for key, value in _NODE_SYSCTLS.items():
            write_sysctl(key, value)
        self._node.execute(
            links.set_up(links.LOOPBACK),
            # scope link: answered for on every pod's link, but never chosen as a source address
            links.add_address(links.LOOPBACK, GATEWAY, scope=links.SCOPE_LINK),
            links.add_address(links.LOOPBACK, address),
            # the node's own packet to a Service needs some route before the output hook can translate it
            links.add_route(SERVICE_CIDR, links.LOOPBACK, source=address),
        )
        self._node_address = address

    def create(self, name: str, address: str) -> PodNetns:
        """The network of the pod ``name`` (used in errors only), complete and reachable from the node when this returns."""
        inner = netns.inside_new(_open_pod_side)
        index = next(self._indexes)
        link = f"veth{index}"
        try:
            fd = netns.namespace_of(inner.fileno())
            try:
                self._connect(inner, fd, link, index, address)
            except BaseException:
                os.close(fd)
                raise
        except NetlinkError as error:
            raise NetlinkError(
                f"network of pod {name}: {error.purpose}", error.errno or 0, error.detail
            ) from None
        finally:
            inner.close()
        return PodNetns(name, address, fd, link, self._node, index)

    def _connect(self, inner: NetlinkSocket, fd: int, link: str, index: int, address: str) -> None:
        self._node.execute(links.create_veth(link, index, POD_LINK, _POD_LINK_INDEX, fd))
        inner.execute(*_pod_side(address))
        self._node.execute(
            links.set_up(index),
            links.add_route(f"{address}/32", index, source=self._node_address),
        )
        links.carrier(inner.fileno(), POD_LINK)  # the pod's first packet must not be lost


def _open_pod_side() -> NetlinkSocket:
    """Runs in the new namespace."""
    for key, value in _POD_SYSCTLS.items():
        write_sysctl(key, value)
    return NetlinkSocket()


def _pod_side(address: str) -> list[Request]:
    return [
        links.set_up(links.LOOPBACK),
        links.add_address(_POD_LINK_INDEX, address),
        links.set_up(_POD_LINK_INDEX),
        links.add_route(f"{GATEWAY}/32", _POD_LINK_INDEX),
        links.add_route("0.0.0.0/0", _POD_LINK_INDEX, via=GATEWAY),
    ]


def write_sysctl(key: str, value: str) -> None:
    """In the network namespace of the calling thread. A key this kernel lacks (IPv6 left out) is passed over."""
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/sys", key).write_text(value)
