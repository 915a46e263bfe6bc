"""The kinds that the lab serves: one table, read by routing, storage, discovery, OpenAPI and the printers.

The rows are those of a real API server (``kubectl api-resources``): names, short names, categories, scope, subresources. ``Catalogue``
holds them together with the kinds that CustomResourceDefinitions add while the lab runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from stockade.lab.apiserver.crd.definition import CustomType

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
    stored_as: str = ""
    """Of which other resource these are the objects, under names of their own (``events_view``)."""
    custom: CustomType | None = None
    """Schema and columns of a kind that a CustomResourceDefinition made."""

    @property
    def resource(self) -> str:
        """The key used everywhere in the lab: ``pods``, ``deployments.apps``."""
        return self.stored_as or (f"{self.plural}.{self.group}" if self.group else self.plural)

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


POD_SUBRESOURCES = (
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "log",
    "portforward",
    "status",
)
WORKLOAD = ("scale", "status")
EXTENSIONS = "apiextensions.k8s.io"

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
    Kind(
        kind="ReplicationController",
        plural="replicationcontrollers",
        singular="replicationcontroller",
        short_names=("rc",),
        categories=("all",),
        subresources=WORKLOAD,
        generation=True,
    ),
    Kind(kind="Secret", plural="secrets", singular="secret"),
    Kind(
        kind="ServiceAccount",
        plural="serviceaccounts",
        singular="serviceaccount",
        short_names=("sa",),
        subresources=("token",),
    ),
    Kind(
        kind="Service",
        plural="services",
        singular="service",
        short_names=("svc",),
        categories=("all",),
        subresources=("status",),
    ),
    Kind(
        group=EXTENSIONS,
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=("status",),
        generation=True,
    ),
    Kind(
        group="apps",
        kind="ControllerRevision",
        plural="controllerrevisions",
        singular="controllerrevision",
    ),
    Kind(
        group="apps",
        kind="DaemonSet",
        plural="daemonsets",
        singular="daemonset",
        short_names=("ds",),
        categories=("all",),
        subresources=("status",),
        generation=True,
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
        group="apps",
        kind="StatefulSet",
        plural="statefulsets",
        singular="statefulset",
        short_names=("sts",),
        categories=("all",),
        subresources=WORKLOAD,
        generation=True,
    ),
    Kind(
        group="batch",
        kind="Job",
        plural="jobs",
        singular="job",
        categories=("all",),
        subresources=("status",),
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
        group="events.k8s.io",
        kind="Event",
        plural="events",
        singular="event",
        short_names=("ev",),
        stored_as="events",
    ),
    Kind(
        group="networking.k8s.io",
        kind="NetworkPolicy",
        plural="networkpolicies",
        singular="networkpolicy",
        short_names=("netpol",),
        generation=True,
    ),
    Kind(
        group="policy",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        singular="poddisruptionbudget",
        short_names=("pdb",),
        subresources=("status",),
        generation=True,
    ),
)


class Catalogue:
    """What is served now."""

    def __init__(self, kinds: Sequence[Kind] = KINDS) -> None:
        self._builtin = tuple(kinds)
        self._custom: dict[str, tuple[Kind, ...]] = {}
        self._index()

    def _index(self) -> None:
        custom = [kind for kinds in self._custom.values() for kind in kinds]
        self._all = (
            *self._builtin,
            *sorted(custom, key=lambda kind: (kind.group, kind.version, kind.plural)),
        )
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self._all}
        self._by_resource = {kind.resource: kind for kind in reversed(self._all)}

    def serve(self, definition: str, kinds: Sequence[Kind]) -> None:
        """The served versions of a CustomResourceDefinition, the preferred one first; none to withdraw them."""
        if kinds:
            self._custom[definition] = tuple(kinds)
        else:
            self._custom.pop(definition, None)
        self._index()

    def all(self) -> tuple[Kind, ...]:
        return self._all

    def at(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def of(self, resource: str) -> Kind:
        """Raises KeyError for what is not served."""
        return self._by_resource[resource]

    def has(self, resource: str) -> bool:
        return resource in self._by_resource

    def group_versions(self) -> list[tuple[str, str]]:
        """Every served (group, version), core first, then by name."""
        return sorted({(kind.group, kind.version) for kind in self._all})

    def kinds_of(self, group: str, version: str) -> list[Kind]:
        return [kind for kind in self._all if (kind.group, kind.version) == (group, version)]
