"""What the user typed as the near end of a path, taken apart.

In: ``pod/foo``, ``ns:deploy/web``, plain ``foo``, ``node/NAME``, an IP address. Out: a Source, and with the state at hand the
ends it stands for. Called by ``analysis.ask``.
"""

from __future__ import annotations

import re

import msgspec

from stockade.analysis.backends import node_address
from stockade.analysis.steps import Origin, PathQuery
from stockade.analysis.target import NODES, TargetError, parse_pod
from stockade.analysis.workloads import WORKLOADS, nothing_runs, pods_of
from stockade.model.meta import ObjectRef
from stockade.net.cidr import parse_address
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.evaluate import UnknownPodError, endpoint_for
from stockade.policy.verdict import AddressEndpoint, PodEndpoint

_REFERENCE = re.compile(r"(?:(?P<space>[a-z0-9-]+):)?(?P<kind>[a-z.]+)/(?P<name>[a-z0-9.-]+)\Z")
FORMS = "pod/NAME, NS:pod/NAME, deploy/NAME (rs, sts, ds, job, cronjob, rc), node/NAME or an IP address"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of the four is given; ``workload`` is the kind of ``ref`` when that is no pod."""

    text: str
    ref: ObjectRef | None = None
    workload: str = ""
    node: str = ""
    address: str = ""

    @property
    def family(self) -> int | None:
        """That in which it connects, when an address says so."""
        return parse_address(self.address)[0] if self.address else None


def parse_source(text: str, namespace: str = "default") -> Source:
    """``namespace`` is the one for references that name none. Raises TargetError."""
    try:
        parse_address(text)
    except ValueError:
        pass
    else:
        return Source(text=text, address=text)
    match = _REFERENCE.match(text)
    if match and match["kind"] in NODES and match["space"] is None:
        return Source(text=text, node=match["name"])
    if match and match["kind"] in WORKLOADS:
        ref = ObjectRef(match["space"] or namespace, match["name"])
        return Source(text=text, ref=ref, workload=WORKLOADS[match["kind"]])
    try:
        return Source(text=text, ref=parse_pod(text, namespace))
    except TargetError:
        raise TargetError(f"{text!r} is not something that connects; write {FORMS}") from None


def origins(compiled: CompiledPolicies, source: Source) -> tuple[Origin, ...]:
    """The pods, or the address, that ``source`` stands for. Raises TargetError and UnknownPodError."""
    if source.node or source.address:
        return (_outside(compiled, source),)
    assert source.ref is not None
    if source.workload:
        found = pods_of(compiled, source.workload, source.ref)
        if not found:
            raise TargetError(nothing_runs(source.workload, source.ref))
        return found
    if source.ref not in compiled.by_ref:
        raise UnknownPodError(f"pod {source.ref} does not exist or has finished")
    return (source.ref,)


def _outside(compiled: CompiledPolicies, source: Source) -> Origin:
    address = node_address(compiled, source.node) if source.node else parse_address(source.address)
    endpoint = endpoint_for(compiled, address)
    return endpoint.ref if isinstance(endpoint, PodEndpoint) else endpoint


def origin_text(origin: Origin) -> str:
    return str(origin) if isinstance(origin, AddressEndpoint) else f"pod {origin}"


def origin_of(query: PathQuery) -> str:
    """Who connects, for people."""
    return origin_text(query.outside or query.source)
