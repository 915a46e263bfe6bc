"""Objects cut down to what policy reads, so that "nothing relevant changed" is plain equality.

In: a view as the API sent it. Out: the same view without the rest. Called by ``agent.world`` for each event. A pod's conditions,
a node's heartbeat, an annotation or a new resourceVersion then change nothing, and no rule is compiled for them.
It also bounds memory: ten thousand pods are kept without their annotations and container lists.
"""

from __future__ import annotations

from msgspec.structs import replace

from stockade.kube.resources import KubeObject
from stockade.model.meta import ObjectMeta
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import Container, Node, Pod, PodIP, PodSpec, PodStatus


def relevant(obj: KubeObject) -> KubeObject:
    if isinstance(obj, Pod):
        return _pod(obj)
    if isinstance(obj, Node):
        # Addresses and podCIDRs; the labels of nodes are nobody's peer in NetworkPolicy v1.
        return replace(obj, metadata=ObjectMeta(name=obj.metadata.name, uid=obj.metadata.uid))
    return replace(obj, metadata=_meta(obj))


def _meta(obj: KubeObject) -> ObjectMeta:
    meta = obj.metadata
    return ObjectMeta(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        # A pod on its way out yields its address to a newer one (policy.entries).
        deletion_timestamp=meta.deletion_timestamp if isinstance(obj, Pod) else None,
        labels=meta.labels if not isinstance(obj, NetworkPolicy) else None,
    )


def _pod(pod: Pod) -> Pod:
    ports = pod.named_ports()
    return Pod(
        metadata=_meta(pod),
        spec=PodSpec(
            node_name=pod.spec.node_name,
            host_network=pod.spec.host_network,
            containers=[Container(ports=ports)] if ports else None,
        ),
        status=PodStatus(
            phase=pod.status.phase,
            pod_ip=pod.ips[0] if pod.ips else "",
            pod_ips=[PodIP(ip=ip) for ip in pod.ips] or None,
            host_ip=pod.status.host_ip,
        ),
    )
