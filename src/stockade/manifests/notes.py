"""What a decision from files rests on without saying so: namespaces nobody gave, kinds that are not read, policies that are not judged.

In: the loaded objects. Out: Findings, at most one for each kind, and one for all namespaces. Called by ``manifests.load``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stockade.manifests import schema
from stockade.manifests.findings import Finding, shown
from stockade.manifests.loaded import LoadedObject
from stockade.model.diagnostic import Diagnostic, Severity

# Groups whose kinds allow or deny traffic beside NetworkPolicy. The name says whose they are.
_POLICY_GROUPS = {
    "policy.networking.k8s.io": "the Network Policy API",
    "cilium.io": "Cilium",
    "crd.projectcalico.org": "Calico",
    "projectcalico.org": "Calico",
    "crd.antrea.io": "Antrea",
    "k8s.ovn.org": "OVN-Kubernetes",
    "security.istio.io": "Istio",
}
# Groups with a dot that Kubernetes itself serves; what they hold makes no pods.
_SERVED = frozenset(
    f"{group}.k8s.io"
    for group in (
        "admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates",
        "coordination", "discovery", "events", "flowcontrol.apiserver", "internal.apiserver", "networking", "node",
        "rbac.authorization", "resource", "scheduling", "storage", "storagemigration",
    )
)  # fmt: skip
_GIVEN = frozenset({"default"})  # every cluster has it
_SHOWN = 8


def about(objects: Sequence[LoadedObject]) -> Iterator[Finding]:
    yield from _kinds(objects)
    yield from _namespaces(objects)


def _kinds(objects: Sequence[LoadedObject]) -> Iterator[Finding]:
    """Kinds that Kubernetes itself serves are known not to matter; of the others we only know the group."""
    foreign: dict[tuple[str, str], list[LoadedObject]] = {}
    for found in objects:
        if found.view is None and schema.type_of(found.api_version, found.kind) is None:
            foreign.setdefault((found.api_version, found.kind), []).append(found)
    for (api_version, kind), members in foreign.items():
        group = api_version.rpartition("/")[0]
        name = shown(f"{kind}.{group}" if group else kind)
        counted = f"{name} ({len(members)} objects)" if len(members) > 1 else name
        if group in _POLICY_GROUPS and "Policy" in kind:
            yield members[0].place.finding(_not_evaluated(counted, _POLICY_GROUPS[group]))
        elif "." in group and group not in _SERVED:
            yield members[0].place.finding(_not_read(counted))


def _not_evaluated(name: str, owner: str) -> Diagnostic:
    return Diagnostic(
        code="not-evaluated",
        message=f"{name}: not evaluated; a policy of {owner} can allow or deny what NetworkPolicy does not",
        severity=Severity.WARNING,
        hint="read the result as that of the NetworkPolicies alone",
    )


def _not_read(name: str) -> Diagnostic:
    message = f"{name}: a kind that is not read; pods that it would make are not seen"
    return Diagnostic(code="foreign-kind", message=message, severity=Severity.NOTE)


def _namespaces(objects: Sequence[LoadedObject]) -> Iterator[Finding]:
    given = {found.key[3] for found in objects if found.kind == "Namespace"} | _GIVEN
    used = {found.key[2] for found in objects if found.view is not None}
    missing = sorted(used - given - {""})
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        names = shown(", ".join(missing[:_SHOWN]))
        message = f"no Namespace given for {names}{more}: assumed to have the label kubernetes.io/metadata.name and no other"
        yield Finding(
            Diagnostic(
                code="implied-namespace",
                message=message,
                severity=Severity.NOTE,
                hint="add the Namespaces if a namespaceSelector asks for other labels",
            )
        )
