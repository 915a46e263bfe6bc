"""What to know before applying a change, in sentences.

In: grants, and the flows that they allow besides the path. Out: one line each. Called by ``suggest``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stockade.analysis.remedy.grant import Grant
from stockade.analysis.remedy.labels import Choice
from stockade.analysis.remedy.peers import Peer
from stockade.net.ranges import RangeSet
from stockade.policy.verdict import Endpoint, Flow, PodEndpoint

_MOST_NAMED, _MOST_NOTES = 5, 10


def grant_notes(grant: Grant) -> Iterator[str]:
    """What makes a selector or a block mean other things tomorrow."""
    yield from _choice_notes(grant.subjects, grant)
    for peer in (peer for rule in grant.rules for peer in rule.peers):
        if peer.choice is not None:
            yield from _choice_notes(peer.choice, grant)
        else:
            yield _block_note(peer, grant)


def _choice_notes(choice: Choice, grant: Grant) -> Iterator[str]:
    pod = choice.pods[0]
    if choice.selector.is_empty:
        yield (
            f"{grant.ref} means pod {pod} by a selector without labels, for it has none: that is every pod of"
            f" namespace {pod.namespace}, also those to come; give the pod a label first"
        )
    for key in choice.fleeting:
        yield (
            f"{grant.ref} tells pod {pod} from others by {key} alone, which does not outlive it: label the pods"
            " that are meant, or apply it for a test only"
        )


def _block_note(peer: Peer, grant: Grant) -> str:
    block = peer.item.ip_block.cidr if peer.item.ip_block else ""
    sharing = [end for end in peer.ends if isinstance(end, PodEndpoint)]
    if sharing:
        return f"{grant.ref} allows {block}, a node's address: whatever runs on that node's network shares it"
    return f"{grant.ref} allows {block}: policies know addresses, not names; a name may have another one tomorrow"


def also_notes(also: Iterable[Flow], *, more: bool) -> list[str]:
    """Sources that gain the same are named together."""
    gains: dict[Endpoint, dict[Endpoint, dict[str, list[int]]]] = {}
    for flow in also:
        ports = gains.setdefault(flow.source, {}).setdefault(flow.destination, {})
        ports.setdefault(flow.protocol, []).append(flow.port or 0)
    reached = {source: _by_ports(ends) for source, ends in gains.items()}
    everywhere: dict[str, set[Endpoint]] = {}
    for groups in reached.values():
        for ports_text, ends in groups.items():
            everywhere.setdefault(ports_text, set()).update(ends)
    alike: dict[str, list[Endpoint]] = {}
    for source, groups in reached.items():
        for ports_text, ends in groups.items():
            # A pod may always reach itself, so replicas that gain each other all gain the same.
            own = {source} if source in everywhere[ports_text] else set()
            gain = f"{_named(sorted(ends | own, key=str))} {ports_text}"
            alike.setdefault(gain, []).append(source)
    together: dict[str, list[str]] = {}
    for gain, sources in alike.items():
        together.setdefault(_named(sources), []).append(gain)
    notes = [
        f"also allows {who} -> {'; '.join(what)}: no selector tells these pods apart, or these share an address"
        for who, what in together.items()
    ]
    if len(notes) > _MOST_NOTES:
        notes = [
            *notes[:_MOST_NOTES],
            f"and {len(notes) - _MOST_NOTES} more such notes; -o json lists every pair",
        ]
    if more:
        notes.append(
            "so many pods share these labels that not every pair was looked at: it allows more of the same kind"
        )
    return notes


def _by_ports(reached: dict[Endpoint, dict[str, list[int]]]) -> dict[str, set[Endpoint]]:
    """``TCP 80, UDP 53`` -> the destinations that are gained on just these."""
    found: dict[str, set[Endpoint]] = {}
    for destination, ports in reached.items():
        texts = (f"{protocol} {each}" for protocol, numbers in ports.items() for each in _ranges(numbers))
        found.setdefault(", ".join(texts), set()).add(destination)
    return found


def _ranges(numbers: list[int]) -> list[str]:
    ranges = RangeSet((number, number) for number in numbers)
    return [str(low) if low == high else f"{low}-{high}" for low, high in ranges]


def _named(ends: list[Endpoint]) -> str:
    """``pods a/x, a/y and 3 more``."""
    rest = f" and {len(ends) - _MOST_NAMED} more" if len(ends) > _MOST_NAMED else ""
    if len(ends) == 1 or not all(isinstance(end, PodEndpoint) for end in ends):
        return ", ".join(str(end) for end in ends[:_MOST_NAMED]) + rest
    names = ", ".join(str(end).removeprefix("pod ") for end in ends[:_MOST_NAMED])
    return f"pods {names}{rest}"
