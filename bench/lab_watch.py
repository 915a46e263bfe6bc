"""Many watchers of one resource: how long until the last of them has the last event, and how late each event is.

The watchers live in a process of their own (this file run as a program), which reads bytes and counts lines, so that the server is what is
measured. Out: seconds, milliseconds. Called by ``lab.py``.

    lab_watch.py KUBECONFIG WATCHERS EVENTS     "ready" when all watch, then {"last": time, "late": [seconds …]}
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from labs import Api, cost
from stockade.kube.config import load
from stockade.lab.paths import LabPaths

MAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = 200
WRITERS = 4
STAMP = re.compile(rb'"stamp":"([0-9.]+)"')


async def fan_out(paths: LabPaths, watchers: int, *, stuck: int = 0) -> dict[str, float]:
    """``stuck``: so many more watchers that never read."""
    name = f"{watchers} watchers" + (f", {stuck} stuck" if stuck else "")
    stuck_sockets = [await _open(paths.kubeconfig, read=False) for _ in range(stuck)]
    arguments = [sys.executable, __file__, str(paths.kubeconfig), str(watchers), str(EVENTS)]
    client = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE, limit=2**24)
    assert client.stdout is not None
    async with Api(paths.kubeconfig, connections=WRITERS) as api:
        assert await client.stdout.readline() == b"ready\n"
        before = cost(paths)
        started = time.time()
        numbers = iter(range(EVENTS))
        await asyncio.gather(*(_write_all(api, f"m{started:.6f}", numbers) for _ in range(WRITERS)))
        written = time.time()
        told = json.loads(await client.stdout.readline())
        after = cost(paths)
        await client.wait()
        await asyncio.gather(*(api.delete(f"{MAPS}/m{started:.6f}-{number}") for number in range(EVENTS)))
    for _, writer in stuck_sockets:
        writer.transport.abort()
    late = sorted(told["late"])
    return {
        f"{name} s": told["last"] - started,
        f"{name}: written s": written - started,
        f"{name}: late p50 ms": 1000 * late[len(late) // 2],
        f"{name}: late p99 ms": 1000 * late[len(late) * 99 // 100],
        f"{name}: daemon cpu s": after.daemon_cpu - before.daemon_cpu,
    }


async def _write_all(api: Api, prefix: str, numbers: Iterator[int]) -> None:
    """Each about 1.5 kB as an event, with the time when it was sent."""
    for number in numbers:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{prefix}-{number}", "labels": {"app": "bench"}},
            "data": {"stamp": f"{time.time():.6f}", "text": "x" * 1000},
        }
        await api.post(MAPS, body)


async def _open(kubeconfig: Path, *, read: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    access = load(kubeconfig)
    at = urlsplit(access.server)
    tls = ssl.create_default_context(cadata=access.ca.decode())
    reader, writer = await asyncio.open_connection(at.hostname, at.port, ssl=tls)
    request = (
        f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {access.token}\r\n\r\n"
    )
    writer.write(request.encode())
    await reader.readuntil(b"\r\n\r\n")
    if not read:
        writer.transport.pause_reading()
    return reader, writer


async def _watch(kubeconfig: Path, events: int, opened: asyncio.Queue[None], late: list[float]) -> float:
    reader, writer = await _open(kubeconfig)
    opened.put_nowait(None)
    seen, rest = 0, b""
    while seen < events:
        data = await reader.read(2**18)
        assert data, "the server ended the watch"
        now = time.time()
        data = rest + data
        whole = data.rfind(b"\n") + 1
        stamps = STAMP.findall(data, 0, whole)
        rest = data[whole:]
        seen += len(stamps)
        late += [now - float(stamp) for stamp in stamps]
    writer.transport.abort()
    return time.time()


async def _watch_all(kubeconfig: Path, watchers: int, events: int) -> None:
    opened: asyncio.Queue[None] = asyncio.Queue()
    late: list[float] = []
    tasks = [asyncio.create_task(_watch(kubeconfig, events, opened, late)) for _ in range(watchers)]
    for _ in tasks:
        await opened.get()
    await asyncio.sleep(0.2)
    late.clear()  # of what was there before
    print("ready", flush=True)
    last = max(await asyncio.gather(*tasks))
    print(json.dumps({"last": last, "late": late}), flush=True)


if __name__ == "__main__":
    asyncio.run(_watch_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
