"""Hypothesis strategies: what happens in a cluster, as deltas. Mostly pods that come, change and go; sometimes all else.

In: the ClusterState so far. Out: lists of deltas as a reflector would gather them: repeated, for things that never were, full lists in
between. Names, labels and addresses are those of ``strategies``, so that addresses are used again and selectors match.
"""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from stockade.model.meta import ObjectRef
from stockade.model.objects import Pod, PodIP
from stockade.store.delta import Delete, Delta, Replace, Upsert, apply
from stockade.store.state import NAMESPACES as NAMESPACE_KIND
from stockade.store.state import NODES as NODE_KIND
from stockade.store.state import PODS, POLICIES, SERVICES, ClusterState
from stockade.testing.build import namespace, node, service
from stockade.testing.strategies import NAMESPACES, NODES, labels, pods, policies

LAST_POD = 9


@st.composite
def bursts(draw: st.DrawFn, state: ClusterState) -> list[Delta]:
    """What arrived while somebody was busy: one delta or several, in order."""
    found: list[Delta] = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, 5]))):
        delta = draw(deltas(state))
        found += [delta] * draw(st.sampled_from([1, 1, 1, 1, 2]))
        state = apply(state, [delta])
    return found


@st.composite
def deltas(draw: st.DrawFn, state: ClusterState) -> Delta:
    shapes = ["change"] * 5 + ["new"] * 2 + ["delete"] * 2 + ["list", "other", "other", "twin", "twin"]
    shape = draw(st.sampled_from(shapes))
    if shape == "other":
        return draw(_others(state))
    if shape == "list":
        return draw(_lists(state))
    if shape == "new" or not state.pods:
        return Upsert(PODS, draw(pods(draw(st.integers(1, LAST_POD)))))
    ref = draw(st.sampled_from(sorted(state.pods)))
    if shape == "delete":
        return Delete(PODS, ref)
    one = state.pods[ref]
    return Upsert(PODS, draw(_twins(one) if shape == "twin" else _changed(state, one)))


@st.composite
def _changed(draw: st.DrawFn, state: ClusterState, pod: Pod) -> Pod:
    what = draw(st.sampled_from(["labels", "labels", "phase", "ips", "steal", "leave", "node"]))
    meta, spec, status = pod.metadata, pod.spec, pod.status
    if what == "labels":
        meta = msgspec.structs.replace(meta, labels=draw(labels))
    elif what == "leave":
        stamp = None if meta.deletion_timestamp else "2026-01-01T00:00:00Z"
        meta = msgspec.structs.replace(meta, deletion_timestamp=stamp)
    elif what == "phase":
        phase = draw(st.sampled_from(["Running", "Pending", "Succeeded", "Failed"]))
        status = msgspec.structs.replace(status, phase=phase)
    elif what == "node":
        spec = msgspec.structs.replace(spec, node_name=draw(st.sampled_from(sorted(NODES))))
    else:
        given = [PodIP(ip=f"10.244.0.{draw(st.integers(1, LAST_POD))}")]
        if what == "steal":
            given = list(
                draw(st.sampled_from(sorted(state.pods.values(), key=lambda p: p.ref))).status.pod_ips or []
            )
        status = msgspec.structs.replace(status, pod_ips=given)
    return Pod(metadata=meta, spec=spec, status=status)


@st.composite
def _twins(draw: st.DrawFn, pod: Pod) -> Pod:
    """As a Deployment makes them: another name and address, all else alike."""
    number = draw(st.integers(LAST_POD + 1, LAST_POD + 5))
    meta = msgspec.structs.replace(pod.metadata, name=f"p{number}")
    ips = [PodIP(ip=f"10.244.0.{number}"), PodIP(ip=f"fd00:244::{number:x}")]
    status = msgspec.structs.replace(pod.status, pod_ips=ips[: draw(st.sampled_from([1, 2]))])
    return Pod(metadata=meta, spec=pod.spec, status=status)


@st.composite
def _lists(draw: st.DrawFn, state: ClusterState) -> Delta:
    """After a lost watch: what there is, without some and with others."""
    kept = [each for _, each in sorted(state.pods.items()) if draw(st.sampled_from([True] * 6 + [False]))]
    return Replace(
        PODS, (*kept, *(draw(pods(number)) for number in draw(st.sampled_from([(), (1,), (2, 3)]))))
    )


@st.composite
def _others(draw: st.DrawFn, state: ClusterState) -> Delta:
    kind = draw(
        st.sampled_from(["policy", "policy", "gone policy", "namespace", "gone namespace", "node", "service"])
    )
    name = draw(st.sampled_from(NAMESPACES))
    if kind == "gone policy" and state.policies:
        return Delete(POLICIES, draw(st.sampled_from(sorted(state.policies))))
    if kind == "namespace":
        return Upsert(NAMESPACE_KIND, namespace(name, draw(labels)))
    if kind == "gone namespace":
        return Delete(NAMESPACE_KIND, ObjectRef("", name))
    if kind == "node":
        where = draw(st.sampled_from(sorted(NODES)))
        return Upsert(NODE_KIND, node(where, *draw(st.sampled_from([NODES[where], NODES[where][:1]]))))
    if kind == "service":
        return Upsert(SERVICES, service(f"{name}/s", None, ""))
    return Upsert(POLICIES, draw(policies(f"np{draw(st.integers(0, 3))}")))
