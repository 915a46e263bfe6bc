"""One container of a pod: its image, its runs, its hooks, its restarts, its end, its status.

In: the container's spec and what the pod gives it (``Place``). Out: ``status`` (a ContainerStatus) and a call of ``changed`` each time
it changed. Called by the pod's worker, for apps, init containers, sidecars and ephemeral containers alike. Restart rules and back-off are the kubelet's: when it next looks the first time, then 10 s doubling
up to 5 min, forgotten after 10 min of running.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from stockade.lab.images.image import Image, ImageError
from stockade.lab.node import command, environment, hooks, names, probes, status
from stockade.lab.node.cgroups import CgroupError, Group
from stockade.lab.node.health import Health, target_of
from stockade.lab.node.logs import ContainerLog
from stockade.lab.node.parts import Netns, Parts
from stockade.lab.node.process import Piped, spawn_piped
from stockade.lab.node.spawner import Command, StartError
from stockade.lab.node.volumes.pod_volumes import PodVolumes
from stockade.lab.node.wire import Mount, Root

JsonObject = dict[str, Any]
START_ERROR: Final = 128
_FIRST_BACKOFF: Final = 10.0
_LONGEST_BACKOFF: Final = 300.0
# A kubelet notices an end within a second (its relist period); `kubectl run --rm` deletes the pod before that, and no second shell starts.
_NOTICED: Final = 1.0
_BRIEF: Final = 0.1  # seconds
_FORGET_AFTER: Final = 600.0
_IMAGE_POLL: Final = 1.0
_USUAL_GRACE: Final = 30.0
_LOG_LINES, _LOG_BYTES = 80, 2048  # of FallbackToLogsOnError


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container runs. ``pod`` returns the newest object; ``netns`` None is the node's network. ``beside`` returns the process whose
    PID namespace a container joins, None for one of its own; it raises ConfigError."""

    parts: Parts
    pod: Callable[[], JsonObject]
    netns: Netns | None
    hostname: str
    volumes: PodVolumes
    beside: Callable[[JsonObject], int | None]
    log_directory: Path
    changed: Callable[[], None]


class _Recipe(msgspec.Struct, frozen=True):
    """What a run is made of."""

    image: Image
    command: Command
    mounts: list[Mount]
    beside: int | None


