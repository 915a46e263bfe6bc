# ruff: noqa: PLC0415, T201
# The daemon imports after the fork, as in the lab.
"""Run one coroutine of a test file as the daemon below a zygote, in namespaces of its own: ``pid1.py FILE FUNCTION DIRECTORY``.

Exit status 0: the coroutine returned. Everything it started ends with it, because the kernel ends the PID namespace.
"""

from __future__ import annotations

import os
import socket
import sys

from stockade.lab.node import syscalls, zygote


def daemon(channel: socket.socket) -> int:
    import asyncio
    import importlib.util
    from pathlib import Path

    path, function, directory = sys.argv[1:4]
    spec = importlib.util.spec_from_file_location("scenario", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scenario"] = module
    spec.loader.exec_module(module)
    sys.path.insert(0, str(Path(__file__).parent))
    from fakes import Lab

    async def run() -> None:
        lab = Lab(channel, Path(directory))
        await lab.start()
        async with asyncio.timeout(60):
            await getattr(module, function)(lab)

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET)
    child = os.fork()
    if child == 0:
        syscalls.make_private()
        syscalls.mount_proc()
        zygote.run(daemon)
    print("zygote", child, flush=True)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
