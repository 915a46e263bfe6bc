"""Measures the engine: how many connections it judges per second, what size costs, and how long a user waits for an answer.

    .venv/bin/python bench/engine.py [--runs 5] [-o text|json]

What is measured, in one process on one core; medians of interleaved rounds:
  flows/s            ``evaluate`` with its whole proof, random pairs of 1000 pods under 200 policies; also allowed and denied apart,
                     without the reasons of denials (all-pairs questions), and with all of them in five namespaces (dense)
  flows/s at P x N   the same at other sizes: cost against pods and against policies
  read, compile      a JSON List of 10 000 pods and 1000 policies, as ``kubectl get -o json`` prints it, to objects and to profiles
  first answer       file to first verdict at that size: read, state, compile, evaluate
  check, explain     the commands for the recipe, with the start of the interpreter

All is one thread that only computes, so CPU time is measured: what a user waits on an idle machine, also when this one is not.
The world: namespaces of twenty pods with four of eight roles; policies pick a role and list peers by role, by team of the namespace and by
block, ports by number, range and name. Two out of three pods are isolated in each direction.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rounds import Round, report
from stockade.lab.demo.recipes.deny_egress import ALLOW_DNS
from stockade.manifests.load import load
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import AddressEndpoint, Flow, PodEndpoint
from stockade.store.state import ClusterState

BIN = Path(sys.executable).parent
SIZE, DENSE, LARGE = (1000, 200), (1000, 200, 5), (10_000, 1000)  # pods, policies, namespaces
OTHER_SIZES = [(1000, 50), (1000, 800), (250, 200), (4000, 200), LARGE]
FLOWS = 20_000
ROLES = ["web", "api", "db", "cache", "queue", "batch", "auth", "log"]
TEAMS = ["red", "green", "blue"]
PORTS = [80, 443, 5432, 6379, 8080, 9090]
RECIPE = """
{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: [{name: c, image: nginx}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: test, labels: {app: foo}}, spec: {containers: [{name: c, image: alpine}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
"""
Json = dict


def world(pods: int, policies: int, spaces: int = 0, seed: int = 1) -> Json:
    """A v1 List."""
    rng = random.Random(seed)
    spaces = spaces or max(1, pods // 20)
    items = [namespace(number) for number in range(spaces)]
    items += [pod(number, number % spaces, rng) for number in range(pods)]
    items += [policy(number, number % spaces, rng) for number in range(policies)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def namespace(number: int) -> Json:
    labels = {"team": TEAMS[number % len(TEAMS)]}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns-{number}", "labels": labels}}


def pod(number: int, space: int, rng: random.Random) -> Json:
    role = ROLES[number % len(ROLES)]
    port = {"name": "main", "containerPort": rng.choice(PORTS), "protocol": "TCP"}
    address = f"10.{64 + number // 65536}.{number // 256 % 256}.{number % 256}"
    node = number % 50
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{role}-{number}",
            "namespace": f"ns-{space}",
            "labels": {"app": role, "version": f"v{number % 3}"},
        },
        "spec": {
            "nodeName": f"node-{node}",
            "containers": [{"name": "main", "image": "example", "ports": [port]}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": address}], "hostIP": f"172.30.0.{node + 1}"},
    }


def policy(number: int, space: int, rng: random.Random) -> Json:
    subject = {} if number % 10 == 0 else {"matchLabels": {"app": rng.choice(ROLES)}}
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"policy-{number}", "namespace": f"ns-{space}"},
        "spec": {
            "podSelector": subject,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [rule("from", rng) for _ in range(2)],
            "egress": [dns, *(rule("to", rng) for _ in range(2))],
        },
    }


def rule(field: str, rng: random.Random) -> Json:
    ports: list[Json] = [{"port": port} for port in rng.sample(PORTS, 2)]
    ports.append(
        rng.choice([{"port": "main"}, {"port": 8000, "endPort": 9000}, {"port": 53, "protocol": "UDP"}])
    )
    return {field: [peer(rng) for _ in range(2)], "ports": ports}


def peer(rng: random.Random) -> Json:
    roles = {"matchExpressions": [{"key": "app", "operator": "In", "values": rng.sample(ROLES, 3)}]}
    teams = {"matchLabels": {"team": rng.choice(TEAMS)}}
    third = rng.randrange(4)
    block = {"cidr": f"10.64.{third}.0/24", "except": [f"10.64.{third}.0/28"]}
    return rng.choice(
        [
            {"podSelector": roles},
            {"namespaceSelector": teams},
            {"namespaceSelector": teams, "podSelector": roles},
            {"ipBlock": block},
        ]
    )


def read(path: Path) -> ClusterState:
    loaded = load([str(path)])
    assert not loaded.has_errors, loaded.diagnostics[0]
    return ClusterState.of(item.view for item in loaded.objects if item.view is not None)


def flows(compiled: CompiledPolicies, count: int, seed: int = 2) -> list[Flow]:
    """Nine of ten between pods, the others to or from a host outside."""
    rng = random.Random(seed)
    ends = [PodEndpoint(entry.ref) for entry in compiled.pods]
    outside = [AddressEndpoint(4, 0x0A400000 + n * 97, "outside") for n in range(50)]
    result = []
    for number in range(count):
        pair = [rng.choice(ends), rng.choice(ends)]
        if number % 10 == 0:
            pair[rng.randrange(2)] = rng.choice(outside)
        protocol = "UDP" if number % 7 == 0 else "TCP"
        result.append(Flow(pair[0], pair[1], protocol, 53 if protocol == "UDP" else rng.choice(PORTS)))
    return result


def rate(compiled: CompiledPolicies, asked: list[Flow], *, misses: bool = True) -> float:
    started = time.process_time()
    for flow in asked:
        evaluate(compiled, flow, misses=misses)
    return len(asked) / (time.process_time() - started)


class Bench:
    """The worlds are made and written once; rounds read, compile and ask."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = {size: self._write(size) for size in [SIZE, DENSE, *OTHER_SIZES]}
        self.recipe = directory / "recipe.yaml"
        self.recipe.write_text(RECIPE + ALLOW_DNS)

    def _write(self, size: tuple[int, ...]) -> Path:
        path = self.directory / f"{'x'.join(map(str, size))}.json"
        path.write_text(json.dumps(world(*size), indent=4))
        return path

    def round(self) -> dict[str, float]:
        result = dict(self._rates())
        result |= self._large()
        for verb in ("check", "explain"):
            result[f"{verb} s"] = self._command(verb)
        return result

    def _rates(self) -> Iterator[tuple[str, float]]:
        compiled = compile_state(read(self.files[SIZE]))
        asked = flows(compiled, FLOWS)
        yield "flows/s", rate(compiled, asked)
        verdicts = [evaluate(compiled, flow).allowed for flow in asked]
        yield "  allowed", rate(compiled, [f for f, yes in zip(asked, verdicts, strict=True) if yes])
        yield "  denied", rate(compiled, [f for f, yes in zip(asked, verdicts, strict=True) if not yes])
        yield "  share denied %", 100 * verdicts.count(False) / len(verdicts)
        yield "  yes or no only", rate(compiled, asked, misses=False)
        compiled = compile_state(read(self.files[DENSE]))
        yield "  dense", rate(compiled, flows(compiled, FLOWS // 2))
        yield "  dense, yes or no", rate(compiled, flows(compiled, FLOWS // 2), misses=False)
        for size in OTHER_SIZES:
            compiled = compile_state(read(self.files[size]))
            yield "flows/s at {} x {}".format(*size), rate(compiled, flows(compiled, FLOWS // 2))

    def _large(self) -> dict[str, float]:
        started = time.process_time()
        state = read(self.files[LARGE])
        loaded = time.process_time()
        compiled = compile_state(state)
        done = time.process_time()
        evaluate(compiled, flows(compiled, 1)[0])
        total = time.process_time() - started
        return {"read s": loaded - started, "compile s": done - loaded, "first answer s": total}

    def _command(self, verb: str) -> float:
        command = [str(BIN / "stockade"), verb, "pod/test", "http://web:80", "-f", str(self.recipe)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


AIMS = {"flows/s": ">= 20000", "first answer s": "< 5", "check s": "< 0.4", "explain s": "< 0.4"}


def measure(runs: int) -> list[Round]:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        return [bench.round() for _ in range(runs)]


if __name__ == "__main__":
    report(__doc__, 5, measure, AIMS)
