"""Raw JSON of one object to its view, straight by msgspec; and what to make of an object that does not decode.

Never widen access (rule 57): a policy with content we cannot read still isolates what it selects and allows nothing;
any other unreadable object is left out (a pod that is not known is fenced, and matches no peer).
"""

from __future__ import annotations

import logging

import msgspec

from stockade.kube.resources import NETWORK_POLICIES, KubeObject, Resource
from stockade.model.meta import ObjectMeta
from stockade.model.netpol import EGRESS, INGRESS, NetworkPolicy, NetworkPolicySpec
from stockade.model.selectors import LabelSelector

log = logging.getLogger(__name__)


class MetaOnly(msgspec.Struct, frozen=True):
    """Any object, seen as its metadata."""

    metadata: ObjectMeta


class _SelectorOnly(msgspec.Struct, frozen=True, rename="camel"):
    pod_selector: LabelSelector | None = None


class _PolicyWithSelector(msgspec.Struct, frozen=True):
    spec: _SelectorOnly


def decode_meta(raw: bytes | msgspec.Raw) -> ObjectMeta | None:
    try:
        return msgspec.json.decode(raw, type=MetaOnly).metadata
    except msgspec.DecodeError:
        return None


def decode_object(resource: Resource, raw: bytes | msgspec.Raw) -> KubeObject | None:
    """None when the object cannot be read and leaving it out is the safe side."""
    try:
        return msgspec.json.decode(raw, type=resource.view)
    except msgspec.DecodeError as error:
        meta = decode_meta(raw)
        who = f"{resource.kind} {meta.ref}" if meta else f"a {resource.kind} without metadata"
        if resource is not NETWORK_POLICIES or meta is None:
            log.warning("%s cannot be read and is left out: %s", who, error)
            return None
        log.warning("%s cannot be read; it isolates the pods it selects and allows nothing: %s", who, error)
        return NetworkPolicy(
            metadata=meta,
            spec=NetworkPolicySpec(pod_selector=_selector(raw), policy_types=[INGRESS, EGRESS]),
        )


def _selector(raw: bytes | msgspec.Raw) -> LabelSelector:
    """The whole namespace when not even the selector can be read."""
    try:
        return msgspec.json.decode(raw, type=_PolicyWithSelector).spec.pod_selector or LabelSelector()
    except msgspec.DecodeError:
        return LabelSelector()
