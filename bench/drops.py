"""Measures the drop log: how many logged packets per second are read, counted and attributed in one process, and what is lost.

    sudo .venv/bin/python bench/drops.py [--runs 3] [-o text|json]

A network namespace of its own with one rule that logs every packet without a limit, as no real table does, and drops it. A child process
sends UDP by sendmmsg, at a fixed rate or as fast as it can, from 50 pods to 20 addresses each (1000 kinds of packets); the
parent reads, counts and attributes them with the policies of 5000 pods, as the agent does.
  read/s at N         packets counted per second while N are sent; lost is the percentage of those logged that were not
  CPU us at N         of the reading process for each packet: what one core could do, also when the sender starves it here
  new kind us         to attribute a kind that was never seen (the policies that decide are compiled)
  known kind us       to look up one that was seen
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import json
import os
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from engine import read, world
from rounds import Round, report
from stockade.agent.attribution import View
from stockade.agent.drops import Drops
from stockade.agent.metrics import Counters
from stockade.dataplane.droplog import DropLog
from stockade.dataplane.droptally import record_of
from stockade.kube.backoff import SystemClock
from stockade.policy.compile import compile_state

CLONE_NEWNET = 0x40000000
GROUP, BATCH, SECONDS = 5, 64, 2.0
RATES = (50_000, 100_000, 0)  # 0: as fast as it can
SIZE, SOURCES = (5000, 1000), 50
TABLE = """
table inet bench {{
  chain input {{
    type filter hook input priority 0; policy accept;
    meta l4proto udp log group {group} prefix "stockade|e|{profile}" snaplen 96
    meta l4proto udp drop
  }}
}}
"""
libc = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", Msghdr), ("length", ctypes.c_uint)]


def cluster() -> tuple[View, list[str]]:
    """The world of bench/engine.py, and addresses of 50 of its pods that are isolated for egress."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "world.json"
        path.write_text(json.dumps(world(*SIZE)))
        state = read(path)
    entries = [entry for entry in compile_state(state).pods if entry.egress is not None]
    profiles = {entry.egress.id: entry.egress for entry in entries if entry.egress is not None}
    sources = [entry.pod.ips[0] for entry in entries[:: len(entries) // SOURCES][:SOURCES]]
    return View(state, state, profiles), sources


def own_network(profile: str, sources: list[str]) -> None:
    if libc.unshare(CLONE_NEWNET) != 0:
        raise SystemExit("bench/drops.py needs root: it makes a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    commands = "".join(f"addr add {ip}/32 dev lo\n" for ip in sources) + "addr add 198.18.0.0/16 dev lo\n"
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
    rules = TABLE.format(group=GROUP, profile=profile)
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def messages(index: int) -> ctypes.Array[Mmsghdr]:
    """To 20 addresses and 5 ports, a different part of them for each source."""
    made = (Mmsghdr * BATCH)()
    for at in range(BATCH):
        number = index * BATCH + at
        address = socket.inet_aton(f"198.18.0.{number % 20 + 1}")
        name = struct.pack("=H", socket.AF_INET) + struct.pack("!H", 1000 + number % 5) + address + bytes(8)
        header = made[at].hdr
        header.name, header.namelen = name, len(name)
        header.iov, header.iovlen = ctypes.pointer(Iovec(b"x" * 32, 32)), 1
    return made


def send(sources: list[str], rate: int) -> int:
    """For SECONDS; how many."""
    sockets = []
    for ip in sources:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((ip, 0))
        sockets.append(made)
    batches = [messages(index) for index in range(len(sockets))]
    start, sent, at = time.monotonic(), 0, 0
    while (now := time.monotonic() - start) < SECONDS:
        if rate and sent > rate * now:
            time.sleep(0.0005)
            continue
        index = at % len(sockets)
        sent += libc.sendmmsg(sockets[index].fileno(), batches[index], BATCH, 0)
        at += 1
    return sent


class Silent:
    """Takes what an EventRecorder would post."""

    def __init__(self) -> None:
        self.count = 0

    def record(self, occurrence: object, count: int = 1) -> None:
        del occurrence
        self.count += count


async def flood(view: View, sources: list[str], rate: int) -> Round:
    silent, counters = Silent(), Counters()
    records = DropLog(GROUP)
    drops = Drops(lambda: records, lambda: view, silent, counters, SystemClock())  # type: ignore[arg-type]
    task = asyncio.create_task(drops.run())
    await asyncio.sleep(0.05)
    cpu, start = time.process_time(), time.monotonic()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, struct.pack("=Q", send(sources, rate)))
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    took = time.monotonic() - start
    await asyncio.sleep(0.6)  # what is still in the socket and in the tally
    (sent,) = struct.unpack("=Q", os.read(read_end, 8))
    os.close(read_end)
    os.close(write_end)
    cpu = time.process_time() - cpu
    task.cancel()
    await asyncio.wait({task})
    name = f"{rate // 1000}k" if rate else "full speed"
    counted = sum(counters.drops.values())
    if silent.count != counted:
        raise SystemExit(f"{counted - silent.count} of {counted} drops were not attributed")
    return {
        f"sent/s at {name}": sent / took,
        f"read/s at {name}": counted / took,
        f"lost % at {name}": 100 * (sent - counted) / sent,
        f"CPU us at {name}": 1e6 * cpu / max(counted, 1),
    }


def lookups(view: View, sources: list[str]) -> Round:
    drops = Drops(lambda: DropLog(GROUP), lambda: view, Silent(), Counters(), SystemClock())  # type: ignore[arg-type]
    prefix = f"stockade|e|{next(iter(view.profiles))}\0".encode()
    kinds = []
    for number, ip in enumerate(sources):
        source, to = (int(ipaddress.ip_address(text)) for text in (ip, sources[number - 1]))
        head = struct.pack("!BBHHHBBHIIHH", 0x45, 0, 60, 0, 0, 64, 6, 0, source, to, 40000, 80)
        record = record_of(prefix, head, 0.0)
        assert record is not None
        kinds.append(record)
    drops.take(kinds.pop())  # the index is made
    took = []
    for _ in range(2):
        start = time.process_time()
        for record in kinds:
            drops.take(record)
        took.append(1e6 * (time.process_time() - start) / len(kinds))
    return {"new kind us": took[0], "known kind us": took[1]}


def measure(runs: int) -> list[Round]:
    view, sources = cluster()
    own_network(next(iter(view.profiles)), sources)
    rounds = []
    for _ in range(runs):
        found = lookups(view, sources)
        for rate in RATES:
            found |= asyncio.run(flood(view, sources, rate))
        rounds.append(found)
    return rounds


if __name__ == "__main__":
    report(__doc__, 3, measure, {"read/s at full speed": ">= 50000", "lost % at 50k": "0"})
