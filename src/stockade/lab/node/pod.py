"""One pod of this node, from its binding to its removal: network, gate, containers, status, end.

In: the pod object and its later versions. Out: its status in the registry, and at the end its removal. Called by ``kubelet``.

    volumes ─► address + netns ─► status.podIP ─► gate: rules in the kernel ─► init containers ─► containers ─► Succeeded/Failed
    (missing: event, again)       (no answer: event, again)                    and sidecars       │
    deletionTimestamp ─► preStop, SIGTERM ─► grace ─► SIGKILL ─► netns closed ─► removed ◄────────┘
No process of the pod starts before the gate answered (rule 50). Sidecars start in their order, beside what comes after them, and end in the
opposite one, after all others (KEP-753). Ephemeral containers come when the pod runs, and count for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from stockade.lab.apiserver.registry import ApiError
from stockade.lab.node import command, names, status
from stockade.lab.node.container import Container, Place, grace_of
from stockade.lab.node.environment import ConfigError
from stockade.lab.node.netns import made_aside
from stockade.lab.node.parts import Netns, Parts
from stockade.lab.node.spawner import Process
from stockade.lab.node.volumes.pod_sources import PodSources
from stockade.lab.node.volumes.pod_volumes import PodVolumes, VolumeError

JsonObject = dict[str, Any]
log = logging.getLogger(__name__)
_IGNORED = ("volumeDevices",)
_IGNORED_OF_POD = ("hostPID", "hostIPC")
_MOUNT_BACKOFF, _LONGEST_MOUNT_BACKOFF = 0.5, 122.0  # seconds, of a kubelet
_DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


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
        self.ephemerals: list[Container] = []
        self._sidecars = [c for c in self.inits if c.spec.get("restartPolicy") == "Always"]
        for container in self._sidecars:
            container.is_sidecar = True
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
        self._beside_the_pod: set[asyncio.Task[int]] = set()
        """Runs of sidecars and ephemeral containers."""
        self._pause: Process | None = None
        self._failed: tuple[str, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._look_again = asyncio.Event()
        directory = str(parts.facts.directory / "volumes" / self.uid)
        self._volumes = PodVolumes(directory, pod, PodSources(parts, lambda: self._pod))

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
        before, self._pod = self._pod, pod
        meta = pod["metadata"]
        if any(meta.get(field) != before["metadata"].get(field) for field in ("labels", "annotations")):
            self._volumes.refresh(pod, labels=True)
        if meta.get("deletionTimestamp"):
            self.terminate(meta.get("deletionGracePeriodSeconds"))
            return
        self._start_ephemerals()
        self._watch_deadline()
        if _gates(pod) != _gates(before):
            self._publish()

    def on_source(self, resource: str, name: str) -> None:
        """A configmap or secret of the pod's namespace is another than before."""
        if self._volumes.refers_to(resource, name):
            self._look_again.set()
            self._volumes.refresh(self._pod)

    def renew_tokens(self) -> None:
        self._volumes.refresh(self._pod)

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
        self._kill()
        if self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._life
        await asyncio.gather(*(c.ended for c in self._all() if c.ended is not None), return_exceptions=True)
        self._close_network()
        self._volumes.close()

    def mute(self) -> None:
        """The node is cut off: no status, and no removal, reaches the API."""
        self._audible.clear()

    def unmute(self) -> None:
        self._audible.set()
        self._publish()

    def find(self, name: str) -> Container | None:
        return next((container for container in self._all() if container.name == name), None)

    def _all(self) -> list[Container]:
        return [*self.inits, *self.containers, *self.ephemerals]

    def _kill(self) -> None:
        for container in self._all():
            container.kill()
        if self._pause is not None:
            self._pause.kill(signal.SIGKILL)

    async def _live(self) -> None:
        try:
            place = await self._make_place()
            self._start_ephemerals()
            self._watch_deadline()
            if await self._initialize(place):
                await asyncio.gather(*(container.run(place, self._policy) for container in self.containers))
            if self._terminating is None:
                await self._stop_beside(grace_of(self._pod))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("pod %s/%s", self.namespace, self.name)
            self._parts.events.event(self._pod, "Warning", "FailedSync", f"error: {error}")
            self._kill()
        if self._beside_the_pod:
            await asyncio.wait(self._beside_the_pod)
        if self._pause is not None:
            self._pause.kill(signal.SIGKILL)
        if self._deadline is not None:
            self._deadline.cancel()
        self._publish_now()
        self._close_network()

    async def _initialize(self, place: Place) -> bool:
        """Init containers, one after the other; False: the pod failed (or is being deleted)."""
        for container in self.inits:
            if container.is_sidecar:
                started = asyncio.ensure_future(container.has_started.wait())
                running = self._run_beside(container, place, "Always")
                await asyncio.wait({started, running}, return_when=asyncio.FIRST_COMPLETED)
                started.cancel()
                code = 0
            else:
                code = await container.run(place, "Never" if self._policy == "Never" else "OnFailure")
            if code != 0 or self._is_ending:
                return False
        return True

    @property
    def _is_ending(self) -> bool:
        return self._terminating is not None or self._failed is not None

    def _run_beside(self, container: Container, place: Place, policy: str) -> asyncio.Task[int]:
        task = asyncio.create_task(container.run(place, policy))
        self._beside_the_pod.add(task)
        task.add_done_callback(self._beside_the_pod.discard)
        return task

    def _start_ephemerals(self) -> None:
        """Those that came by ``kubectl debug`` since we looked."""
        place, known = self._place, {container.name for container in self.ephemerals}
        if place is None or self._is_ending or self._life is None or self._life.done():
            return
        for spec in self._pod["spec"].get("ephemeralContainers") or []:
            if spec["name"] not in known:
                container = Container(spec)
                self.ephemerals.append(container)
                self._warn_of_what_is_left_out([container])
                self._run_beside(container, place, "Never")
                self._publish()

    async def _stop_beside(self, grace: float) -> None:
        """Ephemeral containers, then sidecars, the last one first."""
        until = asyncio.get_running_loop().time() + grace
        await asyncio.gather(*(container.stop(grace) for container in self.ephemerals))
        for container in reversed(self._sidecars):
            await container.stop(max(0.0, until - asyncio.get_running_loop().time()))

    async def _stop(self, grace: float) -> None:
        """Everything, in order, within ``grace``."""
        until = asyncio.get_running_loop().time() + grace
        first = [*(c for c in self.inits if not c.is_sidecar), *self.containers, *self.ephemerals]
        await asyncio.gather(*(container.stop(grace) for container in first))
        await self._stop_beside(max(0.0, until - asyncio.get_running_loop().time()))

    def _watch_deadline(self) -> None:
        """activeDeadlineSeconds counts from the pod's start, and may be shortened."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        seconds = self._pod["spec"].get("activeDeadlineSeconds")
        if seconds is not None and self._place is not None and not self._is_ending:
            began = datetime.fromisoformat(self._start_time)
            left = float(seconds) - (datetime.now(UTC) - began).total_seconds()
            self._deadline = asyncio.get_running_loop().call_later(max(left, 0.0), self._on_deadline)

    def _on_deadline(self) -> None:
        if not self._is_ending:
            self._failed = _DEADLINE
            self._parts.events.event(self._pod, "Normal", *_DEADLINE)
            self._publish()
            self._stopping = asyncio.create_task(self._stop(grace_of(self._pod)))

    async def _make_place(self) -> Place:
        """Volumes, network and rules; tries for ever, telling why it failed, until it works or the pod is deleted."""
        facts = self._parts.facts
        await self._mount_volumes()
        while True:
            try:
                if not self.on_host_network:
                    await self._make_network(facts.gate_timeout)
                hostname = names.kernel_hostname(self._pod, names.hostname(self._pod, facts.name))
                if self._pod["spec"].get("shareProcessNamespace"):
                    await self._make_shared_processes()
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the pod waits and the user reads why
                self._parts.events.event(
                    self._pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}"
                )
                await asyncio.sleep(facts.retry_seconds)
        self._place = Place(
            parts=self._parts,
            pod=lambda: self._pod,
            netns=self.netns,
            hostname=hostname,
            volumes=self._volumes,
            beside=self._beside,
            log_directory=self._log_directory,
            changed=self._publish,
        )
        ignored = [field for field in _IGNORED_OF_POD if self._pod["spec"].get(field)]
        self._warn_of_what_is_left_out(self._all(), ignored)
        return self._place

    async def _mount_volumes(self) -> None:
        """As soon as what they show is there; until then the pod is Pending, and says why."""
        delay = _MOUNT_BACKOFF
        while True:
            try:
                self._volumes.set_up(self._pod)
            except VolumeError as error:
                self._parts.events.event(self._pod, "Warning", "FailedMount", str(error))
                self._tell_waiting(str(error))
            else:
                if delay != _MOUNT_BACKOFF:
                    self._tell_waiting("")
                return
            self._look_again.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._look_again.wait()
            delay = min(2 * delay, _LONGEST_MOUNT_BACKOFF)

    def _tell_waiting(self, why: str) -> None:
        for container in [*self.inits, *self.containers]:
            if waiting := container.state.get("waiting"):
                container.state = status.waiting(waiting["reason"], why)
        self._publish()

    async def _make_shared_processes(self) -> None:
        if self._pause is None:
            netns = (self.netns or self._parts.network).fd
            mountpoint = str(self._parts.facts.directory / "rootfs")
            self._pause = await self._parts.spawner.spawn_pause(mountpoint=mountpoint, netns=netns)

    def _beside(self, container: JsonObject) -> int | None:
        """shareProcessNamespace, or an ephemeral container's target. Raises ConfigError."""
        if self._pause is not None:
            return self._pause.pid
        target = container.get("targetContainerName")
        if not target:
            return None
        found = self.find(target)
        if found is None or found.piped is None or not found.is_running:
            raise ConfigError(f'target container "{target}" is not running')
        return found.piped.process.pid

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

    def _warn_of_what_is_left_out(self, containers: Iterable[Container], of_pod: Iterable[str] = ()) -> None:
        """Fields that the lab stores but does not act on are said once, where the user looks first."""
        specs = [container.spec for container in containers]
        fields = {field for spec in specs for field in _IGNORED if spec.get(field)}
        ignored = sorted(fields.union(of_pod, *(command.withheld(spec) for spec in specs)))
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
        life = self._life
        if life is not None and self._place is None:
            life.cancel()  # still waiting for volumes, network or gate: no process to be patient with
        else:
            await self._stop(grace)
        self._kill()
        if life is not None:
            await asyncio.wait([life])
        self._close_network()
        self._volumes.close()
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
        ephemeral = [container.status() for container in self.ephemerals]
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
                ephemeral=ephemeral,
                failed=self._failed,
            )

        with contextlib.suppress(ApiError, _ReplacedError):
            self._pod = self._parts.registry.mutate("pods", self.namespace, self.name, change, "status")


def _by_name(statuses: list[JsonObject] | None) -> dict[str, JsonObject]:
    return {entry["name"]: entry for entry in statuses or []}


def _gates(pod: JsonObject) -> list[str | None]:
    """What the readiness gates say, which others write."""
    wanted = {gate.get("conditionType") for gate in pod["spec"].get("readinessGates") or []}
    held = pod.get("status", {}).get("conditions") or []
    return [entry.get("status") for entry in held if entry["type"] in wanted] if wanted else []
