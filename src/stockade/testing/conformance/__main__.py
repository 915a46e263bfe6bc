"""Play the public conformance suites: ``python -m stockade.testing.conformance e2e`` (or ``cyclonus``, ``all``).

Starts a lab of its own, or takes the cluster of ``--kubeconfig``; makes namespaces x, y, z with pods a, b, c and their Services; plays each case
through the API and probes every pair with a real exec of agnhost. Output: a line for each case, tables of what failed, figures at the end.
Exit status: 0 all agree, 1 a disagreement, 2 the cluster cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from stockade.kube.client import ApiClient
from stockade.kube.config import load
from stockade.kube.errors import ConfigError, KubeError
from stockade.lab.paths import LabPaths
from stockade.testing.conformance import api, cyclonus, e2e
from stockade.testing.conformance.case import PROBES
from stockade.testing.conformance.cluster import Cluster, ClusterError
from stockade.testing.conformance.junit import junit
from stockade.testing.conformance.matrix import AT_ONCE, DESTINATIONS
from stockade.testing.conformance.run import How, Result, run
from stockade.testing.conformance.world import World

SCTP = 132  # IPPROTO_SCTP
DEFAULT_DESTINATION = {"e2e": "service-ip", "cyclonus": "service-name"}
SUITES = {"e2e": e2e.cases, "cyclonus": cyclonus.cases}


def main() -> int:
    options = _parse()
    try:
        with _cluster(options) as kubeconfig:
            results = asyncio.run(_play(options, kubeconfig))
    except (KubeError, ConfigError, ClusterError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _summary(results)
    if options.junit:
        options.junit.write_text(junit(results))
    return int(any(result.complaint for result in results))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stockade.testing.conformance", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=[*SUITES, "all"], default="all")
    parser.add_argument(
        "--case", type=int, action="append", metavar="N", help="only this case (may be repeated)"
    )
    parser.add_argument(
        "--destination-type",
        choices=DESTINATIONS,
        help="default: service-ip for e2e, service-name for cyclonus",
    )
    parser.add_argument("--kubeconfig", type=Path, help="use this cluster, not a lab of our own")
    parser.add_argument("--nodes", type=int, default=1, help="of the lab (default: 1)")
    parser.add_argument(
        "--at-once", type=int, default=AT_ONCE, help=f"execs at the same time (default: {AT_ONCE})"
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML")
    return parser.parse_args()


@contextlib.contextmanager
def _cluster(options: argparse.Namespace) -> Iterator[Path]:
    if options.kubeconfig:
        yield options.kubeconfig
        return
    with tempfile.TemporaryDirectory(prefix="conformance-") as state:
        os.environ["XDG_STATE_HOME"] = state
        paths = LabPaths.of(f"conformance-{uuid.uuid4().hex[:6]}")
        stockade = [sys.executable, "-m", "stockade.cli.main"]
        up = subprocess.run(
            [*stockade, "up", "--name", paths.name, "--nodes", str(options.nodes)],
            capture_output=True,
            text=True,
            check=False,
        )
        if up.returncode:
            raise ClusterError(up.stderr.strip())
        try:
            yield paths.kubeconfig
        finally:
            subprocess.run([*stockade, "down", "--name", paths.name], check=False, stdout=subprocess.DEVNULL)


async def _play(options: argparse.Namespace, kubeconfig: Path) -> list[Result]:
    skipped = () if has_sctp() else ("SCTP",)
    if skipped:
        _say("this kernel has no SCTP: its probes are skipped, and compared with the engine only")
    results: list[Result] = []
    async with ApiClient(load(kubeconfig)) as client:
        cluster = Cluster(client, PROBES)
        try:
            began = time.monotonic()
            await cluster.build(World(labelled=False))
            _say(
                f"{len(cluster.pods)} pods with {len(PROBES)} containers each in {time.monotonic() - began:.1f} s"
            )
            for suite in list(SUITES) if options.suite == "all" else [options.suite]:
                how = How(options.destination_type or DEFAULT_DESTINATION[suite], skipped, options.at_once)
                async for result in _suite(suite, cluster, how, options.case):
                    _tell(result)
                    results.append(result)
        finally:
            if options.kubeconfig:  # a cluster that goes on without us
                await cluster.remove()
    return results


async def _suite(suite: str, cluster: Cluster, how: How, chosen: list[int] | None) -> AsyncIterator[Result]:
    """The cases are made anew for each: their blocks are those of the pods' present addresses."""
    for number in range(1, len(SUITES[suite](cluster.addresses)) + 1):
        if not chosen or number in chosen:
            await cluster.reset(labelled=suite == "cyclonus")
            yield await run(SUITES[suite](cluster.addresses)[number - 1], cluster, how)
    for case in api.CASES if suite == "e2e" else ():
        if not chosen or case.number in chosen:
            yield await api.run(case, cluster.client)


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP).close()
    except OSError:
        return False
    return True


def _tell(result: Result) -> None:
    late = "".join(f", {count} late ({word})" for word, count in result.late.items())
    figures = f"{len(result.case.steps)} step(s), {result.probes} probes{late}, {result.seconds:.1f} s"
    sys.stdout.write(f"{result.outcome:4}  {result.case.name} ({figures})\n")
    if result.complaint:
        sys.stdout.write("".join(f"      {line}\n" for line in result.complaint.splitlines()))
    sys.stdout.flush()


def _summary(results: list[Result]) -> None:
    counts = Counter(result.outcome for result in results)
    matrices = [each for result in results for each in result.matrices]
    _say(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    if matrices:
        probes, skipped = (sum(getattr(result, name) for result in results) for name in ("probes", "skipped"))
        late = sum(result.late.total() for result in results)
        _say(
            f"{probes} probes in {len(matrices)} matrices: median {statistics.median(matrices):.2f} s, longest {max(matrices):.2f} s; "
            f"{late} as expected at the second try; {skipped} skipped (no SCTP in this kernel)"
        )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
