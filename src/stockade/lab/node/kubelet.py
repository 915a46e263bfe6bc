"""The lab's kubelet part: watches the pods bound to its node and keeps one worker for each.

In: pods from the registry. Out: running containers and pod status (``pod``), and ``runtime``: what the API server's exec, attach, logs
and port-forward ask. Made by the lab's cluster start-up; one per node.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Iterable, Mapping
from typing import Any

from stockade.lab.apiserver.registry import MANAGER, Change, Registry
from stockade.lab.images.catalog import Catalog
from stockade.lab.node import syscalls
from stockade.lab.node.access import PodAccess
from stockade.lab.node.cgroups import Cgroups
from stockade.lab.node.ipam import AddressPools
from stockade.lab.node.parts import Attach, Events, Gate, Network, NodeFacts, Parts, Tokens
from stockade.lab.node.pod import PodWorker
from stockade.lab.node.processes import NodeProcesses

JsonObject = dict[str, Any]
_TOKEN_ROUND = 60.0  # seconds
_FINISHED = {"Succeeded", "Failed"}
log = logging.getLogger(__name__)


class Kubelet:
    def __init__(  # noqa: PLR0913 - the node is where the lab's parts meet
        self,
        registry: Registry,
        spawner: NodeProcesses,
        network: Network,
        images: Catalog,
        events: Events,
        gate: Gate,
        tokens: Tokens,
        *,
        facts: NodeFacts,
        pod_cidrs: Iterable[str],
        feeds: Mapping[str, Attach] | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        self._parts = Parts(
            facts=facts,
            registry=registry,
            spawner=spawner,
            network=network,
            gate=gate,
            images=images,
            events=events,
            addresses=AddressPools(pod_cidrs),
            feeds={} if feeds is None else feeds,
            tokens=tokens,
            cgroups=cgroups or Cgroups(),
        )
        self._workers: dict[str, PodWorker] = {}
        self._kept: dict[str, tuple[str, ...]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._online = asyncio.Event()
        self._online.set()
        self.runtime = PodAccess(self._parts, self._workers)

    async def start(self) -> None:
        # Four descriptors a pod: the usual soft limit of 1024 would end at 250 pods, a full node.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for directory in ("rootfs", "logs", "volumes"):
            (self._parts.facts.directory / directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        volumes = self._parts.facts.directory / "volumes"
        if not volumes.is_mount():  # nodes of a lab share it; no secret of a volume is ever written to a disk
            syscalls.mount(
                "tmpfs", str(volumes), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0700"
            )
        self._tasks = [
            asyncio.create_task(self._watch(), name="kubelet"),
            *(asyncio.create_task(self._watch_sources(each)) for each in ("configmaps", "secrets")),
            asyncio.create_task(self._renew_tokens()),
        ]

    async def stop(self) -> None:
        """Every pod ends now (SIGKILL), within a second; the registry is left as it is."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        killing = [asyncio.ensure_future(worker.kill()) for worker in self._workers.values()]
        if killing:
            await asyncio.wait(killing, timeout=1.0)

    def cut(self) -> None:
        """Nothing of the API is heard, and nothing said to it. The pods run on."""
        self._online.clear()
        self.runtime.reachable = False
        for worker in self._workers.values():
            worker.mute()

    def heal(self) -> None:
        """Hear what happened meanwhile, and say how the pods are."""
        self._online.set()
        self.runtime.reachable = True
        for worker in self._workers.values():
            worker.unmute()

    async def _watch(self) -> None:
        MANAGER.set("kubelet")  # the pods' tasks are made here
        self._take_back()  # nothing can come between this and the first round of the watch
        async for change in self._parts.registry.watch("pods"):
            if change.object.get("spec", {}).get("nodeName") != self._parts.facts.name:
                continue
            await self._online.wait()
            try:
                self._on_change(change)
            except Exception:  # one pod's defect must not stop the node
                log.exception("pod %s", change.object.get("metadata", {}).get("name"))

    async def _watch_sources(self, resource: str) -> None:
        """What volumes show changes in the pods that run."""
        async for change in self._parts.registry.watch(resource):
            meta = change.object["metadata"]
            await self._online.wait()
            for worker in list(self._workers.values()):
                if worker.namespace == meta["namespace"]:
                    worker.on_source(resource, meta["name"])

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(_TOKEN_ROUND)
            await self._online.wait()
            for worker in list(self._workers.values()):
                worker.renew_tokens()

    def _take_back(self) -> None:
        """The pods that were here when the lab crashed keep their addresses, before any new pod gets one."""
        for pod in self._parts.registry.list("pods"):
            ours = pod.get("spec", {}).get("nodeName") == self._parts.facts.name
            if ours and pod.get("status", {}).get("startTime"):
                self._kept[pod["metadata"]["uid"]] = self._reserve(pod)

    def _reserve(self, pod: JsonObject) -> tuple[str, ...]:
        over = pod["metadata"].get("deletionTimestamp") or pod["status"].get("phase") in _FINISHED
        if over or pod["spec"].get("hostNetwork"):
            return ()
        addresses = [entry["ip"] for entry in pod["status"].get("podIPs") or []]
        return self._parts.addresses.reserve(addresses)

    def _on_change(self, change: Change) -> None:
        pod = change.object
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if change.type == "DELETED":
            if worker is not None:
                worker.terminate(0)
        elif worker is not None:
            worker.update(pod)
        else:
            self._adopt(pod)

    def _adopt(self, pod: JsonObject) -> None:
        kept = self._kept.pop(pod["metadata"]["uid"], None)
        finished = pod.get("status", {}).get("phase") in _FINISHED
        if finished and kept is None and not pod["metadata"].get("deletionTimestamp"):
            return
        worker = PodWorker(self._parts, pod, self._forget, kept)
        self._workers[worker.uid] = worker
        if pod["metadata"].get("deletionTimestamp"):
            worker.update(pod)
        elif kept is None:
            worker.start()
        elif not finished:
            worker.start_again()

    def _forget(self, worker: PodWorker) -> None:
        self._workers.pop(worker.uid, None)
