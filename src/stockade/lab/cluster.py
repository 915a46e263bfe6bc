"""The daemon proper: one event loop in which a small cluster lives. This is where the lab is wired.

    kubectl ──TLS──► API server ──► ObjectStore ◄──watch── controllers   (Deployment, EndpointSlice, scheduler …)
                     (host's        │    ▲   ▲
                      127.0.0.1)    │    │   │   for each node (lab.nodes):
                                    │    │   └──watch── ServiceProxy ──► nft tables ip, ip6 stockade-proxy
                          watch,TLS │    └──watch,status── Kubelet ──► zygote ──► pods
                                    ▼                        │
                       stockade agent ◄──── gate: "programmed?" ┘
                            └──► nft table inet stockade
In: the lab's paths and nodes, the API's listening socket, the zygote's socket, and ``tell`` for the one answer ``up`` waits for.
Out: exit status. Called by ``lab.daemon`` inside the lab's namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from stockade.lab import addresses, bootstrap, credentials
from stockade.lab.apiserver.app import create_app
from stockade.lab.apiserver.connections import Runner, Site
from stockade.lab.apiserver.service_accounts import ServiceAccountTokens, load_or_make_key
from stockade.lab.apiserver.storage import Storage, StorageError
from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.controllers import run_controllers
from stockade.lab.dns.feed import ClusterNames
from stockade.lab.dns.probe import answers
from stockade.lab.images.catalog import Catalog
from stockade.lab.internet import Internet
from stockade.lab.node import cgroups, identities, netns
from stockade.lab.node.access import ClusterAccess
from stockade.lab.node.spawner import Spawner
from stockade.lab.nodes import INSIDE_PORT, POLL, LabNode, Shared
from stockade.lab.partition import Partition, Severable, is_cut, is_paused
from stockade.lab.paths import LabPaths, write_private
from stockade.lab.restore import restore
from stockade.lab.topology import Topology

log = logging.getLogger(__name__)
_RESET = struct.pack("ii", 1, 0)  # closing sends a reset, and does not wait for what was not acknowledged
Tell = Callable[[dict[str, str]], None]
ADMIN, AGENT, VIEWER = "admin", "agent", "viewer"
DNS_PATIENCE = 5.0  # seconds


def run(
    paths: LabPaths,
    topology: Topology,
    listener: socket.socket,
    spawner: socket.socket,
    tell: Tell,
    agent_options: Sequence[str] = (),
) -> int:
    """Until SIGTERM. An error before the lab is ready is told to ``up`` in one line, with the log for the rest."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiohttp.server").addFilter(_is_no_bad_request)
    told = False

    def tell_once(answer: dict[str, str]) -> None:
        nonlocal told
        if not told:
            told = True
            try:
                tell(answer)
            except BrokenPipeError:
                log.warning("stockade up was killed before the lab was ready: the lab ends, too")
                signal.raise_signal(signal.SIGTERM)

    try:
        asyncio.run(_Cluster(paths, topology, listener, spawner, tell_once, agent_options).run())
    except StorageError as error:
        log.error("%s", error)  # noqa: TRY400 - no defect of ours
        way_out = f"start anew, without its objects: stockade up --name {paths.name} --fresh"
        tell_once({"error": f"{error}; {way_out}" if error.for_good else str(error)})
        return 1
    except Exception as error:
        log.exception("the lab failed")
        tell_once({"error": f"the lab could not start: {error}; its log: {paths.log}"})
        return 1
    return 0


