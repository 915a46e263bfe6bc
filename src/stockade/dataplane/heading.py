"""What stands above rendered rules, for people: whose rules these are, how many of what, which pod is where, and how to read them.

In: the compiled policies, the node and the ruleset made from them. Out: lines without comment marks. Called by ``stockade render`` and
the golden tests. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from stockade.dataplane.chains import WAYS
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.lower import NodeView, is_local
from stockade.dataplane.render import identity_text
from stockade.model.meta import ObjectRef
from stockade.net.cidr import Address, format_address
from stockade.policy.compiled import CompiledPolicies, PodEntry, Profile

_READING = """\
fwd_hook, in_hook  where packets enter; a connection whose mark is in gen is known and passes
id4, id6           address of a pod of this node -> identity, the number of its pair of profiles
eg, in             identity -> e_<profile>, egress of the source, then i_<profile>, ingress of the destination
reg, rin           the same for replies, with source and destination swapped: re_<profile>, ri_<profile>
deny_..., fence    where denied packets end: logged, then dropped or rejected; the log's prefix names the profile
pass, remember     allowed: the connection gets the mark that is in gen
A rule that comes from a policy has it behind the #: namespace/policy direction[rule]: peer, port.
Sets are named by the hash of what they hold, which stands above each. More in docs/dataplane.md."""


class LocalPod(msgspec.Struct, frozen=True):
    """A pod as the table has it. A profile is None when the pod is not isolated in that direction."""

    ref: ObjectRef
    addresses: tuple[str, ...]
    identity: int
    egress: Profile | None
    ingress: Profile | None


def local_pods(compiled: CompiledPolicies, node: NodeView, ruleset: Ruleset) -> tuple[LocalPod, ...]:
    """The programmed pods of ``ruleset`` (which may be an excerpt), in the order of their names."""
    numbers = {
        (each.key.family, address): number
        for each in ruleset.identities.values()
        for address, number in each.elements.items()
    }
    return tuple(
        LocalPod(entry.ref, _texts(own), numbers[own[0]], entry.egress, entry.ingress)
        for entry in compiled.pods
        if is_local(entry, node) and (own := _programmed(entry, numbers))
    )


def heading(
    compiled: CompiledPolicies, node: NodeView, ruleset: Ruleset, generation: int, notes: Sequence[str] = ()
) -> list[str]:
    """``notes``: what else a reader should know, such as what was assumed."""
    pods = local_pods(compiled, node, ruleset)
    return [
        f"nftables rules of node {node.name}, as Stockade programs them, under generation {generation}.",
        *_counts(pods, ruleset),
        *(f"Note: {note}." for note in notes),
        "",
        *_READING.splitlines(),
        "",
        *_pod_lines(pods),
    ]


def pod_lines(compiled: CompiledPolicies, node: NodeView, ruleset: Ruleset) -> list[str]:
    """Each pod with its identity and its chains."""
    return list(_pod_lines(local_pods(compiled, node, ruleset)))


def _programmed(entry: PodEntry, numbers: dict[tuple[int | None, int], int]) -> list[Address]:
    return [address for address in entry.addresses if address in numbers]


def _texts(addresses: Iterable[Address]) -> tuple[str, ...]:
    return tuple(format_address(*address) for address in addresses)


def _counts(pods: tuple[LocalPod, ...], ruleset: Ruleset) -> Iterator[str]:
    egress, ingress = sum(p.egress is not None for p in pods), sum(p.ingress is not None for p in pods)
    policies = {ref for p in pods for each in (p.egress, p.ingress) if each for ref in each.policies}
    identities, rules = {p.identity for p in pods}, sum(len(c.rules) for c in ruleset.chains.values())
    yield (
        f"{_of(len(pods), 'pod')} programmed ({egress} isolated for egress, {ingress} for ingress), "
        f"{_of(len(policies), 'policy')}, {_of(len(identities), 'identity')}; {_of(rules, 'rule')}."
    )
    fenced = ", ".join(map(str, ruleset.fenced))
    yield (
        f"Fenced until programmed: {fenced}." if fenced else "No fence: this node's pod blocks are not known."
    )


def _of(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"


def _pod_lines(pods: tuple[LocalPod, ...]) -> Iterator[str]:
    for pod in pods:
        yield f"pod {pod.ref} {' '.join(pod.addresses)}, identity {identity_text(pod.identity)}"
        for way in WAYS:
            profile = pod.egress if way.direction == "Egress" else pod.ingress
            if way.first:
                yield f"  {way.direction.lower()}: {_profile_text(way.code, profile)}"


def _profile_text(code: str, profile: Profile | None) -> str:
    if profile is None:
        return "not isolated"
    return f"{code}_{profile.id}, isolated by {', '.join(map(str, profile.policies))}"
