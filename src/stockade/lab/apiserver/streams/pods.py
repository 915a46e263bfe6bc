"""Which pod and which container a streaming request means; the refusals and their texts.

In: the request and the Registry. Out: the pod's uid and a container name, or ApiError. Called by all four endpoints.
"""

from __future__ import annotations

import os

import msgspec
from aiohttp import web

from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.apiserver.streams.status import KubeletError, bad_request

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_LISTS = (
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
)


class Target(msgspec.Struct, frozen=True):
    """A pod, and for all but port-forward one of its containers."""

    pod: JsonObject
    container: str = ""

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def state(self) -> JsonObject:
        """The container's status.state: one of waiting, running, terminated; empty before the kubelet has seen it."""
        return dict(self.status.get("state") or {})

    @property
    def status(self) -> JsonObject:
        for _, statuses in _LISTS:
            for status in self.pod.get("status", {}).get(statuses) or []:
                if status["name"] == self.container:
                    return dict(status)
        return {}

    def require_running(self) -> None:
        """For exec and attach: what the kubelet answers when there is no such process (seen by kubectl as
        "unable to upgrade connection")."""
        if "running" not in self.state:
            raise KubeletError(f'container not found ("{self.container}")')

    def forward_error(self, port: str, problem: Exception) -> str:
        """Why a port cannot be forwarded, in the kubelet's words."""
        why = str(problem)
        if isinstance(problem, OSError) and problem.errno:
            why = f"dial tcp4 127.0.0.1:{port}: connect: {os.strerror(problem.errno).lower()}"
        return f"error forwarding port {port} to pod {self.name}, uid {self.uid}: {why}"


def flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    """kubectl sends ``true``, some Python clients ``True`` or ``1``."""
    value = request.query.get(name)
    return default if value is None else value.lower() in {"true", "1"}


def find_pod(request: web.Request, registry: Registry) -> Target:
    """The pod of the path, which must be on a node."""
    pod = registry.get("pods", request.match_info["namespace"], request.match_info["name"])
    if not pod.get("spec", {}).get("nodeName"):
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return Target(pod)


def find_container(request: web.Request, registry: Registry) -> Target:
    """The pod and the container asked for, or the only one, or the one its annotation names."""
    pod = registry.get("pods", request.match_info["namespace"], request.match_info["name"])
    name, spec = pod["metadata"]["name"], pod.get("spec", {})
    wanted = request.query.get("container", "") or _default(pod)
    known = [container["name"] for field, _ in _LISTS for container in spec.get(field) or []]
    if not wanted:
        raise bad_request(_choose(name, spec))
    if wanted not in known:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    if not spec.get("nodeName"):
        raise bad_request(f"pod {name} does not have a host assigned")
    return Target(pod, wanted)


def _default(pod: JsonObject) -> str:
    containers = [container["name"] for container in pod.get("spec", {}).get("containers") or []]
    if len(containers) == 1:
        return str(containers[0])
    annotated = str((pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, ""))
    return annotated if annotated in containers else ""


def _choose(name: str, spec: JsonObject) -> str:
    """The API server's text, with Go's way to print a list."""
    listed = [[c["name"] for c in spec.get(field) or []] for field, _ in _LISTS]
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(listed[0])}]"
    if listed[1]:
        text += f" or one of the init containers: [{' '.join(listed[1])}]"
    return text
