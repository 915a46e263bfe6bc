"""The suites' cluster through the Kubernetes API: what ``World`` does in memory, done to real objects the way the suites do it.

In: an ApiClient; the actions of a case. Out: objects, and ``addresses`` and ``services`` as the cluster gave them. Called by ``run``. As
the suites: whole objects go back by GET and PUT, a namespace's new label map without ``kubernetes.io/metadata.name``, a policy's PUT
without resourceVersion; a pod is there when it is Running with an address, and (as e2e waits) its servers answer itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from stockade.kube.client import ApiClient
from stockade.kube.errors import KubeError
from stockade.kube.exec import execute
from stockade.kube.resources import NAMESPACES, NETWORK_POLICIES, PODS, SERVICES, Resource
from stockade.model.meta import ObjectRef
from stockade.testing.conformance.case import Action, Json, Name, port_name
from stockade.testing.conformance.world import PODS as NAMES
from stockade.testing.conformance.world import SPACES, World

IMAGE = "agnhost:2.43"
METADATA_NAME = "kubernetes.io/metadata.name"
PATIENCE = 60.0  # seconds until an object is as it shall be
_POLL = 0.05


class ClusterError(Exception):
    """The cluster does not do what the suites need before they can ask anything."""


def container_name(protocol: str, port: int) -> str:
    return f"cont-{port}-{protocol.lower()}"


def container(protocol: str, port: int) -> Json:
    """One server; SCTP by ``porter``, as the suites have it. A kernel without SCTP serves none, and the container lives on."""
    way = protocol.lower()
    run: Json = {"command": ["/agnhost", "serve-hostname", f"--{way}", "--http=false", f"--port={port}"]}
    if protocol == "SCTP":
        run = {
            "command": ["/agnhost", "porter"],
            "env": [{"name": f"SERVE_SCTP_PORT_{port}", "value": "foo"}],
        }
    ports = [{"containerPort": port, "name": port_name(protocol, port), "protocol": protocol}]
    return {"name": container_name(protocol, port), "image": IMAGE, "ports": ports, **run}


def service_name(space: str, name: str) -> str:
    return f"s-{space}-{name}"


class Cluster:
    """``probes``: the ports that each pod serves, with a container for each. An async context manager is the ApiClient's business."""

    def __init__(self, client: ApiClient, probes: list[tuple[str, int]]) -> None:
        self.client = client
        self.probes = probes
        self.addresses: dict[Name, str] = {}
        self.services: dict[Name, str] = {}
        self._labels: dict[Name, dict[str, str]] = {}
        self._spaces: dict[str, dict[str, str]] = {}
        self._policies: set[Name] = set()

    @property
    def pods(self) -> list[Name]:
        return sorted(self._labels)

    async def act(self, action: Action) -> None:
        verb: Callable[..., Awaitable[None]] = getattr(self, action[0])
        await verb(*action[1:])

    async def build(self, world: World) -> None:
        """Everything of ``world``, at once."""
        await asyncio.gather(*(self.create_namespace(*each) for each in world.namespaces.items()))
        await asyncio.gather(*(self.create_pod(*name, pod["labels"]) for name, pod in world.pods.items()))

    async def remove(self) -> None:
        for space in list(self._spaces):
            await self.delete_namespace(space)

    async def reset(self, *, labelled: bool) -> None:
        """As new for the next case: no policy, the nine pods, exactly their labels. Only what a case has changed is touched."""
        world = World(labelled=labelled)
        await asyncio.gather(*(self.delete_policy(*name) for name in sorted(self._policies)))
        for space in [each for each in self._spaces if each not in SPACES]:
            await self.delete_namespace(space)
        for space, labels in world.namespaces.items():
            if self._spaces[space] != labels:
                await self.set_namespace_labels(space, labels)
        for name in [each for each in self._labels if each[1] not in NAMES]:
            await self.delete_pod(*name)
        for name, pod in world.pods.items():
            if name not in self._labels:
                await self.create_pod(*name, pod["labels"])
            elif self._labels[name] != pod["labels"]:
                await self.set_pod_labels(*name, pod["labels"])

    async def create_namespace(self, space: str, labels: dict[str, str]) -> None:
        await self.client.create(NAMESPACES, "", {"metadata": {"name": space, "labels": labels}})
        self._spaces[space] = labels

    async def set_namespace_labels(self, space: str, labels: dict[str, str]) -> None:
        """The name's own label is not sent, and must come back by itself."""
        after = await self._put_labels(NAMESPACES, "", space, labels)
        if after != labels | {METADATA_NAME: space}:
            raise ClusterError(f"namespace {space}: sent labels {labels}, the answer has {after}")
        self._spaces[space] = labels

    async def delete_namespace(self, space: str) -> None:
        await self.client.delete(NAMESPACES, "", space)
        await self._gone(NAMESPACES, "", space)
        del self._spaces[space]
        self._policies = {name for name in self._policies if name[0] != space}
        for name in [each for each in self._labels if each[0] == space]:
            self._forget(name)

    async def create_pod(self, space: str, name: str, labels: dict[str, str]) -> None:
        """And its Service, once."""
        body: Json = {
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [container(*probe) for probe in self.probes],
            },
        }
        await self.client.create(PODS, space, body)
        if (space, name) not in self.services:
            self.services[space, name] = await self._create_service(space, name)
        pod = await self._until(PODS, space, name, _is_running)
        self._labels[space, name] = labels
        self.addresses[space, name] = pod["status"]["podIP"]
        await self._serves(space, name)

    async def _create_service(self, space: str, name: str) -> str:
        ports = [
            {"name": f"service-port-{protocol.lower()}-{port}", "protocol": protocol, "port": port}
            for protocol, port in self.probes
        ]
        body = {
            "metadata": {"name": service_name(space, name)},
            "spec": {"selector": {"pod": name}, "ports": ports},
        }
        made = await self.client.create(SERVICES, space, body)
        return str(made["spec"]["clusterIP"])

    async def _serves(self, space: str, name: str) -> None:
        """Until its servers answer itself, which no policy forbids."""
        places = [
            (p.lower(), f"{self.addresses[space, name]}:{port}") for p, port in self.probes if p != "SCTP"
        ]
        for protocol, place in places:
            command = ("/agnhost", "connect", place, "--timeout=1s", f"--protocol={protocol}")
            for _ in range(100):
                done = await execute(
                    self.client,
                    ObjectRef(space, name),
                    container_name(*self.probes[0]),
                    command,
                    seconds=PATIENCE,
                )
                if done.code == 0:
                    break
                await asyncio.sleep(_POLL)
            else:
                raise ClusterError(f"pod {space}/{name} does not answer itself on {place}: {done.output}")

    async def set_pod_labels(self, space: str, name: str, labels: dict[str, str]) -> None:
        after = await self._put_labels(PODS, space, name, labels)
        if after != labels:
            raise ClusterError(f"pod {space}/{name}: sent labels {labels}, the answer has {after}")
        self._labels[space, name] = labels

    async def delete_pod(self, space: str, name: str) -> None:
        await self.client.delete(PODS, space, name)
        await self._gone(PODS, space, name)
        del self._labels[space, name], self.addresses[space, name]

    async def create_policy(self, policy: Json) -> None:
        space = policy["metadata"]["namespace"]
        await self.client.create(NETWORK_POLICIES, space, policy)
        self._policies.add((space, policy["metadata"]["name"]))

    async def update_policy(self, policy: Json) -> None:
        """Unconditional: no resourceVersion is sent."""
        await self._put(NETWORK_POLICIES, policy["metadata"]["namespace"], policy["metadata"]["name"], policy)

    async def delete_policy(self, space: str, name: str) -> None:
        await self.client.delete(NETWORK_POLICIES, space, name)
        self._policies.discard((space, name))

    async def _put_labels(
        self, resource: Resource, space: str, name: str, labels: dict[str, str]
    ) -> dict[str, str]:
        obj = await self.client.get(resource, space, name)
        obj["metadata"]["labels"] = labels
        await self._put(resource, space, name, obj)
        return dict((await self.client.get(resource, space, name))["metadata"].get("labels") or {})

    async def _put(self, resource: Resource, space: str, name: str, obj: Json) -> None:
        await self.client.request("PUT", resource.path(space, name), body=obj)

    async def _until(self, resource: Resource, space: str, name: str, wanted: Callable[[Json], bool]) -> Json:
        obj: Json = {}
        try:
            async with asyncio.timeout(PATIENCE):
                obj = await self.client.get(resource, space, name)
                while not wanted(obj):
                    await asyncio.sleep(_POLL)
                    obj = await self.client.get(resource, space, name)
        except TimeoutError as error:
            state = obj.get("status", {})
            raise ClusterError(f"{resource.kind} {space}/{name} after {PATIENCE:g} s: {state}") from error
        return obj

    async def _gone(self, resource: Resource, space: str, name: str) -> None:
        try:
            await self._until(resource, space, name, lambda _: False)
        except KubeError as error:
            if error.code != 404:
                raise

    def _forget(self, name: Name) -> None:
        del self._labels[name], self.addresses[name], self.services[name]


def _is_running(pod: Json) -> bool:
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and bool(status.get("podIP"))
