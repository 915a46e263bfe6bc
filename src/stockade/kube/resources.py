"""Which resources we read, where the API serves them, and which view they decode to.

Named as in RBAC and in kubectl's messages: the plural, with its group for non-core kinds.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from stockade.model.meta import ObjectMeta, View
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import EndpointSlice, Namespace, Node, Pod, Service


class InvolvedObject(View, frozen=True, kw_only=True):
    """Event.involvedObject: whom it is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Event(View, frozen=True, kw_only=True):
    """core/v1 Event; no part of the policy state, but what ``stockade drops`` reads."""

    metadata: ObjectMeta
    involved_object: InvolvedObject = InvolvedObject()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None


class Controller(View, frozen=True, kw_only=True):
    """A ReplicaSet or Job, of which only its own owner matters (``model.owners``)."""

    metadata: ObjectMeta


PolicyObject = Namespace | Node | Pod | Service | NetworkPolicy | EndpointSlice
KubeObject = PolicyObject | Event | Controller


class Resource(msgspec.Struct, frozen=True):
    """One row of the API's discovery."""

    group: str
    version: str
    plural: str
    kind: str
    view: type[KubeObject]
    namespaced: bool = True

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Without a namespace: all namespaces, or the cluster scope."""
        parts = ["apis" if self.group else "api", self.api_version]
        if namespace and self.namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/" + "/".join(parts)


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", Namespace, namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", Node, namespaced=False)
PODS = Resource("", "v1", "pods", "Pod", Pod)
SERVICES = Resource("", "v1", "services", "Service", Service)
EVENTS = Resource("", "v1", "events", "Event", Event)
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", NetworkPolicy)
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", EndpointSlice)
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", Controller)
JOBS = Resource("batch", "v1", "jobs", "Job", Controller)

RESOURCES: dict[str, Resource] = {
    str(resource): resource
    for resource in (NAMESPACES, NODES, PODS, SERVICES, EVENTS, NETWORK_POLICIES, ENDPOINT_SLICES)
}
