# pathlib stays out of pid 1, which is forked for each process of the lab.
"""``/agnhost connect`` without starting an interpreter: the child that the zygote forked is one already.

In: the argv of an exec, in a process that is inside its container with the rights of the container's user. Out: an exit status. Called by ``launch``. A matrix of probes is hundreds of execs, and two shells and a Python are four fifths of what each costs.
Only the built-in stand-in is recognised, by the first lines of its script as the container sees it.

The memory of this process is that of pid 1, where words of other pods may linger: nothing of the container may run in it. So it imports nothing
more (``sys.meta_path`` is emptied), looks names up by itself (the C library would load modules that the container names), and stays closed to
ptrace(2) and /proc (PR_SET_DUMPABLE).
"""

from __future__ import annotations

import os
import sys
from typing import Final

from stockade.lab.images.standins import agnhost_connect
from stockade.lab.node import lookup, syscalls

PROGRAM: Final = "/agnhost"
MARK: Final = b"#!/bin/sh\n# stand-in: connect\n"


def is_program(argv: list[str]) -> bool:
    return argv[:2] == [PROGRAM, "connect"] and _is_ours(PROGRAM)


def run(argv: list[str]) -> int:
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # a change of user has undone it
    syscalls.set_name("agnhost")
    sys.meta_path.clear()
    sys.path_hooks.clear()
    return agnhost_connect.main(argv[2:], lookup.resolve)


def _is_ours(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(fd, len(MARK)) == MARK
    except OSError:
        return False
    finally:
        os.close(fd)
