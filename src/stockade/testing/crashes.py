"""Kills a lab again and again while it is written to: ``python -m stockade.testing.crashes --kills 1000``.

Each round: ``stockade up`` (which must work); everything acknowledged, or seen on a watch, must be there with its uid and value, revisions must
go on, pods must run again; then writes, and in the middle of them ``kill -9`` of the lab's first process, of the daemon, of an agent, or
of a lab that is just starting. After each kill the host must be as it was: no process, mount, link, namespace, nft table, socket, nor any
cgroup but those that the next start removes.
Output: progress on stderr; then the counts, and the first differences. Exit status 1 on any. Needs what a lab needs (root, nft).
The seed names the choices (whom, when, which writes), not the timing: a repeated seed is a similar run, not the same.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import msgspec

from stockade.lab.node.cgroups import read_record
from stockade.lab.paths import LabPaths, is_running
from stockade.lab.processes import agents, first_process, is_first
from stockade.testing.ledger import Ledger
from stockade.testing.load import Load, RefusedError, new_ledgers

FIRST, DAEMON, AGENT, STARTING = "first process", "daemon", "agent", "while starting"
TARGETS = (FIRST, DAEMON, DAEMON, AGENT, STARTING)
WRITERS = 4
OURS = re.compile(r"stockade|\bveth\d{4}\b|\boutside0\b|\buplink\b|\b10\.(244|96)\.")
UP = [sys.executable, "-m", "stockade.cli.main", "up"]
DOWN = [sys.executable, "-m", "stockade.cli.main", "down"]


class Result(msgspec.Struct):
    """``wrong``: what must not be, in words."""

    kills: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[str] = msgspec.field(default_factory=list)
    watches: Counter[str] = msgspec.field(default_factory=Counter)
    acknowledged: int = 0
    starts: list[float] = msgspec.field(default_factory=list)

    @property
    def of_lab(self) -> int:
        """Kills that ended a lab; an agent's end does not."""
        return self.kills.total() - self.kills[AGENT]


class Crashes:
    """One lab and its ledgers."""

    def __init__(self, paths: LabPaths, seed: int, nodes: int = 1) -> None:
        self._paths = paths
        self._random = Random(seed)  # noqa: S311 - no secret
        self._nodes = nodes
        self._ledgers: dict[str, Ledger] = new_ledgers()
        self._host = host_state(self._paths.name)
        self.result = Result()

    def run(self, kills: int, seconds: float) -> Result:
        """Until so many labs were killed, or something is wrong, or time is up; the lab is gone afterwards."""
        end = time.monotonic() + seconds
        try:
            while self.result.of_lab < kills and time.monotonic() < end and not self.result.wrong:
                self._round(self._random.choice(TARGETS))
                _progress(self.result)
            if not self.result.wrong:
                self._up()
                self._say(asyncio.run(self._compare(pods=True)))
        finally:
            down = subprocess.run([*DOWN, "--name", self._paths.name], capture_output=True, check=False)
        if down.returncode or self._paths.directory.exists() or self._paths.starting.exists():
            self._say([f"down left something: {down.stderr.decode()}"])
        self._check_host()
        self.result.acknowledged = sum(ledger.acknowledged for ledger in self._ledgers.values())
        return self.result

    def _round(self, target: str) -> None:
        if target == STARTING:
            self._kill_while_starting()
            return
        self._up()
        pods = self.result.kills.total() % 10 == 0
        self._say(asyncio.run(self._compare(pods=pods)))
        if not self.result.wrong:
            asyncio.run(self._kill_under_load(target))
        if target != AGENT:
            self._wait_for_the_end()

    def _up(self) -> None:
        started = time.monotonic()
        command = [*UP, "--name", self._paths.name, "--nodes", str(self._nodes), "--timeout", "120"]
        was_running = is_running(self._paths)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            log = self._paths.log.read_text()[-2000:] if self._paths.log.exists() else ""
            self._say([f"up: {done.stderr}\n{log}"])
        elif not was_running:
            self.result.starts.append(time.monotonic() - started)

    async def _compare(self, *, pods: bool) -> list[str]:
        if self.result.wrong:
            return []
        async with Load(self._paths.kubeconfig, self._ledgers, self._random) as load:
            wrong = await load.compare()
            self.result.watches += load.watches
            return wrong + (await load.pods_running(30.0) if pods else [])

    async def _kill_under_load(self, target: str) -> None:
        async with Load(self._paths.kubeconfig, self._ledgers, self._random) as load:
            running = asyncio.create_task(load.run(WRITERS))
            await asyncio.wait([running], timeout=self._random.uniform(0.0, 0.8))
            self._kill(target)
            if target == AGENT:
                await asyncio.wait([running], timeout=0.3)
                load.stopping = True
            try:
                await asyncio.wait_for(running, 30)
            except* RefusedError:
                pass
            except* TimeoutError:
                self._say(["connections of clients stay open after the end of the lab"])
            self._say(load.refused)

    def _kill(self, target: str) -> None:
        first = first_process(self._paths)
        victim = first
        if first is not None and target == DAEMON:
            victim = _first_child(first)
        elif target == AGENT:
            found = agents(self._paths)
            victim = self._random.choice(found).pid if found else None
        if victim is None:  # an agent that was killed a moment ago is not there yet
            return
        os.kill(victim, signal.SIGKILL)
        self.result.kills[target] += 1

    def _kill_while_starting(self) -> None:
        """The lab's first process, as early as it is there; ``up`` must say so in one line."""
        if is_running(self._paths):
            self._kill(FIRST)
            self._wait_for_the_end()
        command = [*UP, "--name", self._paths.name, "--nodes", str(self._nodes)]
        up = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(self._random.uniform(0.2, 1.5))
        first = first_process(self._paths) if is_running(self._paths) else None
        if first is not None and not is_first(first):  # still the process that starts it
            first = None
        if first is not None:
            os.kill(first, signal.SIGKILL)
            self.result.kills[STARTING] += 1
        said = up.communicate()[1]
        if "Traceback" in said or (up.returncode and said.count("\n") != 1):
            self._say([f"up, killed while starting: {said}"])
        if first is not None:
            self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        """The kernel ends the rest by itself, soon."""
        end = time.monotonic() + 10
        while (is_running(self._paths) or _processes(self._paths.name)) and time.monotonic() < end:
            time.sleep(0.01)
        if left := _processes(self._paths.name):
            self._say([f"processes stay: {left}"])
        self._check_host()

    def _check_host(self) -> None:
        """A lab that was killed leaves empty cgroups, and its next start or ``down`` takes away what it wrote down of them."""
        now = host_state(self._paths.name)
        written = tuple(read_record(self._paths.cgroups).directories)
        groups = [line for line in now["cgroups"].splitlines() if not (written and line.startswith(written))]
        now["cgroups"] = "\n".join(groups)
        self._say(
            [
                f"on the host, {key}: {self._host[key]} became {now[key]}"
                for key in now
                if now[key] != self._host[key]
            ]
        )

    def _say(self, wrong: list[str]) -> None:
        self.result.wrong += wrong


