"""What a pod's resolver makes of a name, and which Service (if any) answers to it.

In: a name and the namespace of the pod that asks. Out: the questions in the order they are sent (search list of three,
``ndots:5``) and a Naming: a Service, nobody, or somebody outside the cluster. Called by ``analysis.path``.
Rules: Kubernetes DNS specification 1.1; resolv.conf of a ClusterFirst pod.
"""

from __future__ import annotations

import msgspec

from stockade.model.meta import ObjectRef
from stockade.model.objects import Service
from stockade.store.state import ClusterState

CLUSTER_ZONE = "cluster.local"
NDOTS = 5


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """``questions`` end with the one that is answered. ``service`` None and ``exists``: a host outside."""

    questions: tuple[str, ...]
    service: Service | None = None
    exists: bool = True


def questions(name: str, namespace: str) -> tuple[str, ...]:
    """Every name the resolver would try, in order; a trailing dot means "as it is"."""
    if name.endswith("."):
        return (name.rstrip("."),)
    search = (f"{namespace}.svc.{CLUSTER_ZONE}", f"svc.{CLUSTER_ZONE}", CLUSTER_ZONE)
    extended = tuple(f"{name}.{suffix}" for suffix in search)
    return (name, *extended) if name.count(".") >= NDOTS else (*extended, name)


def resolve(state: ClusterState, name: str, namespace: str) -> Naming:
    """The first question that a Service answers; else the plain name, which has to be known outside."""
    asked = questions(name, namespace)
    for at, question in enumerate(asked):
        service = _service(state, question)
        if service is not None:
            return Naming(questions=asked[: at + 1], service=service)
    plain = name.rstrip(".")
    outside = "." in plain and not plain.endswith(f".{CLUSTER_ZONE}")
    return Naming(questions=asked, exists=outside)


def _service(state: ClusterState, question: str) -> Service | None:
    suffix = f".svc.{CLUSTER_ZONE}"
    parts = question.removesuffix(suffix).split(".") if question.endswith(suffix) else []
    return state.services.get(ObjectRef(parts[1], parts[0])) if len(parts) == 2 else None
