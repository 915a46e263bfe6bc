"""One pod of this node, from its binding to its removal: network, gate, containers, status, end.

In: the pod object and its later versions. Out: its status in the registry, and at the end its removal. Called by ``kubelet``.

    address + netns ─► status.podIP ─► gate: rules in the kernel ─► init containers ─► containers ─► Succeeded/Failed
                                       (no answer: event, again)                        │
    deletionTimestamp ─► SIGTERM ─► grace ─► SIGKILL ─► netns closed ─► removed ◄───────┘
No process of the pod starts before the gate answered (rule 50).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

from stockade.lab.apiserver.registry import ApiError
from stockade.lab.node import command, status
from stockade.lab.node.container import Container, Place
from stockade.lab.node.netns import made_aside
from stockade.lab.node.parts import Netns, Parts

JsonObject = dict[str, Any]
log = logging.getLogger(__name__)
_IGNORED = ("lifecycle", "volumeDevices")


class _ReplacedError(Exception):
    """Another pod has this name now."""


class PodWorker:
    """``kept``: the pod's addresses from before a crash of the lab, reserved for it; its status is believed then, too."""

    def __init__(
        self,
        parts: Parts,
        pod: JsonObject,
        gone: Callable[[PodWorker], None],
        kept: tuple[str, ...] | None = None,
    ) -> None:
        self._parts = parts
        self._gone = gone
        self._pod = pod
        meta, spec = pod["metadata"], pod["spec"]
        self.namespace: str = meta["namespace"]
        self.name: str = meta["name"]
        self.uid: str = meta["uid"]
        held: JsonObject = (pod.get("status") or {}) if kept is not None else {}
        before = _by_name(held.get("initContainerStatuses")) | _by_name(held.get("containerStatuses"))
        self.inits = [Container(c, before.get(c["name"])) for c in spec.get("initContainers") or []]
        self.containers = [Container(c, before.get(c["name"])) for c in spec.get("containers") or []]
        self._log_directory = parts.facts.directory / "logs" / f"{self.namespace}_{self.name}_{self.uid}"
        for container in self._all() if kept is not None else ():
            container.recall_logs(self._log_directory)
        if self.inits and not before:
            for container in self.containers:
                container.state = status.waiting("PodInitializing")
        self.netns: Netns | None = None
        self._addresses: tuple[str, ...] = kept or ()
        self._start_time = str(held.get("startTime") or status.now())
        self._policy: str = spec.get("restartPolicy") or "Always"
        self._publishing = False
        self._audible = asyncio.Event()
        self._audible.set()
        self._terminating: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None
        self._place: Place | None = None

    @property
    def on_host_network(self) -> bool:
        return bool(self._pod["spec"].get("hostNetwork"))

    def start_again(self) -> None:
        """After a crash of the lab: what had not ended for good is to run again, and all that prepares it."""
        told = "Pod sandbox changed, it will be killed and re-created."
        if any(container.id for container in self._all()):
            self._parts.events.event(self._pod, "Normal", "SandboxChanged", told)
        for container in self._all():
            if container in self.inits or not container.is_over(self._policy):
                container.wait_for_restart()
        self.start()

    def start(self) -> None:
        self._life = asyncio.create_task(self._live(), name=f"pod {self.namespace}/{self.name}")

    def update(self, pod: JsonObject) -> None:
        """A newer version of the object."""
        self._pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self.terminate(pod["metadata"].get("deletionGracePeriodSeconds"))

    def terminate(self, grace: float | None) -> None:
        """Once; a later, shorter grace period cuts the wait short."""
        seconds = 30.0 if grace is None else float(grace)
        if self._terminating is None:
            self._terminating = asyncio.create_task(self._terminate(seconds))
        elif seconds == 0:
            for container in self._all():
                container.kill()

    async def kill(self) -> None:
        """The node shuts down: end every process now, tell nobody."""
        for container in self._all():
            container.kill()
        if self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._life
        await asyncio.gather(*(c.ended for c in self._all() if c.ended is not None), return_exceptions=True)
        self._close_network()

    def mute(self) -> None:
        """The node is cut off: no status, and no removal, reaches the API."""
        self._audible.clear()

    def unmute(self) -> None:
        self._audible.set()
        self._publish()

    def find(self, name: str) -> Container | None:
        return next((container for container in self._all() if container.name == name), None)

    def _all(self) -> list[Container]:
        return [*self.inits, *self.containers]

    async def _live(self) -> None:
        try:
            place = await self._make_place()
            if await self._initialize(place):
                await asyncio.gather(*(container.run(place, self._policy) for container in self.containers))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("pod %s/%s", self.namespace, self.name)
            self._parts.events.event(self._pod, "Warning", "FailedSync", f"error: {error}")
            for container in self._all():
                container.kill()
        self._publish_now()
        self._close_network()

    async def _initialize(self, place: Place) -> bool:
        """Init containers, one after the other; False: the pod failed (or is being deleted)."""
        for container in self.inits:
            policy = "Never" if self._policy == "Never" else "OnFailure"
            code = await container.run(place, policy)
            if code != 0 or self._terminating is not None:
                return False
        return True

    async def _make_place(self) -> Place:
        """Network and rules; tries for ever, telling why it failed, until it works or the pod is deleted."""
        facts = self._parts.facts
        while True:
            try:
                if not self.on_host_network:
                    await self._make_network(facts.gate_timeout)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the pod waits and the user reads why
                self._parts.events.event(
                    self._pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}"
                )
                await asyncio.sleep(facts.retry_seconds)
        hostname = command.hostname(self._pod, facts.name)
        self._place = Place(
            parts=self._parts,
            pod=lambda: self._pod,
            netns=self.netns,
            hostname=hostname,
            log_directory=self._log_directory,
            changed=self._publish,
        )
        self._warn_of_what_is_left_out()
        return self._place

    async def _make_network(self, gate_timeout: float) -> None:
        if not self._addresses:
            self._addresses = self._parts.addresses.allocate()
        if self.netns is None:
            name = f"{self.namespace}/{self.name}"
            create = partial(self._parts.network.create, name, *self._addresses)
            self.netns = await made_aside(create, lambda made: made.close())
            self._publish_now()
        # The agent learns of all addresses at once, and programs them in one transaction: asking for the first is asking for all.
        address = self._addresses[0]
        await self._parts.gate.wait(self.namespace, self.name, self.uid, address, timeout=gate_timeout)

    def _warn_of_what_is_left_out(self) -> None:
        """Fields that the lab stores but does not act on are said once, where the user looks first."""
        specs = [container.spec for container in self._all()]
        volumes = sorted({mount["name"] for spec in specs for mount in spec.get("volumeMounts") or []})
        ignored = sorted({field for spec in specs for field in _IGNORED if spec.get(field)})
        if volumes:
            text = f"volumes are not mounted in the lab: {', '.join(volumes)}"
            self._parts.events.event(self._pod, "Warning", "FailedMount", text)
        if ignored:
            text = f"not acted upon in the lab: {', '.join(ignored)}"
            self._parts.events.event(self._pod, "Warning", "Unsupported", text)

    def _close_network(self) -> None:
        if self.netns is not None:
            self.netns.close()
            self.netns = None
        addresses, self._addresses = self._addresses, ()
        self._parts.addresses.release(addresses)

    async def _terminate(self, grace: float) -> None:
        for container in self._all():
            if container.is_running:
                text = f"Stopping container {container.name}"
                self._parts.events.event(
                    self._pod, "Normal", "Killing", text, f"spec.containers{{{container.name}}}"
                )
            container.stop()
        life = self._life
        if life is not None and self._place is None:
            life.cancel()  # still waiting for network or gate: no process to be patient with
        elif life is not None:
            await asyncio.wait([life], timeout=grace)
            for container in self._all():
                container.kill()
        if life is not None:
            await asyncio.wait([life])
        self._close_network()
        for container in self._all():
            container.discard_logs()
        shutil.rmtree(self._log_directory, ignore_errors=True)
        await self._audible.wait()
        with contextlib.suppress(ApiError):
            self._parts.registry.remove("pods", self.namespace, self.name, self.uid)
        self._gone(self)

    def _publish(self) -> None:
        """Several changes in one turn of the event loop become one write."""
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_soon(self._publish_now)

    def _publish_now(self) -> None:
        self._publishing = False
        if not self._audible.is_set():
            return
        apps = [container.status() for container in self.containers]
        inits = [container.status(is_init=True) for container in self.inits]
        facts = self._parts.facts

        def change(pod: JsonObject) -> None:
            if pod["metadata"]["uid"] != self.uid:
                raise _ReplacedError
            pod["status"] = status.pod_status(
                pod,
                apps,
                inits,
                pod_ips=facts.addresses if self.on_host_network else self._addresses,
                host_ips=facts.addresses,
                has_network=self.on_host_network or self.netns is not None,
                start_time=self._start_time,
            )

        with contextlib.suppress(ApiError, _ReplacedError):
            self._pod = self._parts.registry.mutate("pods", self.namespace, self.name, change, "status")


def _by_name(statuses: list[JsonObject] | None) -> dict[str, JsonObject]:
    return {entry["name"]: entry for entry in statuses or []}
