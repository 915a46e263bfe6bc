"""Host ports of pods: a port of the node that leads to a port of one of its pods. Pure.

In: pods, the node's name and addresses. Out: ``Target`` values beside those of Services. Called by ``lab.proxy.proxy``. Rules: Kubernetes API,
ContainerPort (hostPort, hostIP); CNI portmap does it on other clusters. Pods on the node's own network need none; a hostIP that is no
address of the node (127.0.0.1 included) opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.endpoints import canonical
from stockade.lab.proxy.targets import PROTOCOLS, Door, Family, Target

_ANY = {"", "0.0.0.0", "::"}  # noqa: S104 - values of the API, nothing is bound


def host_ports(
    pods: Iterable[JsonObject], node: str, addresses: Sequence[str], family: Family
) -> list[Target]:
    """In a stable order. The scheduler sees to it that no two pods of a node claim one port."""
    found = [target for pod in pods if _runs_on(pod, node) for target in _of_pod(pod, addresses, family)]
    return sorted(found, key=lambda target: target.chain)


def has_host_port(pod: JsonObject) -> bool:
    """Whether this pod matters here at all; few do, and most changes of pods shall cost nothing."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any(port.get("hostPort") for each in containers for port in each.get("ports") or ())


def _runs_on(pod: JsonObject, node: str) -> bool:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    is_here = spec.get("nodeName") == node and not spec.get("hostNetwork")
    return is_here and status.get("phase") not in {"Succeeded", "Failed"}


def _of_pod(pod: JsonObject, addresses: Sequence[str], family: Family) -> Iterator[Target]:
    listed = (pod.get("status") or {}).get("podIPs") or ()
    own = next((ip for each in listed if (ip := canonical(each.get("ip"), family.version))), None)
    if own is None:
        return
    metadata = pod["metadata"]
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            protocol = PROTOCOLS.get(port.get("protocol") or "TCP")
            doors = tuple(_doors(port, addresses, family))
            if protocol is not None and doors:
                number = int(port["hostPort"])
                # "_" is in no name of a Service: its chains and these do not meet
                name, target = f"_{metadata['name']}", (own, int(port["containerPort"]))
                yield Target(metadata["namespace"], name, protocol, number, doors, (target,))


def _doors(port: JsonObject, addresses: Sequence[str], family: Family) -> Iterator[Door]:
    number, wanted = int(port.get("hostPort") or 0), port.get("hostIP") or ""
    for address in addresses if number else ():
        if canonical(address, family.version) and (
            wanted in _ANY or canonical(wanted, family.version) == address
        ):
            yield address, number
