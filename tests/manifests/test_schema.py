"""The field tables: complete where it counts, and consistent."""

from __future__ import annotations

import pytest

from stockade.manifests import schema
from stockade.manifests.schema.table import SCALARS

NETWORKING = "io.k8s.api.networking.v1"
CORE = "io.k8s.api.core.v1"


def test_every_field_has_a_known_type() -> None:
    for spec in schema.types().values():
        for field in spec.fields.values():
            assert field.type in SCALARS | {"object", "list", "map"}, (spec.name, field)
            assert not field.ref or field.ref in schema.types(), (spec.name, field)
            assert bool(field.item) == (field.type in {"list", "map"}), (spec.name, field)
            assert not field.merge_key or field.merge_key in schema.types()[field.ref].fields, (
                spec.name,
                field,
            )
            assert field.go_type, (spec.name, field)


def test_a_network_policy_has_exactly_its_fields() -> None:
    fields = {name: set(spec.fields) for name, spec in schema.types().items() if name.startswith(NETWORKING)}
    assert fields == {
        f"{NETWORKING}.NetworkPolicy": {"apiVersion", "kind", "metadata", "spec"},
        f"{NETWORKING}.NetworkPolicySpec": {"podSelector", "ingress", "egress", "policyTypes"},
        f"{NETWORKING}.NetworkPolicyIngressRule": {"ports", "from"},
        f"{NETWORKING}.NetworkPolicyEgressRule": {"ports", "to"},
        f"{NETWORKING}.NetworkPolicyPort": {"protocol", "port", "endPort"},
        f"{NETWORKING}.NetworkPolicyPeer": {"podSelector", "namespaceSelector", "ipBlock"},
        f"{NETWORKING}.IPBlock": {"cidr", "except"},
    }
    described = [
        f for name, s in schema.types().items() if name.startswith(NETWORKING) for f in s.fields.values()
    ]
    assert all(f.description for f in described if f.name not in {"apiVersion", "kind", "metadata"})


@pytest.mark.parametrize(
    ("owner", "field", "strategy", "key"),
    [
        ("PodSpec", "containers", "merge", "name"),
        ("PodSpec", "volumes", "merge,retainKeys", "name"),
        ("PodSpec", "tolerations", "", ""),
        ("PodSpec", "hostAliases", "merge", "ip"),
        ("Container", "ports", "merge", "containerPort"),
        ("Container", "env", "merge", "name"),
        ("Container", "command", "", ""),
        ("Container", "volumeMounts", "merge", "mountPath"),
        ("ServiceSpec", "ports", "merge", "port"),
        ("PodStatus", "conditions", "merge", "type"),
    ],
)
def test_how_lists_merge(owner, field, strategy, key) -> None:
    spec = schema.types()[f"{CORE}.{owner}"].fields[field]
    assert (spec.patch_strategy, spec.merge_key) == (strategy, key)


def test_metadata_lists_merge() -> None:
    meta = schema.types()[f"{schema.META}.ObjectMeta"].fields
    assert (meta["ownerReferences"].merge_key, meta["finalizers"].patch_strategy) == ("uid", "merge")


def test_types_are_found_by_kind() -> None:
    policy = schema.type_of("networking.k8s.io/v1", "NetworkPolicy")
    assert policy is not None
    assert (policy.go_name, policy.fields["spec"].ref) == ("NetworkPolicy", f"{NETWORKING}.NetworkPolicySpec")
    assert schema.type_of("v1", "NetworkPolicy") is None
    served = {
        "Pod",
        "Service",
        "Namespace",
        "Node",
        "Event",
        "Endpoints",
        "ConfigMap",
        "Secret",
        "ServiceAccount",
    }
    assert served <= {kind for version, kind in schema.kinds() if version == "v1"}
    assert {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"} <= {
        k for v, k in schema.kinds() if v == "apps/v1"
    }