class _Cluster:
    """One lab from start to stop."""

    def __init__(
        self,
        paths: LabPaths,
        topology: Topology,
        listener: socket.socket,
        spawner: socket.socket,
        tell: Tell,
        agent_options: Sequence[str],
    ) -> None:
        self._paths = paths
        self._topology = topology
        self._listener = listener
        self._spawner_socket = spawner
        self._tell = tell
        self._agent_options = agent_options
        self._restored = False

    async def run(self) -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        store = self._open_store()
        internet = Internet(ipv6=self._topology.dual_stack)
        await internet.start()
        write_private(self._paths.outside, str(os.fstat(internet.fd).st_ino))
        names = ClusterNames(store)
        secrets = self._credentials()
        accounts = ServiceAccountTokens(load_or_make_key(self._paths.pki), store)
        nodes = self._nodes(store, internet, names, accounts)
        runner = await self._serve(store, nodes, secrets, accounts)
        for node in nodes:
            await node.start()
        try:
            healed = partial(_reconnect, runner)
            await self._run_until(stopping, store, nodes, Partition(store, nodes, healed), names, secrets.ca)
        finally:
            await asyncio.gather(*(node.stop() for node in nodes))
            await internet.stop()
            await runner.cleanup()
            store.close()

    def _open_store(self) -> ObjectStore:
        """The objects of before a crash, or those of a new lab; either way complete before anybody sees them."""
        storage = Storage(self._paths.database)
        try:
            store = ObjectStore(storage, families=self._topology.families)
        except msgspec.DecodeError as error:
            raise StorageError(f"{self._paths.database} is damaged: {error}") from error
        self._restored = store.revision > 0
        with store.together():
            if self._restored:
                restore(store, self._topology.nodes, self._paths.pods / "logs")
            else:
                bootstrap.bootstrap(store, self._topology.nodes)
        return store

    def _nodes(
        self, store: ObjectStore, internet: Internet, names: ClusterNames, accounts: ServiceAccountTokens
    ) -> list[LabNode]:
        spawner = Spawner(self._spawner_socket)
        spawner.start()
        shared = Shared(
            paths=self._paths,
            store=store,
            spawner=spawner,
            images=Catalog(self._paths.root),
            names=names.now,
            failed=self._agent_ended,
            tokens=accounts,
            agent_options=self._agent_options,
            cgroups=cgroups.make(self._paths.name, self._paths.cgroups),
        )
        nodes = [LabNode(plan, shared) for plan in self._topology.nodes]
        for node in nodes:
            internet.connect(node.plan, node.netns)
        write_private(self._paths.nodes, msgspec.json.encode(self._topology.nodes).decode())
        return nodes

    def _credentials(self) -> credentials.Credentials:
        """The users' kubeconfigs name the host's port, the agent's the node's own loopback."""
        made = credentials.load_or_make(self._paths.pki, (ADMIN, AGENT, VIEWER))
        cluster = f"stockade-{self._paths.name}"
        agent = made.kubeconfig(cluster=cluster, user=AGENT, server=f"https://127.0.0.1:{INSIDE_PORT}")
        for user in (ADMIN, VIEWER):
            for certificate in (False, True):
                text = made.kubeconfig(
                    cluster=cluster, user=user, server=self._server, certificate=certificate
                )
                write_private(self._paths.kubeconfig_of(user, certificate=certificate), text)
        write_private(self._paths.agent_kubeconfig, agent)
        return made

    @property
    def _server(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    async def _serve(
        self,
        store: ObjectStore,
        nodes: Sequence[LabNode],
        made: credentials.Credentials,
        accounts: ServiceAccountTokens,
    ) -> web.AppRunner:
        """On the host's loopback for users, and on each node's for its agent."""
        tokens = {token: user for user, token in made.tokens.items()}
        runtime = ClusterAccess([node.access for node in nodes])
        app = create_app(store, tokens=tokens, runtime=runtime, version=bootstrap.VERSION, accounts=accounts)
        runner = Runner(app)
        await runner.setup()
        context = made.server_context()
        for listener in (self._listener, *(node.listener() for node in nodes)):
            await Site(runner, listener, ssl_context=context).start()
        return runner

    async def _run_until(
        self,
        stopping: asyncio.Event,
        store: ObjectStore,
        nodes: Sequence[LabNode],
        partition: Partition,
        names: ClusterNames,
        ca: str,
    ) -> None:
        """All loops in one group: the first that fails ends the lab, with the reason in the log."""
        async with asyncio.TaskGroup() as group:
            parts = [part for node in nodes for part in node.parts()]
            parts += [
                run_controllers(store, ca_certificate=ca),
                partition.run(),
                names.run(),
                self._announce(store, nodes),
            ]
            tasks = [group.create_task(part) for part in parts]
            await stopping.wait()
            for task in tasks:
                task.cancel()

    def _agent_ended(self, last_words: str) -> None:
        """Only the first answer counts: once the lab is Ready this says nothing to anybody."""
        self._tell({"error": f"the policy agent ended: {last_words}"})

    async def _announce(self, store: ObjectStore, nodes: Sequence[LabNode]) -> None:
        """Nodes are Ready when all their agents are, so that the first pods find every node; the lab is when a lookup through the DNS
        Service is answered. A restored lab need not have a DNS that answers, nor all its nodes awake and on the network: its user may
        have seen to that."""
        held = [(node, store.find("nodes", "", node.name) or {"metadata": {}}) for node in nodes]
        online = [node for node, obj in held if not is_cut(obj) and not is_paused(obj)]
        await asyncio.gather(*(node.ready() for node in online))
        for node in online:
            node.admit()
        notes = [identities.note()]
        try:
            async with asyncio.timeout(DNS_PATIENCE if self._restored else None):
                await _dns()
        except TimeoutError:
            notes.append("its DNS does not answer")
        names = ", ".join(node.plan.name for node in nodes)
        answer = {"server": self._server, "nodes": names, "note": "; ".join(filter(None, notes))}
        self._tell(answer | ({"restored": "yes"} if self._restored else {}))


async def _dns() -> None:
    """Returns when the Service kube-dns answers."""
    name = f"kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}"
    while not await answers(addresses.DNS_SERVICE_IP, name):  # noqa: ASYNC110 - the answer is on the network
        await asyncio.sleep(POLL)


def _reconnect(runner: web.AppRunner, node: Severable) -> None:
    """End the connections that the node's agent had to the API: after a long cut either side would wait as long again before it
    sends anything once more. They are told apart by the network namespace of their sockets."""
    assert runner.server is not None
    with contextlib.suppress(OSError), netns.inside(node.netns, socket.socket) as own:
        wanted = netns.cookie(own)
        for connection in list(runner.server.connections):
            transport = connection.transport
            ours = None if transport is None else transport.get_extra_info("socket")
            if transport is not None and ours is not None and netns.cookie(ours) == wanted:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                transport.abort()


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """What is not even HTTP is answered with 400 and not logged: strangers could fill the disk, and its lines may hold a token."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
