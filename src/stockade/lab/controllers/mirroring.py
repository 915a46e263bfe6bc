"""Endpoints that a user wrote, mirrored into EndpointSlices: what stands behind a Service without a selector.

In: Endpoints, Services. Out: EndpointSlices, one for each subset and address family, owned by the Endpoints. Called by ``run_controllers``. Rules: KEP-752
and kube-controller-manager's EndpointSliceMirroring: nothing is mirrored for a Service that is missing or has a selector, nor of Endpoints with the label
``endpointslice.kubernetes.io/skip-mirror: "true"`` or a leader's annotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stockade.lab.apiserver.registry import ApiError, JsonObject, Registry
from stockade.lab.controllers.endpoints import MANAGED_BY, SLICES
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import (
    is_controlled_by,
    is_namespace_ending,
    is_terminating,
    owner_reference,
)
from stockade.lab.controllers.workqueue import WorkQueue
from stockade.lab.endpoints import canonical
from stockade.model.objects import SERVICE_NAME_LABEL

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_MOST = 1000
"""Addresses of a subset that are mirrored, as upstream."""


class MirroringController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(
            self._registry, self._queue, {"endpoints": itself, "services": itself}, self._reconcile
        )

    def _reconcile(self, key: Place) -> None:
        endpoints, service = self._registry.find("endpoints", *key), self._registry.find("services", *key)
        present = [each for each in self._registry.list(SLICES, key[0]) if _is_mirror(each, key[1])]
        wanted: list[JsonObject] = []
        if endpoints is not None and service is not None and _is_mirrored(endpoints, service):
            wanted = list(_slices(endpoints))
        try:
            self._write(key, endpoints or {}, present, wanted)
        except ApiError as error:
            if not is_namespace_ending(error):
                raise

    def _write(
        self, key: Place, endpoints: JsonObject, present: list[JsonObject], wanted: list[JsonObject]
    ) -> None:
        for content in wanted:
            usable = [
                each
                for each in present
                if each["addressType"] == content["addressType"] and is_controlled_by(each, endpoints)
            ]
            if not usable:
                self._create(key, endpoints, content)
                continue
            chosen = next((each for each in usable if each.get("ports") == content["ports"]), usable[0])
            present.remove(chosen)
            if any(chosen.get(field) != content[field] for field in ("endpoints", "ports")):
                self._registry.mutate(SLICES, *place(chosen), lambda obj, new=content: obj.update(new))  # type: ignore[misc]
        for left in present:
            self._registry.delete(SLICES, *place(left))

    def _create(self, key: Place, endpoints: JsonObject, content: JsonObject) -> None:
        labels = dict(endpoints["metadata"].get("labels") or {})
        metadata = {
            "generateName": f"{key[1]}-",
            "labels": {**labels, SERVICE_NAME_LABEL: key[1], MANAGED_BY: MANAGER},
            "ownerReferences": [owner_reference(endpoints)],
        }
        made = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, **content}
        self._registry.create(SLICES, key[0], made)


def _is_mirror(entry: JsonObject, service: str) -> bool:
    labels = entry["metadata"].get("labels") or {}
    return labels.get(SERVICE_NAME_LABEL) == service and labels.get(MANAGED_BY) == MANAGER


def _is_mirrored(endpoints: JsonObject, service: JsonObject) -> bool:
    metadata = endpoints["metadata"]
    skipped = (metadata.get("labels") or {}).get(SKIP) == "true" or _LEADER in (
        metadata.get("annotations") or {}
    )
    ours = any(owner.get("kind") == "Service" for owner in metadata.get("ownerReferences") or [])
    has_selector = bool((service.get("spec") or {}).get("selector"))
    return not (skipped or ours or has_selector or is_terminating(endpoints) or is_terminating(service))


def _slices(endpoints: JsonObject) -> Iterator[JsonObject]:
    for subset in endpoints.get("subsets") or ():
        ports = [
            {"name": port.get("name") or "", "protocol": port.get("protocol") or "TCP", "port": port["port"]}
            | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {})
            for port in subset.get("ports") or ()
        ]
        for family, version in (("IPv4", 4), ("IPv6", 6)):
            entries = [*_entries(subset.get("addresses"), version, ready=True)]
            entries += _entries(subset.get("notReadyAddresses"), version, ready=False)
            if entries:
                yield {"addressType": family, "endpoints": entries[:_MOST], "ports": ports}


def _entries(addresses: Iterable[JsonObject] | None, version: int, *, ready: bool) -> Iterator[JsonObject]:
    for address in addresses or ():
        text = canonical(address.get("ip"), version)
        if text is None:
            continue
        entry: JsonObject = {"addresses": [text], "conditions": {"ready": ready}}
        entry |= {
            field: address[field] for field in ("hostname", "nodeName", "targetRef") if address.get(field)
        }
        yield entry
