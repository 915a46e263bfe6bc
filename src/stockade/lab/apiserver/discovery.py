"""Discovery documents: /version, /api, /apis and below, in the plain and the aggregated form.

The aggregated form (KEP-3352) is chosen by the Accept header and saves clients one request per group. Both are derived
from the table in kinds.py.
"""

from __future__ import annotations

from itertools import groupby

from stockade.lab.apiserver import reviews
from stockade.lab.apiserver.kinds import Catalogue, Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.subresources import BINDING

POSTED = (*reviews.KINDS, BINDING)

SUBRESOURCES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    # name: group, version and kind of what is exchanged ("" = the object itself), verbs
    "attach": ("", "v1", "PodAttachOptions", ("create", "get")),
    "binding": ("", "v1", "Binding", ("create",)),
    "ephemeralcontainers": ("", "", "", ("get", "patch", "update")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "finalize": ("", "", "", ("update",)),
    "log": ("", "", "", ("get",)),
    "portforward": ("", "v1", "PodPortForwardOptions", ("create", "get")),
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "status": ("", "", "", ("get", "patch", "update")),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
}


def aggregated_version(accept: str) -> str:
    """``v2`` or ``v2beta1`` when the client prefers the aggregated form, else ""."""
    for item in accept.split(","):
        given = dict(part.strip().partition("=")[::2] for part in item.split(";")[1:])
        if given.get("as") == "APIGroupDiscoveryList" and given.get("g") == "apidiscovery.k8s.io":
            if given.get("v") in ("v2", "v2beta1"):
                return given["v"]
        elif "as" not in given:
            return ""
    return ""


def kinds_of(served: Catalogue, group: str, version: str) -> list[Kind]:
    """With those that are posted and never stored."""
    return [
        *served.kinds_of(group, version),
        *(kind for kind in POSTED if (kind.group, kind.version) == (group, version)),
    ]


def group_versions(served: Catalogue) -> list[tuple[str, str]]:
    return sorted({*served.group_versions(), *((kind.group, kind.version) for kind in POSTED)})


def paths(served: Catalogue) -> JsonObject:
    """``/``: where to begin."""
    versions = [pair for pair in group_versions(served) if pair[0]]
    groups = {f"/apis/{group}" for group, _ in versions} | {
        f"/apis/{group}/{version}" for group, version in versions
    }
    health = ("/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version")
    return {"paths": ["/api", "/api/v1", "/apis", *sorted(groups), *health]}


def api_versions() -> JsonObject:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def api_group_list(served: Catalogue) -> JsonObject:
    groups = [
        _group(group, [version for _, version in versions]) for group, versions in _named_groups(served)
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(served: Catalogue, group: str) -> JsonObject | None:
    versions = [version for name, version in group_versions(served) if name == group]
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)} if versions and group else None


def _named_groups(served: Catalogue) -> list[tuple[str, list[tuple[str, str]]]]:
    named = [pair for pair in group_versions(served) if pair[0]]
    return [(group, list(pairs)) for group, pairs in groupby(named, key=lambda pair: pair[0])]


def _group(group: str, versions: list[str]) -> JsonObject:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def resource_list(served: Catalogue, group: str, version: str) -> JsonObject | None:
    kinds = kinds_of(served, group, version)
    if not kinds:
        return None
    resources = [entry for kind in kinds for entry in _resources(kind)]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _resources(kind: Kind) -> list[JsonObject]:
    entry: JsonObject = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return [entry, *(_subresource(kind, name) for name in kind.subresources)]


def _subresource(kind: Kind, name: str) -> JsonObject:
    group, version, response, verbs = SUBRESOURCES[name]
    entry: JsonObject = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": response or kind.kind,
        "verbs": list(verbs),
    }
    if response:
        entry |= {"group": group, "version": version}
    return entry


def aggregated(served: Catalogue, *, core: bool, version: str) -> JsonObject:
    """The APIGroupDiscoveryList for /api (``core``) or /apis."""
    groups = [("", [("", "v1")])] if core else _named_groups(served)
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [
                {
                    "version": version_served,
                    "freshness": "Current",
                    "resources": [_aggregated(kind) for kind in kinds_of(served, group, version_served)],
                }
                for _, version_served in versions
            ],
        }
        for group, versions in groups
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated(kind: Kind) -> JsonObject:
    response = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    entry: JsonObject = {
        "resource": kind.plural,
        "responseKind": response,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [_aggregated_sub(name, response) for name in kind.subresources]
    return entry


def _aggregated_sub(name: str, own: JsonObject) -> JsonObject:
    group, version, response, verbs = SUBRESOURCES[name]
    kind = {"group": group, "version": version, "kind": response} if response else own
    return {"subresource": name, "responseKind": kind, "verbs": list(verbs)}