class Container:
    """``before``: its status when the lab crashed, as ``lab.restore`` left it; then the next run is a restart."""

    def __init__(self, spec: JsonObject, before: JsonObject | None = None) -> None:
        before = before or {}
        self.spec = spec
        self.name: str = spec["name"]
        self.state: JsonObject = before.get("state") or status.waiting("ContainerCreating")
        self.last_state: JsonObject = before.get("lastState") or {}
        self.restarts = int(before.get("restartCount") or 0)
        self.id = str(before.get("containerID") or "")
        self.image_id = str(before.get("imageID") or "")
        self._ran_before = bool(self.last_state) or "terminated" in self.state
        self.log: ContainerLog | None = None
        self.previous_log: ContainerLog | None = None
        self.piped: Piped | None = None
        self.ended: asyncio.Future[int] | None = None
        self.command: Command | None = None
        self.is_sidecar = False
        self.has_started = asyncio.Event()
        """Once: it runs, and its startup probe has succeeded."""
        self._health: Health | None = None
        self._target: probes.Target | None = None
        self._stop_signal: int = signal.SIGTERM
        self._restarting: asyncio.Task[None] | None = None
        self._place: Place | None = None
        self._group: Group | None = None
        self._stopping = asyncio.Event()

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    def status(self, *, is_init: bool = False) -> JsonObject:
        ended = self.state.get("terminated")
        once = is_init and not self.is_sidecar
        ready = bool(ended and ended["exitCode"] == 0) if once else self._is("ready")
        entry = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": ready,
            "restartCount": self.restarts,
            "image": self.spec.get("image", ""),
            "imageID": self.image_id,
            "started": self._is("started"),
        }
        return entry | ({"containerID": self.id} if self.id else {})

    def _is(self, what: str) -> bool:
        return self.is_running and (self._health is None or bool(getattr(self._health, what)))

    def is_over(self, restart_policy: str) -> bool:
        """It ended, for good."""
        ended = self.state.get("terminated")
        if not ended or restart_policy == "Always":
            return False
        return restart_policy == "Never" or ended["exitCode"] == 0

    def wait_for_restart(self) -> None:
        """Once, after a crash of the lab: what it was becomes its last state."""
        if self._ran_before:
            self._ran_before = False
            self.restarts += 1
            if "terminated" in self.state:
                self.last_state = self.state
        self.state = status.waiting("ContainerCreating")

    def recall_logs(self, directory: Path) -> None:
        """The output of the runs before a crash of the lab, as far as it is kept."""
        paths = (self._log_path(directory, self.restarts - age) for age in (0, 1))
        self.log, self.previous_log = (
            ContainerLog(path, ended=True) if path.exists() else None for path in paths
        )

    async def run(self, place: Place, restart_policy: str) -> int:
        """Until it shall not run again; returns the last exit code."""
        if self.is_over(restart_policy):  # before a crash of the lab
            return int(self.state["terminated"]["exitCode"])
        backoff = 0.0
        self._place = place
        while True:
            began = time.monotonic()
            code = await self._run_once(place)
            if (
                self._stopping.is_set()
                or restart_policy == "Never"
                or (restart_policy == "OnFailure" and code == 0)
            ):
                return code
            if time.monotonic() - began > _FORGET_AFTER:
                backoff = 0.0
            if backoff:
                self._wait_before_restart(place, backoff)
            await self._pause(backoff or _NOTICED)
            if self._stopping.is_set():
                return code
            backoff = min(max(2 * backoff, _FIRST_BACKOFF), _LONGEST_BACKOFF)
            self.restarts += 1

    async def stop(self, grace: float) -> None:
        """Ask it to end, and not to start again; returns when it has, by then at the latest."""
        if self._place is not None and self.is_running:
            self._event(self._place, "Normal", "Killing", f"Stopping container {self.name}")
        self._stopping.set()
        await self._end_run(grace)

    async def _end_run(self, grace: float) -> None:
        if self.piped is None or self.ended is None or self.ended.done():
            return
        handler = (self.spec.get("lifecycle") or {}).get("preStop")
        hook = partial(self._pre_stop, handler) if handler and self._target is not None else None
        await hooks.end(self.piped, self.ended, grace, self._stop_signal, hook)

    async def _pre_stop(self, hook: JsonObject) -> None:
        assert self._place is not None
        assert self._target is not None
        try:
            await hooks.run(hook, self._target)
        except hooks.HookError as error:
            self._event(self._place, "Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")

    def kill(self) -> None:
        self._stopping.set()
        if self.piped is not None:
            self.piped.process.kill(signal.SIGKILL)

    def discard_logs(self) -> None:
        for log in (self.log, self.previous_log):
            if log is not None:
                log.delete()

    async def _run_once(self, place: Place) -> int:
        self.id = f"stockade://{secrets.token_hex(32)}"
        recipe = await self._prepare(place)
        if recipe is None:
            return START_ERROR
        self.command = recipe.command
        self._stop_signal = hooks.stop_signal(self.spec, recipe.image.stop_signal)
        self._next_log(place)
        self._event(place, "Normal", "Created", f"Created container: {self.name}")
        try:
            self.piped = await self._start(place, recipe)
        except StartError as error:
            self._event(place, "Warning", "Failed", f"Error: {error}")
            self._leave_group(START_ERROR)
            self._terminated(place, START_ERROR, "1970-01-01T00:00:00Z", "StartError", str(error))
            return START_ERROR
        started_at = status.now()
        self.ended = asyncio.ensure_future(self.piped.wait())
        if self._stopping.is_set():  # told to stop while it started
            self.piped.process.kill(signal.SIGKILL)
        self._event(place, "Normal", "Started", f"Started container {self.name}")
        await self._settle(place, self.piped, self.command)
        if self.spec.get("stdin") and not self.spec.get("tty"):
            # A kubelet sees a container late: one that is over at once was never Running to a client, who would try to attach.
            await asyncio.wait({self.ended}, timeout=_BRIEF)
        if not self.ended.done():
            self._show(place, status.running(started_at))
            self._on_health()
        code = await asyncio.shield(self.ended)
        if self._health is not None:
            self._health.end()
        self._restarting = self._target = None
        reason = self._leave_group(code)
        self._terminated(place, code, started_at, reason, self._last_words(place, code))
        return code

    async def _settle(self, place: Place, piped: Piped, what: Command) -> None:
        """The postStart hook, then the probes; a hook that fails ends the run."""
        assert self.ended is not None
        address = place.netns.address if place.netns is not None else place.parts.facts.address
        pid, node = piped.process.pid, place.parts.network.fd
        self._target = target_of(self.spec, place.parts.spawner, what, pid, address, node)
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if hook is not None:
            hooking = asyncio.ensure_future(hooks.run(hook, self._target))
            both: set[asyncio.Future[Any]] = {hooking, self.ended}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not hooking.done():
                hooking.cancel()
            elif (error := hooking.exception()) is not None:
                self._event(place, "Warning", "FailedPostStartHook", f"PostStartHook failed: {error}")
                self._event(place, "Normal", "Killing", "FailedPostStartHook")
                self._restart(None)
        self._health = Health(self.spec, self._on_health, partial(self._event, place), self._restart)
        if not self.ended.done():
            self._health.watch(self._target)

    def _on_health(self) -> None:
        if self._is("started"):
            self.has_started.set()
        if self._place is not None:
            self._place.changed()

    def _restart(self, grace: float | None) -> None:
        """End this run; what comes then is the restart policy's business."""
        if self._restarting is None:
            usual = _USUAL_GRACE if self._place is None else grace_of(self._place.pod())
            self._restarting = asyncio.create_task(self._end_run(usual if grace is None else float(grace)))

    def _last_words(self, place: Place, code: int) -> str:
        """terminationMessagePath, else the end of the log of a container that failed, where its policy says so."""
        text = place.volumes.take_message(self.name, self.restarts)
        if text or not code or self.log is None:
            return text
        if self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        return self.log.tail(_LOG_LINES, _LOG_BYTES).decode(errors="replace")

    async def _start(self, place: Place, recipe: _Recipe) -> Piped:
        facts, pod = place.parts.facts, place.pod()
        told = self.spec.get("terminationMessagePath") or ""
        last_words = [place.volumes.message_mount(self.name, self.restarts, told)] if told else []
        root: Root = {
            "mountpoint": str(facts.directory / "rootfs"),
            "lower": [recipe.image.root, *recipe.image.below],
            "binds": list(recipe.image.binds),
            "files": names.files(pod, names.hostname(pod, facts.name), facts.cluster_dns, facts.resolv_conf),
            "mounts": [*recipe.mounts, *last_words],
            "read_only": command.has_read_only_root(self.spec),
        }
        netns = (place.netns or place.parts.network).fd
        group = self._enter_group(place)
        spawn = partial(
            place.parts.spawner.spawn_container,
            recipe.command,
            root=root,
            hostname=place.hostname,
            netns=netns,
            cgroups=group.tasks,
            beside=recipe.beside,
        )
        stdin, tty = bool(self.spec.get("stdin")), bool(self.spec.get("tty"))
        assert self.log is not None
        with contextlib.ExitStack() as lines:
            program = recipe.command.program
            feed = lines.enter_context(place.parts.feeds[program]()) if program else None
            return await spawn_piped(spawn, stdin=stdin, tty=tty, on_output=self.log.write, feed=feed)

    def _enter_group(self, place: Place) -> Group:
        """Raises StartError."""
        try:
            self._group = place.parts.cgroups.enter(place.pod()["metadata"]["uid"], self.name, self.spec)
        except CgroupError as error:
            raise StartError(str(error)) from error
        if self._group.problem and not self.restarts:
            self._event(place, "Warning", "LimitsNotApplied", self._group.problem)
        return self._group

    def _leave_group(self, code: int) -> str:
        """The reason of the end that the kernel gave, if any."""
        group, self._group = self._group, None
        return group.leave(code) if group is not None else ""

    async def _prepare(self, place: Place) -> _Recipe | None:
        """Image, command and mounts; waits (and says so in the status) while either is not to be had. None: told to stop meanwhile."""
        told: tuple[str, str] | None = None
        while not self._stopping.is_set():
            try:
                image = place.parts.images.resolve(self.spec.get("image", ""))
                recipe = self._recipe(place, image)
            except (ImageError, environment.ConfigError) as error:
                reason = error.reason if isinstance(error, ImageError) else "CreateContainerConfigError"
                if told != (reason, str(error)):
                    told = (reason, str(error))
                    self._tell_waiting(place, reason, str(error))
                await self._pause(_IMAGE_POLL)
                if reason == "ErrImagePull":
                    self._show(place, status.waiting("ImagePullBackOff", f"Back-off pulling image: {error}"))
                continue
            self.image_id = image.id
            present = f'Container image "{self.spec.get("image", "")}" already present on machine'
            self._event(place, "Normal", "Pulled", f"{present} ({image.note})" if image.note else present)
            return recipe
        return None

    def _recipe(self, place: Place, image: Image) -> _Recipe:
        """Raises ConfigError."""
        pod = place.pod()
        declared = environment.declared(self.spec, pod, place.parts.registry)
        what = command.build(self.spec, pod, image, place.hostname, declared)
        return _Recipe(image, what, place.volumes.mounts(self.spec, declared), place.beside(self.spec))

    def _tell_waiting(self, place: Place, reason: str, message: str) -> None:
        is_config = reason == "CreateContainerConfigError"
        self._event(
            place, "Warning", "Failed", f"Error: {message}" if is_config else f"Error: {reason}: {message}"
        )
        if reason == "ErrImagePull":
            self._event(place, "Normal", "BackOff", f'Back-off pulling image "{self.spec.get("image", "")}"')
        self._show(place, status.waiting(reason, message))

    def _next_log(self, place: Place) -> None:
        if self.previous_log is not None:
            self.previous_log.delete()
        self.previous_log = self.log
        self.log = ContainerLog(self._log_path(place.log_directory, self.restarts))

    def _log_path(self, directory: Path, run: int) -> Path:
        return directory / f"{self.name}.{run}.log"

    def _wait_before_restart(self, place: Place, seconds: float) -> None:
        meta = place.pod()["metadata"]
        pod = f"{meta['name']}_{meta['namespace']}({meta.get('uid', '')})"
        self._event(
            place, "Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod {pod}"
        )
        message = f"back-off {seconds:g}s restarting failed container={self.name} pod={pod}"
        self.last_state = self.state
        self._show(place, status.waiting("CrashLoopBackOff", message))

    def _terminated(
        self, place: Place, code: int, started_at: str, reason: str = "", message: str = ""
    ) -> None:
        if self.log is not None:
            self.log.close()
        if "terminated" in self.state:
            self.last_state = self.state
        self._show(place, status.terminated(code, started_at, self.id, reason, message))

    def _show(self, place: Place, state: JsonObject) -> None:
        if "running" in state and "terminated" in self.state:
            self.last_state = self.state
        self.state = state
        place.changed()

    def _event(self, place: Place, kind: str, reason: str, message: str) -> None:
        place.parts.events.event(place.pod(), kind, reason, message, f"spec.containers{{{self.name}}}")

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def grace_of(pod: JsonObject) -> float:
    """terminationGracePeriodSeconds."""
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return _USUAL_GRACE if grace is None else float(grace)
