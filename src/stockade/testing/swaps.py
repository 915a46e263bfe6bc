"""Rules that change all the time and mean the same for one stream of packets. ``python -m stockade.testing.swaps --packets 300000``

Between changes an allow rule is replaced by an equivalent one, pods get other labels and so other profiles, other policies and pods come and
go, the agent is replaced, generations are raised; on request transactions fail. Whatever the order, CLIENT may reach OPEN of SERVER and nobody else may (see
``streams``): a packet lost or leaked is an open or closed moment. Needs root. Exit status 1 when there was one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import msgspec

from stockade.dataplane.programmer import Programmer
from stockade.model.meta import View
from stockade.model.objects import Pod
from stockade.store.state import PODS, ClusterState
from stockade.testing.build import namespace, node, pod, policy
from stockade.testing.driven import Done, DrivenNode, Unreliable, backend
from stockade.testing.fabric import Fabric, addresses
from stockade.testing.namespaces import Namespaces, missing
from stockade.testing.placing import views
from stockade.testing.strategies import NODES
from stockade.testing.streams import CLIENT, OPEN, SERVER, STRANGER, Counts, Stream

Json = Any
NODE = "node-1"
BYSTANDERS = (STRANGER, 7)
_UDP = {"port": OPEN, "protocol": "UDP"}
_RANGE = {"port": OPEN - 1, "endPort": OPEN, "protocol": "UDP"}
_NAMED = {"port": "www", "protocol": "UDP"}
_MANY = [{"port": number, "protocol": "TCP"} for number in range(2000, 2060)]


def _selector(*names: str) -> Json:
    return {"matchExpressions": [{"key": "app", "operator": "In", "values": list(names)}]}


def _peers(place: int, name: str) -> list[list[Json]]:
    """Ways to say "this pod and nobody else"."""
    v4, v6 = addresses(place)
    return [
        [{"podSelector": {"matchLabels": {"app": name}}}],
        [{"podSelector": _selector(name, "nobody"), "namespaceSelector": {}}],
        [{"ipBlock": {"cidr": f"{v4}/32"}}, {"ipBlock": {"cidr": f"{v6}/128"}}],
        [{"podSelector": _selector("nobody")}, {"podSelector": {"matchLabels": {"app": name}}}],
    ]


class Worlds:
    """Random worlds in which the stream's packets are always allowed or always denied."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last: ClusterState | None = None

    def next(self) -> ClusterState:
        """Often the last one with a pod more or less: no change of policies, and with a pod more nothing stricter."""
        if self._last is None or self._random.random() < 0.6:
            self._last = self._anew()
        else:
            self._last = self._with_a_pod_changed(self._last)
        return self._last

    def _with_a_pod_changed(self, state: ClusterState) -> ClusterState:
        each = self._bystander(self._random.choice(BYSTANDERS))
        others = {ref: pod for ref, pod in state.pods.items() if ref != each.ref}
        return state.replacing({PODS: others if each.ref in state.pods else {**others, each.ref: each}})

    def _bystander(self, place: int) -> Pod:
        labels = {"app": f"b{place}", "tier": self._random.choice("xy")}
        return pod(f"b{place}", labels, *addresses(place), on=NODE)

    def _anew(self) -> ClusterState:
        random = self._random
        tier = random.choice("xy")
        objects: list[View] = [node(NODE, *NODES[NODE]), namespace("default")]
        objects.append(pod("client", {"app": "client", "tier": tier}, *addresses(CLIENT), on=NODE))
        ports = [{"name": "www", "containerPort": OPEN, "protocol": "UDP"}]
        objects.append(
            pod("server", {"app": "server", "tier": tier}, *addresses(SERVER), on=NODE, ports=ports)
        )
        objects += [self._bystander(place) for place in BYSTANDERS if random.random() < 0.7]
        objects += self._policies(tier)
        return ClusterState.of(objects)

    def _policies(self, tier: str) -> list[View]:
        random = self._random
        made: list[View] = [self._allow("client", "egress"), self._allow("server", "ingress")]
        if random.random() < 0.4:  # the same said twice, under another name
            made.append(self._allow("client", "egress", "again"))
        if random.random() < 0.4:
            made.append(self._allow("server", "ingress", "again"))
        if random.random() < 0.5:  # isolates whoever has this tier, and allows something else
            spec = {"podSelector": {"matchLabels": {"tier": tier}}, "policyTypes": ["Ingress", "Egress"]}
            other = [{"ports": random.sample(_MANY, random.randint(1, 3))}]
            made.append(policy("tier", {**spec, "ingress": other, "egress": other}))
        if random.random() < 0.2:  # so long that the profile is folded
            spec = {"podSelector": {}, "policyTypes": ["Egress"]}
            to = [{"podSelector": _selector("nobody")}]
            made.append(policy("many", {**spec, "egress": [{"to": to, "ports": [port]} for port in _MANY]}))
        return made

    def _allow(self, name: str, direction: str, suffix: str = "allow") -> View:
        random = self._random
        place, other = (SERVER, "server") if direction == "egress" else (CLIENT, "client")
        peers = random.choice(_peers(place, other))
        port = random.choice([_UDP, _RANGE, _NAMED])
        rule = {"to" if direction == "egress" else "from": peers, "ports": [port]}
        subject = random.choice([{"matchLabels": {"app": name}}, _selector(name, "nobody")])
        types = [direction.capitalize()]
        return policy(f"{name}-{suffix}", {"podSelector": subject, "policyTypes": types, direction: [rule]})


