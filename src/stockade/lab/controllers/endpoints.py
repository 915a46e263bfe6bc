"""Endpoints: which pods stand behind each Service.

In: Services with a selector, pods. Out: EndpointSlices (one per set of resolved ports, labelled kubernetes.io/service-name)
and the older Endpoints object, both owned by the Service. Services without a selector keep what their user wrote.
Called by ``run_controllers``; what an endpoint is, ``backends`` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject, Registry
from stockade.lab.controllers.backends import (
    Ports,
    endpoint,
    endpoint_subsets,
    families,
    group_by_ports,
    slice_ports,
)
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import (
    is_controlled_by,
    is_namespace_ending,
    is_terminating,
    owner_reference,
)
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.model.objects import SERVICE_NAME_LABEL

SLICES = "endpointslices.discovery.k8s.io"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
_SLICE_SIZE = 100


class EndpointsController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[Place] = WorkQueue()
        self._labels: dict[Place, Mapping[str, str]] = {}

    async def run(self) -> None:
        watches = {"services": itself, "pods": self._of_pod, SLICES: _of_slice, "endpoints": itself}
        await run_loop(self._registry, self._queue, watches, self._reconcile)

    def _of_pod(self, change: Change) -> Iterable[Place]:
        """The Services that select it, or did before its labels changed. (A Service whose selector changed is looked at itself.)"""
        key = place(change.object)
        now = change.object["metadata"].get("labels") or {}
        before = self._labels.pop(key, {})
        if change.type != "DELETED":
            self._labels[key] = now
        services = self._registry.list("services", key[0])
        return [place(each) for each in services if _selects(each, now) or _selects(each, before)]

    def _reconcile(self, key: Place) -> None:
        service = self._registry.find("services", *key)
        if service is None:
            self._remove_all(key)
        elif _is_served(service) and not is_terminating(service):
            pods = [
                pod
                for pod in self._registry.list("pods", key[0])
                if _selects(service, pod["metadata"].get("labels") or {})
            ]
            groups = group_by_ports(service, pods)
            try:
                self._write_slices(service, groups)
                self._write_endpoints(service, groups)
            except ApiError as error:
                if not is_namespace_ending(error):
                    raise

    def _remove_all(self, key: Place) -> None:
        """The Service is gone; what was made for it goes too (whatever a user wrote, stays)."""
        for entry in self._registry.list(SLICES, key[0]):
            labels = entry["metadata"].get("labels") or {}
            if labels.get(SERVICE_NAME_LABEL) == key[1] and labels.get(MANAGED_BY) == MANAGER:
                self._registry.delete(SLICES, *place(entry))
        made = self._registry.find("endpoints", *key)
        if made is not None and any(
            o.get("kind") == "Service" for o in made["metadata"].get("ownerReferences") or []
        ):
            self._registry.delete("endpoints", *key)

    def _write_slices(self, service: JsonObject, groups: dict[Ports, list[JsonObject]]) -> None:
        namespace, name = place(service)
        spare = [
            entry
            for entry in self._registry.list(SLICES, namespace)
            if (entry["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL) == name
            and is_controlled_by(entry, service)
        ]
        for family in families(service):
            alike = [entry for entry in spare if entry["addressType"] == family]
            for content in _contents(service, groups, family):
                self._write_slice(service, content, alike, spare)
        for entry in spare:
            self._registry.delete(SLICES, *place(entry))

    def _write_slice(
        self, service: JsonObject, content: JsonObject, usable: list[JsonObject], spare: list[JsonObject]
    ) -> None:
        """Into the slice with the same ports if there is one, else any that is usable, else a new one."""
        namespace, name = place(service)
        labels = {**(service["metadata"].get("labels") or {}), SERVICE_NAME_LABEL: name, MANAGED_BY: MANAGER}
        if service["spec"].get("clusterIP") == "None":
            labels[HEADLESS] = ""
        alike = [entry for entry in usable if entry.get("ports") == content["ports"]]
        if usable:
            chosen = (alike or usable)[0]
            usable.remove(chosen)
            spare.remove(chosen)

            def update(entry: JsonObject) -> None:
                entry.update(content)
                entry["metadata"]["labels"] = labels

            self._registry.mutate(SLICES, *place(chosen), update)
            return
        made = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": f"{name}-",
                "labels": labels,
                "ownerReferences": [owner_reference(service)],
            },
            **content,
        }
        self._registry.create(SLICES, namespace, made)

    def _write_endpoints(self, service: JsonObject, groups: dict[Ports, list[JsonObject]]) -> None:
        namespace, name = place(service)
        subsets = endpoint_subsets(service, groups)
        labels = dict(service["metadata"].get("labels") or {})
        if service["spec"].get("clusterIP") == "None":
            labels[HEADLESS] = ""

        def update(obj: JsonObject) -> None:
            obj.pop("subsets", None)
            if subsets:
                obj["subsets"] = subsets
            obj["metadata"].pop("labels", None)
            if labels:
                obj["metadata"]["labels"] = labels

        if self._registry.find("endpoints", namespace, name) is not None:
            self._registry.mutate("endpoints", namespace, name, update)
            return
        made: JsonObject = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}}
        made["metadata"]["ownerReferences"] = [owner_reference(service)]
        update(made)
        self._registry.create("endpoints", namespace, made)


def _contents(
    service: JsonObject, groups: dict[Ports, list[JsonObject]], family: str
) -> Iterator[JsonObject]:
    """What the slices of one address type shall hold; one empty slice when there is no endpoint."""
    empty = True
    for ports, pods in groups.items():
        endpoints = [entry for pod in pods if (entry := endpoint(service, pod, family)) is not None]
        for start in range(0, len(endpoints), _SLICE_SIZE):
            empty = False
            part = endpoints[start : start + _SLICE_SIZE]
            yield {"addressType": family, "endpoints": part, "ports": slice_ports(ports)}
    if empty:
        ports = next(iter(groups), ())
        yield {"addressType": family, "endpoints": [], "ports": slice_ports(ports)}


def _is_served(service: JsonObject) -> bool:
    spec = service.get("spec", {})
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def _selects(service: JsonObject, labels: Mapping[str, str]) -> bool:
    return _is_served(service) and service["spec"]["selector"].items() <= labels.items()


def _of_slice(change: Change) -> Iterable[Place]:
    """Repair a slice that somebody changed or deleted."""
    metadata = change.object["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL)
    return [(metadata["namespace"], name)] if name else ()
