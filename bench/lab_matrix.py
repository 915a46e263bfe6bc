"""Measures a matrix of probes as the conformance suites make it: 9 pods x 9 x 6 ports, one exec of ``/agnhost connect`` for each.

    .venv/bin/python bench/lab_matrix.py KUBECONFIG [--at-once N]

Three ports by TCP and three by UDP, so that all 486 are asked on a kernel without SCTP, too. Twice: nothing denied, and with all ingress of
one namespace denied, where a third of the probes wait for their second to be over. Called by ``bench/lab.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from stockade.kube.client import ApiClient
from stockade.kube.config import load
from stockade.testing.conformance import matrix
from stockade.testing.conformance.cluster import Cluster
from stockade.testing.conformance.e2e import DENY_IN
from stockade.testing.conformance.world import World

PROBES = [(protocol, port) for port in (80, 81, 82) for protocol in ("TCP", "UDP")]


async def matrices(kubeconfig: Path, at_once: int = matrix.AT_ONCE) -> dict[str, float]:
    """Makes namespaces x, y and z in a running lab, and removes them. AssertionError when a probe sees what it must not."""
    async with ApiClient(load(kubeconfig)) as client:
        cluster = Cluster(client, PROBES)
        await cluster.build(World(labelled=False))
        try:
            took = {"matrix s": await _once(cluster, at_once, denied=0)}
            await cluster.create_policy(DENY_IN)
            took["matrix, a third denied s"] = await _once(cluster, at_once, denied=3 * 8 * len(PROBES))
        finally:
            await cluster.remove()
    return took


async def _once(cluster: Cluster, at_once: int, *, denied: int) -> float:
    cells = matrix.cells(cluster, PROBES)
    began = time.perf_counter()
    seen = await matrix.probe(cluster, cells, "service-ip", at_once=at_once)
    took = time.perf_counter() - began
    # A pod reaches itself through its Service or not, as an implementation likes.
    found = sum(bool(word) for cell, word in seen.items() if cell.source != cell.destination)
    assert found == denied, f"{found} of {len(cells)} probes were denied, not {denied}"
    return took


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--at-once", type=int, default=matrix.AT_ONCE)
    options = parser.parse_args()
    for name, value in asyncio.run(matrices(options.kubeconfig, options.at_once)).items():
        print(f"{name:28} {value:6.2f}")
