"""Warnings that belong beside a path: rules that do more, or less, than their author seems to have meant.

In: compiled policies, the pod that connects, what it tried. Out: one sentence each. Called by ``analysis.path``.
Rules 23 (target port), 39 (Service addresses), 45 (DNS).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stockade.analysis.steps import Attempt
from stockade.model.netpol import EGRESS
from stockade.model.objects import Service
from stockade.net.cidr import BITS, parse_address
from stockade.policy.compiled import BlockPeer, CompiledPolicies, CompiledRule, PodEntry, PortRange
from stockade.policy.content import MAX_PORT

DNS_PORT = 53


def open_dns(entry: PodEntry) -> Iterator[str]:
    """Port 53 without ``to`` is port 53 of every host: a way out for data (rule 45)."""
    for rule in entry.egress.rules if entry.egress else ():
        if _names_port(rule, DNS_PORT) and _reaches_everybody(rule):
            yield (
                f"{rule.ref} allows port 53 of every host, not only of kube-dns: whoever listens there can be reached;"
                " add a `to` with namespaceSelector kubernetes.io/metadata.name=kube-system and podSelector"
                " k8s-app=kube-dns"
            )


def _names_port(rule: CompiledRule, number: int) -> bool:
    """Listed as such; "every port" names none."""
    ranges = (port for port in rule.ports or () if isinstance(port, PortRange))
    return any(port.lo <= number <= port.hi and (port.lo, port.hi) != (0, MAX_PORT) for port in ranges)


def _reaches_everybody(rule: CompiledRule) -> bool:
    blocks = [peer for peer in rule.peers or () if isinstance(peer, BlockPeer)]
    return rule.peers is None or any(
        list(peer.ranges) == [(0, (1 << BITS[peer.family]) - 1)] for peer in blocks
    )


def service_port_in_rules(
    compiled: CompiledPolicies, denied: Iterable[Attempt], service: Service, port: int
) -> Iterator[str]:
    """A rule that lists the Service's port where the pod's own port counts (rule 23)."""
    for attempt in denied:
        if attempt.flow.port == port:
            continue
        for rule in _missed(compiled, attempt):
            if _names_port(rule, port):
                yield (
                    f"{rule.ref} lists port {port}, which is Service {service.ref}'s;"
                    f" policies judge the pod's own port, here {attempt.flow.port}"
                )


def service_address_in_rules(
    compiled: CompiledPolicies, denied: Iterable[Attempt], service: Service
) -> Iterator[str]:
    """A block that covers the Service's address, which no policy ever sees (rule 39)."""
    for attempt in denied:
        for rule in _missed(compiled, attempt):
            for ip in service.virtual_ips:
                family, value = parse_address(ip)
                blocks = (peer for peer in rule.peers or () if isinstance(peer, BlockPeer))
                if any(peer.family == family and value in peer.ranges for peer in blocks):
                    yield (
                        f"{rule.ref} covers {ip}, the address of Service {service.ref};"
                        " policies judge the address of the pod behind it"
                    )


def _missed(compiled: CompiledPolicies, attempt: Attempt) -> Iterator[CompiledRule]:
    for side in (attempt.verdict.egress, attempt.verdict.ingress):
        if side.subject is None or not side.misses:
            continue
        entry = compiled.pods[compiled.by_ref[side.subject]]
        profile = entry.egress if side.direction == EGRESS else entry.ingress
        wanted = {miss.rule for miss in side.misses}
        yield from (rule for rule in (profile.rules if profile else ()) if rule.ref in wanted)


def from_outside(service: Service, source: str) -> Iterator[str]:
    """Whose address the pod sees when somebody outside uses a Service (rule 41)."""
    if service.spec.type == "ClusterIP" and not service.outside_ips:
        yield (
            f"Service {service.ref} is of type ClusterIP, which hosts outside the cluster cannot reach: if something in"
            " the cluster (an Ingress, a proxy) connects for them, its address counts, not theirs"
        )
    elif service.spec.external_traffic_policy != "Local":
        yield (
            f"Service {service.ref} has externalTrafficPolicy Cluster: the pod may see a node's address instead of"
            f" {source}; only with Local is the verdict certain"
        )
