"""One lab of two nodes for Services and DNS, and the pods that ask and answer there."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator

import pytest
from tests.lab.recipe.conftest import NEW_KUBECTL, Lab, _run

from stockade.lab.outside import NoAnswerError, fetch
from stockade.lab.paths import LabPaths

PODS = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}, one: {name}}}}}
spec:
  nodeName: {node}
  {more}
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: agnhost
    args: [netexec, --http-port={port}, --udp-port={udp}]
    ports: [{{name: web, containerPort: {port}}}]
---
"""


class Cluster:
    """The lab, with short words for what the tests do again and again."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.nodes = [f"{lab.name}-node-{number}" for number in (1, 2)]

    def pod(
        self, name: str, node: int, app: str = "web", port: int = 8080, more: str = "", udp: int = 8081
    ) -> str:
        values = {
            "name": name,
            "node": self.nodes[node - 1],
            "app": app,
            "port": port,
            "more": more,
            "udp": udp,
        }
        return PODS.format(**values)

    def sh(self, pod: str, script: str) -> str:
        """Standard output of a script in a pod, whatever its exit status; what failed says so there."""
        done = self.lab.try_kubectl("exec", pod, "--", "sh", "-c", f"exec 2>&1; {script}")
        return done.stdout

    def fetched(self, pod: str, *urls: str, times: int = 1) -> list[str]:
        """The page of each URL, or ``refused``, ``timeout`` …"""
        quoted = " ".join(shlex.quote(url) for url in urls for _ in range(times))
        script = f"for url in {quoted}; do curl -gsS -m 1 $url; echo; done"
        return [_short(line) for line in self.sh(pod, script).splitlines() if line]

    def outside(self, url: str) -> str:
        try:
            return fetch(self.lab.paths, url, 0.7).page.strip()
        except NoAnswerError as error:
            return str(error)

    def service(self, name: str, **spec: object) -> dict:
        """Made, and with its EndpointSlices and load balancer written."""
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "web"}], **spec}
        spec = {key: value for key, value in spec.items() if value is not None}
        made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        self.lab.apply(json.dumps(made))
        self.until(lambda: self._is_served(name))
        return self.lab.get("service", name)

    def _is_served(self, name: str) -> bool:
        if self.lab.get("service", name)["spec"].get("type") != "LoadBalancer":
            return True
        return bool(self.lab.get("service", name)["status"]["loadBalancer"].get("ingress"))

    def until(self, condition: Callable[[], object], seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.05)

    @property
    def paths(self) -> LabPaths:
        return self.lab.paths


def _short(line: str) -> str:
    for words, short in (
        ("Couldn't connect", "refused"),
        ("refused", "refused"),
        ("timed out", "timeout"),
        ("timeout", "timeout"),
    ):
        if line.startswith("curl:") and words in line:
            return short
    return line


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("curl") is None:
        pytest.skip("needs curl: the pods have it where this machine has it")
    with contextlib.contextmanager(_run)(tmp_path_factory.mktemp("lab"), NEW_KUBECTL, "--nodes", "2") as lab:
        cluster = Cluster(lab)
        manifest = cluster.pod("a", 1) + cluster.pod("b", 2) + cluster.pod("client", 1, "client")
        manifest += cluster.pod("host", 1, "host", 8088, "hostNetwork: true", 8089)
        lab.apply(manifest)
        lab.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
        yield cluster
