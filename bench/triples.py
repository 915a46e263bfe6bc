"""A client, a router and a server as network namespaces, wired by veth: what the data plane's benchmarks send packets through.

In: nothing. Out: a Triple, whose namespaces have no name and live as long as its descriptors: nothing is left behind, however the run ends.
Called by ``dataplane`` and ``cut``. Addresses of packets are free: one route to either side, fixed neighbours, no reverse-path filter,
and client and server have no address at all, so that they drop what they get without an answer.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cluster import LOCAL, REMOTE
from stockade.lab.node import netns

T = TypeVar("T")
CLIENT_MAC, ROUTER_CLIENT_MAC = "02:00:00:00:01:02", "02:00:00:00:01:01"
SERVER_MAC, ROUTER_SERVER_MAC = "02:00:00:00:02:02", "02:00:00:00:02:01"
LINK = "eth0"  # of client and server
_WIRING = """\
link set lo up
link add client address {router_client} type veth peer name eth0 address {client} netns {client_netns}
link add server address {router_server} type veth peer name eth0 address {server} netns {server_netns}
addr add 172.30.1.1/24 dev client
addr add 172.30.2.1/24 dev server
link set client up
link set server up
neigh add 172.30.1.2 lladdr {client} dev client nud permanent
neigh add 172.30.2.2 lladdr {server} dev server nud permanent
route add {local} via 172.30.1.2
route add {remote} via 172.30.2.2
"""


class CommandError(Exception):
    """A program ended with an error; the text is its own."""


class Namespace:
    """``name`` is for error messages. ``do`` runs a function there, ``run`` a program."""

    def __init__(self, name: str, sysctls: dict[str, str]) -> None:
        self.name = name
        self.fd = netns.inside_new(lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        settings = {"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1", **sysctls}
        self.do(lambda: _set(settings))

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def do(self, work: Callable[[], T]) -> T:
        return netns.inside(self.fd, work)

    def run(self, *command: str, text: str = "", timeout: float = 60.0) -> None:
        """Raises CommandError, also when the time is up."""
        try:
            done = self.do(
                lambda: subprocess.run(
                    command, input=text, capture_output=True, text=True, check=False, timeout=timeout
                )
            )
        except subprocess.TimeoutExpired:
            raise CommandError(f"{command[0]} did not finish within {timeout:g} s") from None
        if done.returncode:
            raise CommandError(f"{command[0]}: {done.stderr.strip()[:300] or done.returncode}")

    def close(self) -> None:
        os.close(self.fd)


class Triple:
    """Close it, and the three namespaces are gone."""

    def __init__(self) -> None:
        self.client = Namespace("client", {})
        self.server = Namespace("server", {})
        filters = {f"ipv4/conf/{which}/rp_filter": "0" for which in ("all", "default")}
        self.router = Namespace("router", {"ipv4/ip_forward": "1", **filters})
        wiring = _WIRING.format(
            client=CLIENT_MAC,
            server=SERVER_MAC,
            router_client=ROUTER_CLIENT_MAC,
            router_server=ROUTER_SERVER_MAC,
            client_netns=self.client.path,
            server_netns=self.server.path,
            local=LOCAL,
            remote=REMOTE,
        )
        self.router.run("ip", "-batch", "-", text=wiring)
        for end in (self.client, self.server):
            end.run("ip", "link", "set", LINK, "up")

    def close(self) -> None:
        for namespace in (self.client, self.router, self.server):
            namespace.close()


def _set(sysctls: dict[str, str]) -> None:
    for key, value in sysctls.items():
        path = Path("/proc/sys/net") / key
        if path.exists():  # no IPv6 in this kernel: nothing to switch off
            path.write_text(value)
