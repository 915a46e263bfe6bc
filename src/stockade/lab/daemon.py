"""The lab's process, from ``stockade up`` to the daemon proper.

    stockade up ──► this module: bind the API socket on the host's 127.0.0.1, take the lab's lock,
                    unshare user (when not root), then network + mount + IPC + PID, fork
                        └─► pid 1 of the new PID namespace: the zygote (spawns and reaps everything)
                                ├─► the daemon proper: one asyncio process (lab.cluster)
                                ├─► stockade agent
                                └─► the pods' containers
Nothing of it outlives pid 1: the kernel ends every process of the PID namespace, and the namespaces end with the last process.

In: ``python -m stockade.lab.daemon NAME PORT READY_FD NODES FAMILIES [AGENT OPTION...]`` (families: ``dual`` or ``ipv4``). Out: one JSON line on READY_FD,
``{"server", "nodes", "note"}`` or ``{"error"}``.
This module is imported by pid 1, which lives as long as the lab: it imports little.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import socket
import sys
from collections.abc import Iterator

from stockade.lab import user_namespace
from stockade.lab.node import syscalls, zygote
from stockade.lab.paths import LabPaths, take_lock, write_private
from stockade.lab.settings import Settings, write

BACKLOG = 128
IN_CHROOT = (
    "this is a chroot, which could not hold the lab's pods; run it on the machine itself or in a container"
)
FD_LIMIT = 65536


def main(arguments: list[str]) -> int:
    """Runs on the host, in the session of its own that ``up`` gave it; ends as soon as pid 1 exists."""
    name, port, ready = arguments[0], int(arguments[1]), int(arguments[2])
    os.umask(0o077)
    # Memory holds tokens and keys, and a container's crash is nothing for the host's crash handler: 1 byte is the limit that stops a piped dump, too.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    os.closerange(3, ready)  # nothing else that was inherited may reach pid 1 and, through it, containers
    os.closerange(ready + 1, FD_LIMIT)
    paths = LabPaths.of(name)
    lock = take_lock(paths.lock)
    if lock is None:
        return _fail(ready, f"a lab named {name!r} is already running")
    try:
        listener = _listen(port)
    except OSError as error:
        what = (
            "is already in use; choose another --port"
            if error.errno == errno.EADDRINUSE
            else f"failed: {error}"
        )
        return _fail(ready, f"port {port} of 127.0.0.1 {what}")
    write(paths, Settings(int(arguments[3]), arguments[4], listener.getsockname()[1], arguments[5:]))
    if refused := _leave_namespaces():
        return _fail(ready, refused)
    child = os.fork()
    if child:
        write_private(paths.pid, f"{child}\n")
        return 0
    try:
        syscalls.mount_proc()
    except OSError as error:
        from stockade.lab import refusals  # noqa: PLC0415 - pid 1 has no use for it

        return _fail(ready, refusals.no_proc(error))
    return zygote.run(lambda spawner: _daemon(paths, listener, spawner, ready, arguments[3:]))


def _leave_namespaces() -> str:
    """Why not, in words; empty when this process is in namespaces of its own."""
    unprivileged = not user_namespace.is_privileged()
    try:
        if unprivileged:
            user_namespace.enter()
        syscalls.unshare(syscalls.CLONE_NEWNS)
        if _in_chroot():
            return IN_CHROOT
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC)
        syscalls.make_private()
    except user_namespace.UserNamespaceError as error:
        return str(error)
    except OSError as error:
        if unprivileged:
            from stockade.lab import refusals  # noqa: PLC0415

            return refusals.no_rights(error, uid=user_namespace.OUTER_UID)
        return f"this machine does not let the lab make its namespaces: {error}"
    return ""


def _in_chroot() -> bool:
    """Joining one's own mount namespace leads to its real root. Where that is another directory than "/", a pod could get there, too:
    root in a container may call chroot, and only a root that is the whole namespace's holds it."""
    before = os.stat("/")  # noqa: PTH116 - pathlib stays out of pid 1
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            syscalls.setns(own, syscalls.CLONE_NEWNS)
            after = os.stat("/")  # noqa: PTH116
            status = int((before.st_dev, before.st_ino) != (after.st_dev, after.st_ino))
        finally:
            os._exit(status)
    os.close(own)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _listen(port: int) -> socket.socket:
    """Bound before the namespaces change, so it stays on the host's loopback."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener


def _daemon(
    paths: LabPaths, listener: socket.socket, spawner: socket.socket, ready: int, rest: list[str]
) -> int:
    """The zygote's first child. Everything heavy is imported here, after the fork."""
    with _no_system_certificates():
        from stockade.lab.cluster import run  # noqa: PLC0415 - keeps pid 1 small
        from stockade.lab.topology import plan  # noqa: PLC0415

    def tell(answer: dict[str, str]) -> None:
        os.write(ready, json.dumps(answer).encode() + b"\n")
        os.close(ready)

    nodes, families, *agent_options = rest
    topology = plan(paths.name, int(nodes), ipv6=families == "dual")
    return run(paths, topology, listener, spawner, tell, agent_options)


@contextlib.contextmanager
def _no_system_certificates() -> Iterator[None]:
    """aiohttp reads all of them while it is imported, for requests that the lab never makes; ``up`` would wait for that."""
    before = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ.update(dict.fromkeys(before, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _fail(ready: int, message: str) -> int:
    os.write(ready, json.dumps({"error": message}).encode() + b"\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
