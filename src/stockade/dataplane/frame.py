"""The chains that are the same for every cluster: hooks, fence, and the way from address to identity to profile. Called by ``lower``.

    forward ──(mark is current)──► accept                          input: the same; answers to the node's own connections pass
       └──► check: neighbour discovery, [arrival] ──► judge
    judge ─┬─ invalid, related
           ├─ first packet:  source ─id─► from_pod ─eg─► e_<profile> ─┬─► ingress: destination ─id─► to_pod ─in─► i_<profile> ─┬─► pass
           │                                                         └─► deny                                               └─► deny
           └─ reply: the same mirrored:  replies ─id─► back_from_pod ─reg─► re_<profile> ─► ringress ─id─► back_to_pod ─rin─► ri_<profile>
    pass ─► remember: write the current generation into the connection's mark; the end: accept

Only ``remember`` and the map ``gen``, which the hooks ask, know the generation. A policy that becomes stricter raises it, so that every connection is
judged once more by whichever packet comes next, a reply included (reference dataplane 3, E5).

The fence: an address of the node's pod blocks that has no identity neither sends nor receives. It costs programmed pods nothing, for
it is asked only after an address was not found. Known connections do not meet it, so whoever takes an address out of ``id4`` must raise
the generation as well. Addresses of the node itself inside a pod block (a bridge's, a tunnel's) are no pods. Output has
no hook: the node reaches its own pods whatever the policies (rule 34), and the answers of those that are programmed come in.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.dataplane.deny import fence_chain
from stockade.dataplane.ir import (
    PROTOCOLS,
    Accept,
    AcceptKnown,
    Chain,
    CtReply,
    CtState,
    Dispatch,
    Drop,
    Field,
    FromInterface,
    Goto,
    Hook,
    HopLimit,
    Identify,
    IsProtocol,
    KeyType,
    Member,
    NamedSet,
    NoReturnPath,
    NotNodeAddress,
    Remember,
    Rule,
    Within,
)
from stockade.dataplane.names import FENCE, FORWARD, INPUT, REMEMBER
from stockade.dataplane.settings import Options
from stockade.net.cidr import Block

ND_SET = "nd_types"
# router and neighbour solicitation and advertisement, redirect (RFC 4861 section 4)
ND_TYPES = (133, 134, 135, 136, 137)

_SOURCES = {4: Field.SADDR4, 6: Field.SADDR6}
_DESTINATIONS = {4: Field.DADDR4, 6: Field.DADDR6}
_Fields = dict[int, Field]


def nd_set() -> NamedSet:
    elements = frozenset((kind,) for kind in ND_TYPES)
    return NamedSet(ND_SET, (KeyType.ICMPV6_TYPE,), elements, note="neighbour discovery")


def frame_chains(fenced: tuple[Block, ...], options: Options) -> Iterator[Chain]:
    """What is gone to first, the hooks last."""
    yield Chain(REMEMBER, (Rule((), Remember()),), note="the hooks accept what comes to the end")
    yield Chain("pass", (Rule((), Goto(REMEMBER, forget=True)),), note="allowed")
    yield Chain("settled", (Rule((), Accept(forget=True)),), note="allowed, and asked again next time")
    yield fence_chain(options)
    yield from _judgements(fenced)
    yield from _exceptions(fenced)
    judge = (
        Rule((CtState("invalid"),), Goto("invalid")),
        *_errors(),
        Rule((CtReply(),), Goto("replies")),
        *_identify(_SOURCES, "from_pod", fenced),
        Rule((), Goto("ingress")),
    )
    yield Chain("judge", judge, note="connections that are new, or older than the newest stricter policy")
    yield from _entries(fenced, options)


def _errors() -> Iterator[Rule]:
    """Only ICMP: what else is related, as an FTP helper's data connections are, is judged like any connection."""
    for protocol in ("ICMP", "ICMPv6"):
        matches = (IsProtocol(PROTOCOLS[protocol]), CtState("related"))
        yield Rule(matches, Goto("related"), note="errors of known connections")


def _judgements(fenced: tuple[Block, ...]) -> Iterator[Chain]:
    """Both directions, for first packets and for replies; each from its end to its beginning."""
    for start, fields, stop, table, text in (
        ("ingress", _DESTINATIONS, "to_pod", "in", "ingress of the pod that is connected to"),
        ("ringress", _SOURCES, "back_to_pod", "rin", "replies, ingress of the pod that was connected to"),
    ):
        yield Chain(stop, _dispatch(table), note=f"from the identity to the profile: {text}")
        rules = (
            *_identify(fields, stop, fenced),
            Rule((), Goto("pass"), note="nobody's pod: nothing to judge"),
        )
        yield Chain(start, rules, note=text)
    egress = "egress of the pod that connects"
    yield Chain("from_pod", _dispatch("eg"), note=f"from the identity to the profile: {egress}")
    replying = "replies, egress of the pod that connected"
    yield Chain("back_from_pod", _dispatch("reg"), note=f"from the identity to the profile: {replying}")
    replies = (*_identify(_DESTINATIONS, "back_from_pod", fenced), Rule((), Goto("ringress")))
    yield Chain("replies", replies, note=replying)