class Swaps:
    """One node whose rules change at random. ``restarts``: how often the agent is replaced; ``failures``: how often its programmer fails."""

    def __init__(
        self,
        fabric: Fabric,
        programmer: Callable[[], Programmer],
        random: Random,
        *,
        restarts: float = 0.05,
        failures: float = 0.0,
    ) -> None:
        self._random = random
        self._restarts = restarts
        self._worlds = Worlds(random)
        self._programmer = programmer
        self._faulty: list[Unreliable] = []
        self._failures = 0.0
        self.node = DrivenNode(fabric.full(NODE), views()[NODE], self._make, random)
        self.node.go_to(self._worlds.next())
        self._failures = failures

    def _make(self) -> Programmer:
        made = Unreliable(self._programmer(), self._random, self._failures)
        self._faulty.append(made)
        return made

    @property
    def failures(self) -> int:
        return sum(each.failures for each in self._faulty)

    def change(self) -> None:
        """One random change, in pieces. One that fails leaves the old rules, which are as good."""
        if self._random.random() < self._restarts:
            self.node.restart()
        self.node.go_to(self._worlds.next(), pieces=self._random.choice((1, 1, 2, 5)))

    def settle(self) -> None:
        """No more failures: what is wanted is in force."""
        for each in self._faulty:
            each.share = 0.0
        self.node.settle()


class Result(msgspec.Struct, frozen=True):
    """``failures``: of the programmer, on purpose."""

    counts: Counts
    done: Done
    failures: int


def run(
    packets: int,
    changes: int,
    *,
    luck: int = 0,
    failures: float = 0.0,
    programmer: Callable[[], Programmer] = lambda: backend("netlink"),
    finish: Callable[[Swaps], None] = Swaps.settle,
) -> Result:
    """Until at least so many packets were sent and changes made; then ``finish``, still under packets."""
    with Namespaces() as spaces:
        fabric = Fabric(spaces)
        fabric.build()
        swaps = Swaps(fabric, programmer, Random(luck), failures=failures)  # noqa: S311 - no secret
        with Stream(fabric) as stream:
            while stream.alive and (stream.counts.sent < packets or swaps.node.done.changes < changes):
                swaps.change()
            finish(swaps)
        return Result(stream.counts, swaps.node.done, swaps.failures)


def line(result: Result) -> str:
    counts, done = result.counts, result.done
    return (
        f"{counts.sent} packets ({counts.allowed} allowed, {counts.denied} denied) during {done.changes} changes of the rules "
        f"({done.bumps} stricter, {done.patches} of pods only, {done.whole} of the whole table), {done.restarts} new agents, "
        f"{result.failures} failures: {counts.lost} lost, {counts.leaked} leaked"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=300_000, help="at least so many")
    parser.add_argument("--changes", type=int, default=1000, help="and at least so many changes of the rules")
    parser.add_argument(
        "--failures", type=float, default=0.0, help="share of the programmer's calls that fail"
    )
    parser.add_argument("--backend", choices=("netlink", "nft"), default="netlink")
    parser.add_argument("--luck", type=int, default=0, help="seed")
    options = parser.parse_args()
    if lacking := missing():
        parser.error(f"needs {lacking}")
    started = time.monotonic()
    programmer = partial(backend, options.backend)
    result = run(
        options.packets, options.changes, luck=options.luck, failures=options.failures, programmer=programmer
    )
    sys.stdout.write(f"{line(result)}; seed {options.luck}, {time.monotonic() - started:.0f} s\n")
    return 1 if result.counts.lost or result.counts.leaked else 0


if __name__ == "__main__":
    sys.exit(main())