def host_state(lab: str) -> dict[str, str]:
    """What a lab could leave on the host outside its own directory, by the names that it uses: others may work here, too."""

    def run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    found = {
        "links": run("ip", "-o", "link", "show"),
        "routes": run("ip", "route", "show", "table", "all"),
        "nft tables": run("nft", "list", "tables"),
    }
    seen = {key: [line for line in text.splitlines() if OURS.search(line)] for key, text in found.items()}
    named = {
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "namespaces": run("ip", "netns", "list").splitlines(),
        "sockets": Path("/proc/net/unix").read_text().splitlines(),
        "cgroups": sorted(
            place for place, _, _ in os.walk("/sys/fs/cgroup")
        ),  # others' come and go meanwhile
    }
    seen |= {key: [line for line in lines if lab in line] for key, lines in named.items()}
    return {key: "\n".join(lines) for key, lines in seen.items()}


def _first_child(pid: int) -> int | None:
    """The daemon: the zygote forks it before anything else."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _processes(name: str) -> list[str]:
    """Command lines that name the lab, but not those of ``up`` and ``down``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(word == name or f"/{name}/" in word or word.startswith(f"{name}-node-") for word in words):
                found.append(" ".join(words))
    return found


def _progress(result: Result) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(result.kills.items()))
    sys.stderr.write(f"\r{result.of_lab} labs killed ({kinds}), {len(result.wrong)} wrong ")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000, help="so many labs killed; agents besides")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="or stop after so long")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        paths = LabPaths.of(f"crash-{os.getpid()}")
        result = Crashes(paths, options.seed, options.nodes).run(options.kills, options.seconds)
    sys.stderr.write("\n")
    sys.stdout.write("\n".join(report(result)) + f"\nin {time.monotonic() - started:.0f} s\n")
    return 1 if result.wrong else 0


def report(result: Result) -> list[str]:
    starts = sorted(result.starts) or [0.0]
    return [
        f"{result.of_lab} labs killed, {result.acknowledged} writes acknowledged, {len(result.wrong)} things wrong",
        *(f"  {count:6} {kind}" for kind, count in sorted(result.kills.items())),
        *(f"  {count:6} times a watch from before {what}" for what, count in sorted(result.watches.items())),
        f"starts: median {starts[len(starts) // 2]:.2f} s, longest {starts[-1]:.2f} s",
        *result.wrong[:5],
    ]


if __name__ == "__main__":
    sys.exit(main())