def _exceptions(fenced: tuple[Block, ...]) -> Iterator[Chain]:
    """Packets that no policy speaks of: errors about known connections pass between programmed pods and others; packets
    of no connection, such as late resets, are nobody's flow, so neither allowed nor reported. Others than pods': not ours."""
    to = (*_identify(_DESTINATIONS, "settled", fenced), Rule((), Accept(forget=True)))
    yield Chain("related_to", to, note="the same, seen from the destination")
    errors = (*_identify(_SOURCES, "related_to", fenced), Rule((), Goto("related_to")))
    yield Chain("related", errors, note="ICMP errors of known connections pass, but not the fence")
    yield Chain("stray", (Rule((), Drop()),), note="a packet of no connection, from or to a pod")
    strays = (*_identify(_SOURCES, "stray", fenced), *_identify(_DESTINATIONS, "stray", fenced))
    yield Chain(
        "invalid", (*strays, Rule((), Accept())), note="packets of no connection, such as late resets"
    )


def _entries(fenced: tuple[Block, ...], options: Options) -> Iterator[Chain]:
    arrivals = [FromInterface(name) for name in options.pod_interfaces]
    if arrivals:
        yield Chain("arrival", tuple(_arrival_rules("judge")), note="from an interface of pods")
    strange = [Rule((arrived,), Goto("arrival")) for arrived in arrivals]
    entry = (_neighbour_discovery(), *strange, Rule((), Goto("judge")))
    yield Chain("check", entry, note="forwarded packets that carry no current mark")
    yield Chain(
        FORWARD,
        (Rule((), AcceptKnown(), note="known connection"), Rule((), Goto("check"))),
        hook=Hook("forward", options.priority),
        note="packets that this node forwards: from and to its pods",
    )
    answers = (*_identify(_SOURCES, "pass", fenced), Rule((), Goto("pass")))
    yield Chain("node_replies", answers, note="answers to connections that the node began")
    in_judge = (Rule((CtReply(),), Goto("node_replies")), Rule((), Goto("judge")))
    yield Chain("in_judge", in_judge, note="packets for this node that carry no current mark")
    if arrivals:
        yield Chain("in_arrival", tuple(_arrival_rules("in_judge")), note="the same, for this node itself")
    strange = [Rule((arrived,), Goto("in_arrival")) for arrived in arrivals]
    entry = (
        Rule((), AcceptKnown(), note="known connection"),
        _neighbour_discovery(),
        *strange,
        Rule((), Goto("in_judge")),
    )
    note = "packets for this node itself: from its pods, and answers to it"
    yield Chain(INPUT, entry, hook=Hook("input", options.priority), note=note)


def _neighbour_discovery() -> Rule:
    # 255: never routed, so nobody can smuggle data to other links in these types.
    matches = (HopLimit(255), Member((Field.ICMPV6_TYPE,), ND_SET))
    return Rule(matches, Accept(), note="neighbour discovery")


def _identify(fields: _Fields, chain: str, fenced: tuple[Block, ...]) -> Iterator[Rule]:
    """An address with an identity continues in ``chain``; one without that ought to have one ends in the fence."""
    for family in (4, 6):
        yield Rule((), Identify(fields[family], f"id{family}", chain))
    for block in fenced:
        field = fields[block.family]
        inside = Within(field, block.low, block.high)
        yield Rule((inside, NotNodeAddress(field)), Goto(FENCE), note="no programmed pod")


def _arrival_rules(judge: str) -> Iterator[Rule]:
    """By an interface of pods only programmed pods come in, under their own address. Link-local IPv6 is nobody's address:
    policies could not police it, and hosts announce themselves by it all the time, so it goes without a record."""
    for low, high in ((0, 0), (0xFE80 << 112, (0xFEC0 << 112) - 1)):
        yield Rule((Within(Field.SADDR6, low, high),), Drop())
    yield Rule((NoReturnPath(),), Goto(FENCE), note="another pod's address")
    for family in (4, 6):
        yield Rule((), Identify(_SOURCES[family], f"id{family}", judge))
    yield Rule((), Goto(FENCE), note="no programmed pod")


def _dispatch(table: str) -> tuple[Rule, ...]:
    lost = Rule((), Drop(), note="an identity that is just being replaced")
    return Rule((), Dispatch(table)), lost
