"""Pid 1 of the lab: forks every process, reaps every process, and ends with the daemon so that the kernel ends the rest.

Comes in: ``run(daemon_main)``, called in a fresh PID (and mount, network) namespace by a single-threaded process that has imported
little. Goes out: the daemon's exit status, as this process's own. Messages: ``wire``. It stays small because each container is a fork
of it, and single-threaded because only then may a process join a mount namespace (setns(2)).

    daemon (first child, asyncio) ── SOCK_SEQPACKET ── zygote ── fork ──► launch.run: isolate, exec
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, Final, NoReturn

from stockade.lab.node import launch, syscalls, wire

_MAX_FDS: Final = 8
_DAEMON_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(daemon_main: Callable[[socket.socket], int]) -> NoReturn:
    """Forks ``daemon_main(socket)`` (its return value is the exit status), then serves it until it ends. /proc must be this
    PID namespace's own (``syscalls.mount_proc``)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.collect()
    gc.freeze()  # fewer pages copied after each fork
    daemon = os.fork()
    if daemon == 0:
        ours.close()
        _run_daemon(daemon_main, theirs)
    theirs.close()
    os._exit(_Zygote(ours, daemon).serve())


def _run_daemon(daemon_main: Callable[[socket.socket], int], channel: socket.socket) -> NoReturn:
    status = 1
    try:
        status = daemon_main(channel)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - forked: unwinding must not reach the caller's frames
        import traceback  # noqa: PLC0415 - a defect of ours, reported where the daemon's log goes

        traceback.print_exception(error)
    finally:
        os._exit(status)


class _Zygote:
    def __init__(self, channel: socket.socket, daemon: int) -> None:
        self._channel = channel
        self._daemon = daemon
        self._children: set[int] = set()
        self._shared: dict[int, int] = {}
        """A pod's first process → its PID namespace."""
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_DAEMON_SIGNALS):
            signal.signal(number, lambda _number, _frame: None)

    def serve(self) -> int:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wakeup_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wakeup_read:
                    status = self._on_signals()
                    if status is not None:
                        return status
                elif not self._on_request():
                    poll.unregister(self._channel)  # the daemon is ending: wait for SIGCHLD

    def _on_signals(self) -> int | None:
        numbers = os.read(self._wakeup_read, 4096)
        for number in _DAEMON_SIGNALS:
            if number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._daemon, number)
        return self._reap()

    def _reap(self) -> int | None:
        """Reports what ended; the daemon's exit status when it was the daemon."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            code = os.waitstatus_to_exitcode(wait_status)
            if pid == self._daemon:
                return code if code >= 0 else 128 - code
            if pid in self._children:
                self._children.discard(pid)
                if pid in self._shared:
                    os.close(self._shared.pop(pid))
                self._send({"exit": pid, "status": code})

    def _on_request(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(
                self._channel, wire.MAX_MESSAGE, _MAX_FDS, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return False
        if not data:
            return False
        try:
            request = json.loads(data)
            if "kill" in request:
                self._kill(request)
            else:
                self._spawn(request, dict(zip(request["fds"], fds, strict=True)))
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _kill(self, request: wire.KillRequest) -> None:
        """Race-free: a child that was not reaped yet keeps its pid."""
        if request["kill"] in self._children:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if request["group"] else os.kill)(request["kill"], request["signal"])

    def _spawn(self, request: wire.SpawnRequest, fds: dict[str, int]) -> None:
        try:
            pid = self._fork(request)
        except OSError as error:
            self._send({"id": request["id"], "error": str(error)})
            return
        if pid == 0:
            try:
                launch.run(request, fds)
            finally:  # whatever happens, the child must not become a second zygote
                os._exit(launch.START_ERROR)
        self._children.add(pid)
        self._send({"id": request["id"], "pid": pid})

    def _fork(self, request: wire.SpawnRequest) -> int:
        """Fork into a new PID namespace (container, pause), another container's (exec, and containers that share), or the lab's own."""
        if request["kind"] == "plain":
            return os.fork()
        if "init" not in request:
            syscalls.unshare(syscalls.CLONE_NEWPID)
        else:
            if request["init"] not in self._children:
                raise OSError(3, "the container does not run any more")
            self._join(request["init"])
        pid = -1
        try:
            pid = os.fork()
            if request["kind"] == "pause" and pid != 0:
                # It lets nobody look into it, and in a user namespace not even us: keep what others are to join.
                self._shared[pid] = os.open("/proc/self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            if pid != 0:  # the next child must not land in this one's namespace
                syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)
        return pid

    def _join(self, init: int) -> None:
        """The next child is born in the PID namespace of that process."""
        target = self._shared.get(init, -1)
        if target >= 0:
            syscalls.setns(target, syscalls.CLONE_NEWPID)
            return
        syscalls.join(init, "pid", syscalls.CLONE_NEWPID)

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self._channel.send(json.dumps(message).encode())
