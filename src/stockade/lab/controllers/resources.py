"""The namespaced resources that hold content, and which resource a kind is: for the namespace and garbage controllers."""

from __future__ import annotations

RESOURCE_OF = {
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Endpoints"): "endpoints",
    ("v1", "Event"): "events",
    ("v1", "Pod"): "pods",
    ("v1", "Secret"): "secrets",
    ("v1", "Service"): "services",
    ("v1", "ServiceAccount"): "serviceaccounts",
    ("apps/v1", "Deployment"): "deployments.apps",
    ("apps/v1", "ReplicaSet"): "replicasets.apps",
    ("coordination.k8s.io/v1", "Lease"): "leases.coordination.k8s.io",
    ("discovery.k8s.io/v1", "EndpointSlice"): "endpointslices.discovery.k8s.io",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies.networking.k8s.io",
}
"""apiVersion and kind → resource, as the Registry names it."""

NAMESPACED = tuple(RESOURCE_OF.values())

CLUSTER_OF = {("v1", "Namespace"): "namespaces", ("v1", "Node"): "nodes"}
