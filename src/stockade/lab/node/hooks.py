"""Lifecycle hooks of a container: postStart and preStop.

In: a handler of the spec, and the way to the container (``probes.Target``). Out: HookError with what failed. Called by ``container``. Rules:
Kubernetes API, LifecycleHandler v1 core; a preStop hook uses up the grace period, but 2 s are left for the signal after it. What a server answers
to an httpGet hook does not matter, only that it answers.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

from stockade.lab.node import probes
from stockade.lab.node.process import Piped

JsonObject = dict[str, Any]
Hook = Callable[[], Awaitable[None]]
_LEAST: Final = 2.0  # seconds


class HookError(Exception):
    """The hook failed; the text is an event's."""


async def run(handler: JsonObject, target: probes.Target) -> None:
    """Until it is done, however long that takes. Raises HookError."""
    if handler.get("exec"):
        argv = handler["exec"].get("command") or []
        code, output = await target.execute(argv)
        if code:
            raise HookError(f"command '{' '.join(argv)}' exited with {code}: {output.strip()}")
    elif handler.get("httpGet"):
        try:
            await probes.http_status(handler["httpGet"], target)
        except (OSError, ValueError) as error:
            raise HookError(str(error)) from error
    elif handler.get("sleep"):
        await asyncio.sleep(float(handler["sleep"].get("seconds") or 0))
    else:
        raise HookError("invalid handler: exec, httpGet and sleep are supported")


async def end(piped: Piped, ended: asyncio.Future[int], grace: float, number: int, hook: Hook | None) -> None:
    """``hook``, the stop signal, patience, SIGKILL; returns when the process is gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    if hook is not None and grace > 0:
        hooking = asyncio.ensure_future(hook())
        both: set[asyncio.Future[Any]] = {hooking, ended}
        await asyncio.wait(both, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        hooking.cancel()
    if grace > 0:
        piped.process.kill(number)
        left = deadline - loop.time()
        await asyncio.wait({ended}, timeout=left if hook is None else max(left, _LEAST))
    piped.process.kill(signal.SIGKILL)
    await asyncio.wait({ended})


def stop_signal(container: JsonObject, image: str) -> int:
    """Of the container's lifecycle, else of its image (``SIGQUIT``, ``QUIT``, ``3``, ``SIGRTMIN+3``), else SIGTERM."""
    name = str((container.get("lifecycle") or {}).get("stopSignal") or image).upper()
    if name.isdecimal():
        number = int(name)
    else:
        base, _, more = name.removeprefix("SIG").partition("+")
        known = signal.Signals.__members__.get(f"SIG{base}", signal.SIGTERM)
        number = known + (int(more) if more.isdecimal() else 0)
    return number if 0 < number <= signal.SIGRTMAX else signal.SIGTERM
