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
from stockade.lab.node.access import PodAccess
from stockade.lab.node.ipam import AddressPools
from stockade.lab.node.parts import BuiltinFactory, Events, Gate, Network, NodeFacts, Parts
from stockade.lab.node.pod import PodWorker
from stockade.lab.node.spawner import Spawner

JsonObject = dict[str, Any]
_FINISHED = {"Succeeded", "Failed"}
log = logging.getLogger(__name__)


class Kubelet:
    def __init__(  # noqa: PLR0913 - the node is where the lab's parts meet
        self,
        registry: Registry,
        spawner: Spawner,
        network: Network,
        images: Catalog,
        events: Events,
        gate: Gate,
        *,
        facts: NodeFacts,
        pod_cidrs: Iterable[str],
        builtins: Mapping[str, BuiltinFactory] | None = None,
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
            builtins={} if builtins is None else builtins,
        )
        self._workers: dict[str, PodWorker] = {}
        self._kept: dict[str, tuple[str, ...]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._online = asyncio.Event()
        self._online.set()
        self.runtime = PodAccess(self._parts, self._workers)

    async def start(self) -> None:
        # Four descriptors a pod: the usual soft limit of 1024 would end at 250 pods, a full node.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for directory in ("rootfs", "logs"):
            (self._parts.facts.directory / directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._watching = asyncio.create_task(self._watch(), name="kubelet")

    async def stop(self) -> None:
        """Every pod ends now (SIGKILL), within a second; the registry is left as it is."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
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
