"""The daemon proper: one event loop in which a small cluster lives. This is where the lab is wired.

    kubectl ──TLS──► API server ──► ObjectStore ◄──watch── controllers   (Deployment, EndpointSlice, scheduler …)
                     (host's        │    ▲   ▲
                      127.0.0.1)    │    │   └──watch── ServiceProxy ──► nft table ip stockade-proxy
                          watch,TLS │    └──watch,status── Kubelet ──► zygote ──► pods
                                    ▼                        │
                       stockade agent ◄──── gate: "programmed?" ┘
                            └──► nft table inet stockade
In: the lab's paths, the API's listening socket, the zygote's socket, and ``tell`` for the one answer ``up`` waits for.
Out: exit status. Called by ``lab.daemon`` inside the lab's namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from stockade.agent.gate import GateClient
from stockade.dataplane.nft import Nft
from stockade.lab import addresses, bootstrap, credentials
from stockade.lab.agents import AgentSupervisor
from stockade.lab.apiserver.app import create_app
from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.controllers import run_controllers
from stockade.lab.dns.probe import answers
from stockade.lab.dns.server import kube_dns
from stockade.lab.events import EventRecorder
from stockade.lab.images.catalog import Catalog
from stockade.lab.internet import Internet
from stockade.lab.node.kubelet import Kubelet
from stockade.lab.node.network import PodNetwork
from stockade.lab.node.parts import NodeFacts
from stockade.lab.node.spawner import Spawner
from stockade.lab.paths import LabPaths, write_private
from stockade.lab.proxy.proxy import ServiceProxy

log = logging.getLogger(__name__)
Tell = Callable[[dict[str, str]], None]
ADMIN, AGENT = "admin", "agent"
INSIDE_PORT = 6443  # the API on the node's own loopback, for the agent
POLL = 0.01  # seconds between looks while the lab starts


def run(
    paths: LabPaths,
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
            tell(answer)

    try:
        asyncio.run(_Cluster(paths, listener, spawner, tell_once, agent_options).run())
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
        listener: socket.socket,
        spawner: socket.socket,
        tell: Tell,
        agent_options: Sequence[str],
    ) -> None:
        self._paths = paths
        self._listener = listener
        self._spawner_socket = spawner
        self._tell = tell
        self._agent_options = agent_options
        self._node = f"{paths.name}-node-1"

    async def run(self) -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        network = PodNetwork()
        network.prepare_node(addresses.NODE_IP)
        inside = socket.create_server(("127.0.0.1", INSIDE_PORT))
        secrets = self._credentials()
        spawner = Spawner(self._spawner_socket)
        spawner.start()
        store = ObjectStore(Storage(self._paths.database))
        bootstrap.bootstrap(
            store, node=self._node, node_address=addresses.NODE_IP, pod_cidr=addresses.POD_CIDR
        )
        kubelet = self._kubelet(store, spawner, network)
        runner = await self._serve(store, kubelet, secrets, inside)
        internet = Internet()
        await internet.start()
        write_private(self._paths.outside, str(os.fstat(internet.fd).st_ino))
        await kubelet.start()
        try:
            await self._run_until(stopping, store, spawner, secrets.ca)
        finally:
            await kubelet.stop()
            await internet.stop()
            await runner.cleanup()

    def _credentials(self) -> credentials.Credentials:
        """The user's kubeconfig names the host's port, the agent's the node's own loopback."""
        made = credentials.make(self._paths.pki, (ADMIN, AGENT))
        cluster = f"stockade-{self._paths.name}"
        user = made.kubeconfig(cluster=cluster, user=ADMIN, server=self._server)
        agent = made.kubeconfig(cluster=cluster, user=AGENT, server=f"https://127.0.0.1:{INSIDE_PORT}")
        write_private(self._paths.kubeconfig, user)
        write_private(self._paths.agent_kubeconfig, agent)
        return made

    @property
    def _server(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def _kubelet(self, store: ObjectStore, spawner: Spawner, network: PodNetwork) -> Kubelet:
        facts = NodeFacts(
            name=self._node,
            address=addresses.NODE_IP,
            cluster_dns=addresses.DNS_SERVICE_IP,
            directory=self._paths.pods,
        )
        return Kubelet(
            store,
            spawner,
            network,
            Catalog(self._paths.root),
            EventRecorder(store, "kubelet", self._node),
            GateClient(self._paths.gate),
            facts=facts,
            pod_cidr=addresses.POD_CIDR,
            builtins={bootstrap.DNS_IMAGE: kube_dns(store)},
        )

    async def _serve(
        self, store: ObjectStore, kubelet: Kubelet, made: credentials.Credentials, inside: socket.socket
    ) -> web.AppRunner:
        tokens = {token: user for user, token in made.tokens.items()}
        app = create_app(store, tokens=tokens, runtime=kubelet.runtime, version=bootstrap.VERSION)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        context = made.server_context()
        for listener in (self._listener, inside):
            await web.SockSite(runner, listener, ssl_context=context).start()
        return runner

    async def _run_until(
        self, stopping: asyncio.Event, store: ObjectStore, spawner: Spawner, ca: str
    ) -> None:
        """All loops in one group: the first that fails ends the lab, with the reason in the log."""
        async with asyncio.TaskGroup() as group:
            agent = AgentSupervisor(
                spawner,
                self._paths,
                node=self._node,
                report=self._agent_ended,
                options=self._agent_options,
            )
            parts = [
                agent.run(),
                run_controllers(store, ca_certificate=ca),
                ServiceProxy(store, Nft().load, (addresses.NODE_IP,)).run(),
                self._announce(store),
            ]
            tasks = [group.create_task(part) for part in parts]
            await stopping.wait()
            for task in tasks:
                task.cancel()

    def _agent_ended(self, last_words: str) -> None:
        """Only the first answer counts: once the lab is Ready this says nothing to anybody."""
        self._tell({"error": f"the policy agent ended: {last_words}"})

    async def _announce(self, store: ObjectStore) -> None:
        """The node is Ready when its agent is; the lab is when a lookup through the DNS Service is answered."""
        while not self._paths.gate.exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(POLL)
        _mark_ready(store, self._node)
        name = f"kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}"
        while not await answers(addresses.DNS_SERVICE_IP, name):  # noqa: ASYNC110 - the answer is on the network
            await asyncio.sleep(POLL)
        self._tell({"server": self._server, "node": self._node})


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """What is not even HTTP is answered with 400 and not logged: strangers could fill the disk, and its lines may hold a token."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def _mark_ready(store: ObjectStore, node: str) -> None:
    def change(obj: dict[str, object]) -> None:
        status = obj["status"]
        assert isinstance(status, dict)
        for condition in status["conditions"]:
            if condition["type"] == "Ready":
                condition.update(
                    status="True", reason="KubeletReady", message="node and policy agent are ready"
                )

    with contextlib.suppress(LookupError):
        store.mutate("nodes", "", node, change, "status")
