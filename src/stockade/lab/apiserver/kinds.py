"""The kinds that the lab serves: one table, read by routing, storage, discovery, OpenAPI and the printers.

The rows are those of a real API server (``kubectl api-resources``): names, short names, categories, scope, subresources.
"""

from __future__ import annotations

import msgspec

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One served resource. ``subresources`` name what may follow the object's name in a path; ``generation`` tells
    whether the API counts changes of the specification in ``metadata.generation``."""

    kind: str
    plural: str
    singular: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    generation: bool = False
    verbs: tuple[str, ...] = VERBS

    @property
    def resource(self) -> str:
        """The key used everywhere in the lab: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> str:
        """As error messages name a kind: ``Pod``, ``NetworkPolicy.networking.k8s.io``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources


POD_SUBRESOURCES = ("attach", "binding", "eviction", "exec", "log", "portforward", "status")
WORKLOAD = ("scale", "status")

KINDS: tuple[Kind, ...] = (
    Kind(kind="ConfigMap", plural="configmaps", singular="configmap", short_names=("cm",)),
    Kind(kind="Endpoints", plural="endpoints", singular="endpoints", short_names=("ep",)),
    Kind(kind="Event", plural="events", singular="event", short_names=("ev",)),
    Kind(
        kind="Namespace",
        plural="namespaces",
        singular="namespace",
        namespaced=False,
        short_names=("ns",),
        subresources=("finalize", "status"),
        verbs=tuple(verb for verb in VERBS if verb != "deletecollection"),
    ),
    Kind(
        kind="Node",
        plural="nodes",
        singular="node",
        namespaced=False,
        short_names=("no",),
        subresources=("status",),
    ),
    Kind(
        kind="Pod",
        plural="pods",
        singular="pod",
        short_names=("po",),
        categories=("all",),
        subresources=POD_SUBRESOURCES,
        generation=True,
    ),
    Kind(kind="Secret", plural="secrets", singular="secret"),
    Kind(kind="ServiceAccount", plural="serviceaccounts", singular="serviceaccount", short_names=("sa",)),
    Kind(
        kind="Service",
        plural="services",
        singular="service",
        short_names=("svc",),
        categories=("all",),
        subresources=("status",),
    ),
    Kind(
        group="apps",
        kind="Deployment",
        plural="deployments",
        singular="deployment",
        short_names=("deploy",),
        categories=("all",),
        subresources=WORKLOAD,
        generation=True,
    ),
    Kind(
        group="apps",
        kind="ReplicaSet",
        plural="replicasets",
        singular="replicaset",
        short_names=("rs",),
        categories=("all",),
        subresources=WORKLOAD,
        generation=True,
    ),
    Kind(
        group="coordination.k8s.io",
        kind="Lease",
        plural="leases",
        singular="lease",
    ),
    Kind(
        group="discovery.k8s.io",
        kind="EndpointSlice",
        plural="endpointslices",
        singular="endpointslice",
    ),
    Kind(
        group="networking.k8s.io",
        kind="NetworkPolicy",
        plural="networkpolicies",
        singular="networkpolicy",
        short_names=("netpol",),
        generation=True,
    ),
)

BY_RESOURCE: dict[str, Kind] = {kind.resource: kind for kind in KINDS}
BY_PATH: dict[tuple[str, str, str], Kind] = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}


def group_versions() -> list[tuple[str, str]]:
    """Every served (group, version), core first, then by name."""
    return sorted({(kind.group, kind.version) for kind in KINDS})


def kinds_of(group: str, version: str) -> list[Kind]:
    return [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]
