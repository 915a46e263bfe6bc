"""Small clusters written as YAML, for tests: the documents are Kubernetes objects with the fields that matter."""

from __future__ import annotations

import msgspec
import yaml

from stockade.model.meta import View
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import EndpointSlice, Namespace, Node, Pod, Service
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.store.state import ClusterState

_KINDS: dict[str, type[View]] = {
    "Namespace": Namespace,
    "Node": Node,
    "Pod": Pod,
    "Service": Service,
    "EndpointSlice": EndpointSlice,
    "NetworkPolicy": NetworkPolicy,
}


def objects(text: str) -> list[View]:
    """Trusting: for documents that a test wrote."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    return [msgspec.convert(document, _KINDS[document["kind"]], strict=False) for document in documents]


def compile_text(*texts: str) -> CompiledPolicies:
    return compile_state(ClusterState.of(view for text in texts for view in objects(text)))
