"""What the fixtures give to a test: one namespace, and everything that a test of policies does in it.

In: a Cluster. Out: a Stockade. Called by the plugin. Objects are applied as by ``kubectl apply --server-side --force-conflicts``; a pod is
given back when it is Ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stockade.analysis.assertions import ALLOWED, DENIED, Assertion
from stockade.kube import apply as objects
from stockade.kube.client import ApiClient
from stockade.kube.errors import KubeError
from stockade.kube.exec import execute
from stockade.kube.resources import NAMESPACES, PODS
from stockade.model.meta import ObjectRef
from stockade.pytest.cluster import Cluster, StockadeError
from stockade.pytest.objects import Given, JsonObject, objects_of
from stockade.pytest.trial import Result, Trial, try_it

MANAGER = "stockade-pytest"
READY_SECONDS = 60.0
TRY_SECONDS = 1
"""To connect. Enough: an attempt that is slower than that is repeated for ``settle`` before it counts as denied."""
_PAUSE = 0.03


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that was Ready. Wherever a reference is wanted (from, to), the pod itself may stand."""

    name: str
    namespace: str
    ip: str
    ips: tuple[str, ...]
    node: str
    cluster: Cluster

    def __str__(self) -> str:
        return f"{self.namespace}:pod/{self.name}"

    def __repr__(self) -> str:
        return f"<Pod {self} {self.ip}>"

    def exec(self, *command: str, container: str = "", timeout: float = 30.0, check: bool = True) -> str:
        """Standard output and standard error of a command. Raises StockadeError when it fails, unless ``check`` is false."""

        async def run(client: ApiClient) -> tuple[int, str]:
            name = container or await self._container(client)
            done = await execute(client, ObjectRef(self.namespace, self.name), name, command, seconds=timeout)
            return done.code, done.output

        try:
            code, output = self.cluster.ask(run)
        except TimeoutError:
            raise StockadeError(f"{' '.join(command)} in {self} took longer than {timeout:g} s") from None
        if code and check:
            raise StockadeError(f"{' '.join(command)} in {self} ended with status {code}: {output.strip()}")
        return output

    async def _container(self, client: ApiClient) -> str:
        found = await client.get(PODS, self.namespace, self.name)
        return str(found["spec"]["containers"][0]["name"])


