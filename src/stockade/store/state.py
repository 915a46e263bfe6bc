"""ClusterState: what the cluster looks like at one moment.

In: object views, from files (manifests) or from the API (kube, by way of ``store.delta``). Out: an immutable value that
``policy.compile``, ``policy.reference`` and ``analysis`` read. Changing it means making another one (``delta.apply``),
so that whoever holds a state never sees it move.

A Namespace that nobody gave but that pods live in is implied: it carries ``kubernetes.io/metadata.name`` and nothing
else, as the API server would have set it (rule 17).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from stockade.model.meta import ObjectMeta, ObjectRef, View
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import EndpointSlice, Namespace, Node, Pod, Service

NAMESPACES, NODES, PODS = "namespaces", "nodes", "pods"
SERVICES, ENDPOINT_SLICES, POLICIES = "services", "endpointslices", "networkpolicies"

# The resource's plural as in API paths -> the field of ClusterState that holds it.
FIELDS: Mapping[str, str] = {
    NAMESPACES: "namespaces",
    NODES: "nodes",
    PODS: "pods",
    SERVICES: "services",
    ENDPOINT_SLICES: "endpoint_slices",
    POLICIES: "policies",
}

_KINDS: Mapping[type[View], str] = {
    Namespace: NAMESPACES,
    Node: NODES,
    Pod: PODS,
    Service: SERVICES,
    EndpointSlice: ENDPOINT_SLICES,
    NetworkPolicy: POLICIES,
}


def _by_namespace(policies: Mapping[ObjectRef, NetworkPolicy]) -> dict[str, tuple[NetworkPolicy, ...]]:
    grouped: dict[str, list[NetworkPolicy]] = {}
    for ref in sorted(policies):
        grouped.setdefault(ref.namespace, []).append(policies[ref])
    return {namespace: tuple(members) for namespace, members in grouped.items()}


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """Namespaces and nodes by name, the rest by ``namespace/name``. Treat the mappings as read-only."""

    namespaces: Mapping[str, Namespace] = msgspec.field(default_factory=dict)
    nodes: Mapping[str, Node] = msgspec.field(default_factory=dict)
    pods: Mapping[ObjectRef, Pod] = msgspec.field(default_factory=dict)
    services: Mapping[ObjectRef, Service] = msgspec.field(default_factory=dict)
    endpoint_slices: Mapping[ObjectRef, EndpointSlice] = msgspec.field(default_factory=dict)
    policies: Mapping[ObjectRef, NetworkPolicy] = msgspec.field(default_factory=dict)
    policies_by_namespace: Mapping[str, tuple[NetworkPolicy, ...]] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, objects: Iterable[View]) -> ClusterState:
        """The last of several objects with one name wins, as with ``kubectl apply``."""
        tables: dict[str, dict[Any, View]] = {kind: {} for kind in FIELDS}
        for item in objects:
            kind = kind_of(item)
            tables[kind][key_of(kind, item)] = item
        return cls().replacing(tables)

    def replacing(self, tables: Mapping[str, Mapping[Any, View]]) -> ClusterState:
        """A state in which the given kinds hold the given objects; the other tables are shared with this one."""
        values: dict[str, Any] = {FIELDS[kind]: table for kind, table in tables.items()}
        if "policies" in values:
            values["policies_by_namespace"] = _by_namespace(values["policies"])
        return msgspec.structs.replace(self, **values)

    def namespace(self, name: str) -> Namespace:
        """The stored Namespace, or the implied one."""
        return self.namespaces.get(name) or Namespace(metadata=ObjectMeta(name=name))

    def namespace_names(self) -> tuple[str, ...]:
        """Stored and implied, sorted."""
        implied = {ref.namespace for table in (self.pods, self.policies, self.services) for ref in table}
        return tuple(sorted(implied | set(self.namespaces)))

    def policies_in(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        """Sorted by name."""
        return self.policies_by_namespace.get(namespace, ())


def kind_of(item: View) -> str:
    """The plural resource name; TypeError for a view that is no part of the state."""
    try:
        return _KINDS[type(item)]
    except KeyError:
        raise TypeError(f"{type(item).__name__} is not part of the cluster state") from None


def key_of(kind: str, item: View) -> ObjectRef | str:
    """The key of ``item`` in its table: the name when cluster-scoped, else namespace and name."""
    meta: ObjectMeta = getattr(item, "metadata")  # noqa: B009  every view of FIELDS has it; View itself has not
    return table_key(kind, meta.ref)


def table_key(kind: str, ref: ObjectRef) -> ObjectRef | str:
    return ref.name if kind in {NAMESPACES, NODES} else ref
