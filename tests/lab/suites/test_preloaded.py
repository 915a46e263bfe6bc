"""``/agnhost connect`` runs in the process that pid 1 forked: what a pod can do with that, and cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stockade.kube.exec import Executed, execute
from stockade.model.meta import ObjectRef
from stockade.testing.conformance.cluster import Cluster

pytestmark = pytest.mark.lab
On = Callable[[Callable[[Cluster], Any]], Any]
BLACK_HOLE = "10.244.0.250:80"  # no pod has it


async def sh(cluster: Cluster, container: str, *command: str) -> Executed:
    return await execute(cluster.client, ObjectRef("z", "c"), container, command, seconds=30)


def test_words_and_exit_codes(on_cluster: On) -> None:
    async def ask(cluster: Cluster) -> list[Executed]:
        connect = "/agnhost", "connect", "--timeout=300ms"
        own = cluster.addresses["z", "c"]
        return [
            await sh(cluster, "cont-80-tcp", *connect, place)
            for place in (f"{own}:80", f"{own}:9", BLACK_HOLE, "no.such.name.:80", "localhost:80", f"{own}:x")
        ]

    connected, refused, late, unknown, by_hosts, no_port = on_cluster(ask)
    assert (connected.code, connected.output) == (0, "")
    assert (refused.code, refused.output) == (1, "REFUSED\n")
    assert (late.code, late.output) == (1, "TIMEOUT\n")
    assert (unknown.code, unknown.output) == (1, "DNS: Name or service not known\n")
    assert by_hosts.code == 0
    assert no_port.output.startswith("DNS: lookup tcp/x")


def test_the_pods_own_program_comes_first(on_cluster: On) -> None:
    """Another /agnhost in the container is another program."""

    async def ask(cluster: Cluster) -> Executed:
        write = "printf '#!/bin/sh\\necho mine\\n' > /agnhost"
        await sh(cluster, "cont-81-tcp", "sh", "-c", write)
        return await sh(cluster, "cont-81-tcp", "/agnhost", "connect", BLACK_HOLE)

    assert on_cluster(ask).output == "mine\n"


def test_the_pods_root_cannot_look_into_it(on_cluster: On) -> None:
    """Its memory was that of pid 1."""
    look = """
for dir in /proc/[0-9]*; do
  read -r name < $dir/comm
  [ "$name" = agnhost ] || continue
  echo found
  for file in environ maps mem; do head -c 1 $dir/$file >/dev/null && echo read $file; done
  for link in exe cwd root fd/1; do readlink $dir/$link && echo read $link; done
done 2>/dev/null
true"""

    async def ask(cluster: Cluster) -> str:
        command = "/agnhost", "connect", BLACK_HOLE, "--timeout=20s"
        slow = asyncio.create_task(sh(cluster, "cont-80-udp", *command))
        try:
            async with asyncio.timeout(15):
                while "found" not in (seen := (await sh(cluster, "cont-80-udp", "sh", "-c", look)).output):
                    pass
            return seen
        finally:
            slow.cancel()
            await asyncio.wait([slow])

    seen = on_cluster(ask)
    assert "found" in seen
    assert "read" not in seen