class Stockade:
    """One namespace. References are those of ``stockade check``; without a namespace they are in this one."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"<Stockade {self.namespace}>"

    # Objects

    def apply(self, *given: Given) -> list[JsonObject]:
        """Files, directories, YAML, mappings, Structs. Returns the objects as stored."""
        wanted = [obj for each in given for obj in objects_of(each)]

        async def run(client: ApiClient) -> list[JsonObject]:
            return [await objects.apply(client, obj, self.namespace, MANAGER) for obj in wanted]

        return self.cluster.ask(run)

    def delete(self, *given: Given | Pod) -> None:
        """The objects that ``apply`` made of the same, or a Pod. Returns when they are gone."""
        wanted = [
            obj for each in given for obj in ([_of_pod(each)] if isinstance(each, Pod) else objects_of(each))
        ]

        async def run(client: ApiClient) -> None:
            for obj in wanted:
                await objects.delete(client, obj, self.namespace)

        self.cluster.ask(run)

    def run(
        self,
        name: str,
        image: str = "alpine",
        *command: str,
        labels: Mapping[str, str] | None = None,
        port: int | None = None,
        expose: bool = False,
        env: Mapping[str, str] | None = None,
        timeout: float = READY_SECONDS,
        **spec: Any,
    ) -> Pod:
        """A pod of one container that is Ready. Labels: ``app: NAME`` unless given; ``spec`` are fields of its spec (``nodeName``). ``expose``: and a
        Service of the same name on ``port``. Without a command, an image that would end at once (alpine, busybox) sleeps."""
        container: JsonObject = {"name": name, "image": image}
        if words := command or _sleep(image):
            container["command"] = list(words)
        if port is not None:
            container["ports"] = [{"containerPort": port}]
        if env:
            container["env"] = [{"name": key, "value": value} for key, value in env.items()]
        chosen = {"app": name} if labels is None else dict(labels)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": chosen},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
        }
        if expose:
            if port is None:
                raise StockadeError("expose needs a port")
            ports = [{"port": port, "targetPort": port}]
            meta = {"name": name}
            self.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": meta,
                    "spec": {"selector": chosen, "ports": ports},
                }
            )
        return self.pod(pod, timeout=timeout)

    def pod(self, given: Given, *, timeout: float = READY_SECONDS) -> Pod:
        """Apply the manifest of one pod and wait until it is Ready."""
        wanted = list(objects_of(given))
        if [each.get("kind") for each in wanted] != ["Pod"]:
            raise StockadeError("the manifest of one pod is wanted")
        (stored,) = self.apply(wanted)
        meta = stored["metadata"]
        return self.cluster.ask(lambda client: self._ready(client, meta["namespace"], meta["name"], timeout))

    async def _ready(self, client: ApiClient, namespace: str, name: str, seconds: float) -> Pod:
        end = time.monotonic() + seconds
        while True:
            found = await client.get(PODS, namespace, name)
            status = found.get("status", {})
            if any(
                each["type"] == "Ready" and each["status"] == "True"
                for each in status.get("conditions") or []
            ):
                return Pod(
                    name=name,
                    namespace=namespace,
                    ip=status.get("podIP", ""),
                    ips=tuple(each["ip"] for each in status.get("podIPs") or []),
                    node=found["spec"].get("nodeName", ""),
                    cluster=self.cluster,
                )
            if time.monotonic() > end or status.get("phase") in {"Failed", "Succeeded"}:
                raise StockadeError(f"pod {namespace}/{name} is not Ready: {_why(status)}")
            await asyncio.sleep(_PAUSE)

    # Questions. The parameters say what ``stockade check FROM TO`` calls FROM and TO.

    def probe(
        self,
        source: str | Pod,
        target: str | Pod,
        port: int | str | None = None,
        protocol: str | None = None,
        *,
        timeout: int = TRY_SECONDS,
        settle: float = 5.0,
    ) -> Result:
        """What the policies say about a connection, and what the network does with it. Asserts nothing."""
        return try_it(
            self.cluster, self._trial(ALLOWED, (source, target, port, protocol), "", timeout, settle)
        )

    def assert_allowed(
        self,
        source: str | Pod,
        target: str | Pod,
        port: int | str | None = None,
        protocol: str | None = None,
        *,
        via: str = "",
        timeout: int = TRY_SECONDS,
        settle: float = 5.0,
    ) -> Result:
        """From every pod of a workload, by every backend of a Service, with the name lookup; and really. ``via``: a policy that must allow it."""
        __tracebackhide__ = True
        return self._assert(self._trial(ALLOWED, (source, target, port, protocol), via, timeout, settle))

    def assert_denied(
        self,
        source: str | Pod,
        target: str | Pod,
        port: int | str | None = None,
        protocol: str | None = None,
        *,
        via: str = "",
        timeout: int = TRY_SECONDS,
        settle: float = 5.0,
    ) -> Result:
        """By a policy (``via``: by this one), and really: a Service without endpoints denies nothing."""
        __tracebackhide__ = True
        return self._assert(self._trial(DENIED, (source, target, port, protocol), via, timeout, settle))

    def _assert(self, trial: Trial) -> Result:
        __tracebackhide__ = True
        result = try_it(self.cluster, trial)
        if result.complaint:
            raise AssertionError(f"{result.connection}: {result.complaint}\n\n{result.explanation}")
        return result

    def explain(
        self, source: str | Pod, target: str | Pod, port: int | str | None = None, protocol: str | None = None
    ) -> str:
        """The text of ``stockade explain``; nothing is tried."""
        return try_it(
            self.cluster,
            self._trial(ALLOWED, (source, target, port, protocol), "", TRY_SECONDS, 0),
            live=False,
        ).explanation

    def _trial(
        self, expect: str, connection: tuple[Any, ...], via: str, timeout: int, settle: float
    ) -> Trial:
        """``connection``: from, to, port and protocol, as given."""
        source, target, port, protocol = connection
        fields = {"from": str(source), "to": str(target), "expect": expect, "via": via}
        fields |= {key: value for key, value in (("port", port), ("protocol", protocol)) if value is not None}
        try:
            assertion = msgspec.convert(fields, Assertion)
        except msgspec.ValidationError as error:
            raise StockadeError(f"{source} → {target}: {error}") from error
        return Trial(assertion=assertion, namespace=self.namespace, seconds=timeout, settle=settle)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Its standard output; in this namespace unless the arguments name another. Raises StockadeError when it fails."""
        done = self.cluster.kubectl((f"--namespace={self.namespace}", *arguments), stdin)
        if done.returncode:
            raise StockadeError(
                f"kubectl {' '.join(arguments)} ended with status {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout


@contextlib.contextmanager
def fresh_namespace(cluster: Cluster, title: str) -> Iterator[Stockade]:
    """Named after the test. It is not waited for at its end: nothing of it reaches the next one's pods."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower().removeprefix("test_"))[:20].strip("-") or "test"
    name = f"{words}-{uuid.uuid4().hex[:6]}"
    cluster.ask(lambda client: _make(client, name))
    try:
        yield Stockade(cluster, name)
    finally:
        with contextlib.suppress(
            StockadeError
        ):  # the test itself may have deleted it, or the cluster be gone
            cluster.ask(lambda client: client.delete(NAMESPACES, "", name))


async def _make(client: ApiClient, name: str) -> None:
    """With its default service account, without which a cluster takes no pods."""
    await client.create(NAMESPACES, "", {"metadata": {"name": name}})
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            await client.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")
        except KubeError as error:
            if error.code != 404 or time.monotonic() > end:
                raise
            await asyncio.sleep(_PAUSE)
        else:
            return


def _sleep(image: str) -> Sequence[str]:
    name = image.rpartition("/")[2].partition(":")[0].partition("@")[0]
    return ("sleep", "86400") if name in {"alpine", "busybox"} else ()


def _of_pod(pod: Pod) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    }


def _why(status: JsonObject) -> str:
    """The phase, and what its containers wait for or ended with."""
    found = [str(status.get("phase", "unknown"))]
    for each in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        for state in (each.get("state") or {}).values():
            said = ": ".join(str(state[key]) for key in ("reason", "message") if state.get(key))
            if said:
                found.append(f"container {each['name']}: {said}")
    return "; ".join(found)
