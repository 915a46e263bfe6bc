"""``stockade agent``: the node agent as a process of its own; the lab and the DaemonSet start the same command.

Exit status: 0 after SIGTERM or SIGINT (the rules stay in force), 2 when it cannot work here and for wrong use.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING

import click

from stockade.cli.agent_options import Choices, choices, enforcement_options
from stockade.cli.failure import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stockade.agent.node import NodeAgent, NodeSettings
    from stockade.kube.config import Access
    from stockade.net.cidr import Block

FLUSH_SECONDS = 0.5


class CidrType(click.ParamType[object]):
    """``10.244.0.0/24`` or ``fd00::/64``."""

    name = "cidr"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        from stockade.net.cidr import parse_block  # noqa: PLC0415 - commands load what they use

        try:
            return parse_block(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is not a CIDR block such as 10.244.0.0/24: {error}", param, ctx)


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="Default: KUBECONFIG, or the pod's own service account.",
)
@click.option("--context", help="Context of the kubeconfig.")
@click.option(
    "--node",
    envvar="NODE_NAME",
    default=socket.gethostname,
    help="Name of this node in the API. [env: NODE_NAME; default: host name]",
)
@click.option(
    "--gate",
    "gate",
    type=click.Path(dir_okay=False),
    default="",
    help="Unix socket on which a kubelet or CNI plugin asks whether a pod is programmed.",
)
@click.option(
    "--pod-cidr",
    "pod_cidrs",
    type=CidrType(),
    multiple=True,
    help="Addresses of this node's pods, fenced until programmed (repeatable). Default: the Node's podCIDRs.",
)
@click.option(
    "--health",
    default="",
    metavar="[HOST:]PORT|PATH",
    help="Serve /healthz, /readyz, /metrics and /status here.",
)
@click.option(
    "--verify",
    "verify_seconds",
    type=click.FloatRange(min=0.1),
    help="Seconds between looks at the kernel's rules. Default: 60 while the kernel tells of changes by others, else 10.",
)
@enforcement_options
@click.option(
    "--cleanup",
    is_flag=True,
    help="Take everything of Stockade's out of the kernel, and the files of --gate and --health, and exit. Everything is allowed then.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def command(
    *,
    kubeconfig: str | None,
    context: str | None,
    node: str,
    gate: str,
    pod_cidrs: tuple[Block, ...],
    health: str,
    verify_seconds: float | None,
    cleanup: bool,
    verbose: bool,
    **enforcement: object,
) -> None:
    """Enforce NetworkPolicies on this node.

    \b
    Examples:
      stockade agent --kubeconfig /etc/kubernetes/kubelet.conf --node $(hostname) --health 9099
      stockade agent --denied reject --live-flows keep --pod-interface 'veth*'
      stockade agent --cleanup --gate /run/stockade/gate
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    made = choices(enforcement)
    from stockade.dataplane.programmer import ProgrammingError  # noqa: PLC0415 - --help must not load all this
    from stockade.kube.errors import ConfigError  # noqa: PLC0415

    try:
        if cleanup:
            asyncio.run(_clean_up(gate, health))
            return
        from stockade.agent.node import NodeSettings  # noqa: PLC0415
        from stockade.agent.programming import Target  # noqa: PLC0415

        target = Target(node=node, pod_cidrs=pod_cidrs, options=made.options, keep_flows=made.keeps_flows)
        settings = NodeSettings(target=target, gate=gate, verify_seconds=verify_seconds)
        asyncio.run(_serve(settings, made, lambda: load_access(kubeconfig, context), health))
    except ProgrammingError as error:
        raise Failure(_first_line(error)) from error
    except ConfigError as error:
        raise Failure(str(error)) from error


def load_access(kubeconfig: str | None, context: str | None) -> Access:
    from stockade.kube.config import load  # noqa: PLC0415

    return load(kubeconfig, context)


async def _clean_up(gate: str, health: str) -> None:
    """By netlink, whatever the backend: the nft program does not touch a table that has had an owner."""
    from stockade.agent.gate import GateError, clear_stale  # noqa: PLC0415
    from stockade.agent.kernel import Kernel  # noqa: PLC0415

    try:
        for path in (gate, health if "/" in health else ""):
            if path:
                clear_stale(path)
    except GateError as error:
        raise Failure(f"{error}; stop it first, it would put the rules back") from error
    await Kernel().dataplane.cleanup()
    click.echo("table inet stockade is gone: nothing is policed on this node", err=True)


async def _serve(settings: NodeSettings, made: Choices, access_of: Callable[[], Access], health: str) -> None:
    from stockade.agent.gate import GateError  # noqa: PLC0415
    from stockade.agent.kernel import Kernel  # noqa: PLC0415
    from stockade.agent.node import Doors, NodeAgent  # noqa: PLC0415
    from stockade.dataplane.droplog import DropLog  # noqa: PLC0415
    from stockade.kube.client import ApiClient  # noqa: PLC0415

    kernel = Kernel(made.backend, own_table=made.own_table, keep_flows=made.keeps_flows)
    await kernel.programmer.read()  # can we read the kernel's rules at all?
    access = access_of()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    group = settings.target.options.log_group
    async with ApiClient(access) as api:
        doors = Doors(
            dataplane=kernel.dataplane,
            name=kernel.name,
            watch=kernel.watch,
            open_log=lambda: DropLog(group),
            read_counters=kernel.read_counters,
        )
        agent = NodeAgent(settings, api, doors)
        async with _health(health, agent):
            log = logging.getLogger("stockade.agent")
            log.info("node %s, API %s (pid %d)", settings.target.node, access.server, os.getpid())
            try:
                await _until(stop, agent)
            except* GateError as errors:
                raise Failure(str(errors.exceptions[0])) from None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await agent.recorder.flush()
            log.info("stopped; the rules stay in force")


async def _until(stop: asyncio.Event, agent: NodeAgent) -> None:
    work = asyncio.create_task(agent.run())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not work.done():
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        return
    await work


@contextlib.asynccontextmanager
async def _health(where: str, agent: NodeAgent) -> AsyncIterator[None]:
    if not where:
        yield
        return
    from stockade.agent.health import ListenError, serve  # noqa: PLC0415

    try:
        async with serve(where, agent.health, agent.metrics, agent.status):
            yield
    except ListenError as error:
        raise Failure(str(error)) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "not permitted" in text and os.geteuid() == 0:
        return f"{text}: another process owns the table inet stockade (an agent with --own-table?), or CAP_NET_ADMIN is missing here"
    if "not permitted" in text:
        return "reading and writing the kernel's rules needs root (or CAP_NET_ADMIN)"
    return text
