"""What the kubelet part is given by the rest of the lab: the interfaces, and the node's own facts.

Implemented elsewhere: pod networks (``lab.node.network``), the agent's gate (``agent.gate``), events (``lab.events``), what the
cluster's DNS is told (``lab.dns.feed``). Tests put fakes here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from stockade.lab.apiserver.registry import Registry
from stockade.lab.images.catalog import Catalog
from stockade.lab.node.cgroups import Cgroups
from stockade.lab.node.ipam import AddressPools
from stockade.lab.node.processes import NodeProcesses

JsonObject = dict[str, Any]


class Netns(Protocol):
    """A pod's network namespace; it lives while ``fd`` is open."""

    fd: int

    @property
    def addresses(self) -> tuple[str, ...]: ...

    @property
    def address(self) -> str: ...

    def close(self) -> None: ...


class Network(Protocol):
    """``fd`` is the node's own network namespace."""

    fd: int

    def create(self, name: str, *addresses: str) -> Netns:
        """Called beside the event loop, in a thread."""


class Gate(Protocol):
    async def wait(self, namespace: str, name: str, uid: str, address: str, timeout: float) -> None:  # noqa: ASYNC109 - the caller's own limit
        """Returns once the pod's rules are in the kernel; raises with a text for the user when nobody says so in time."""


class Events(Protocol):
    def event(self, obj: JsonObject, type: str, reason: str, message: str, field_path: str = "") -> None: ...  # noqa: A002 - the API's word


Attach = Callable[[], socket.socket]
"""A new line to the daemon for one process of a program of the lab: the process's end."""


class Tokens(Protocol):
    def issue(
        self,
        account: JsonObject,
        seconds: int,
        audiences: list[str] | None = None,
        bound: JsonObject | None = None,
    ) -> str:
        """A service account's token, good for the API as long as the pod ``bound`` is there."""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """``addresses``: the node's, the primary one first. ``directory``: logs and mount point, inside the lab's state directory.
    ``resolv_conf``: for pods with dnsPolicy Default."""

    name: str
    addresses: tuple[str, ...]
    cluster_dns: str
    directory: Path
    resolv_conf: str = ""
    gate_timeout: float = 10.0
    retry_seconds: float = 1.0

    @property
    def address(self) -> str:
        return self.addresses[0]


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a pod worker works with. ``feeds``: what the programs of the lab are told, by program."""

    facts: NodeFacts
    registry: Registry
    spawner: NodeProcesses
    network: Network
    gate: Gate
    images: Catalog
    events: Events
    addresses: AddressPools
    feeds: Mapping[str, Attach]
    tokens: Tokens
    cgroups: Cgroups
