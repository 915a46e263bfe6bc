"""The chains that are the same for every cluster: hooks, generation gate, fence, dispatch by pod address. Called by ``lower``.

    forward ──► gate ──(mark is current)──► accept
    input ──► fence? ──► reply? accept ──► gate
    gate ──► check: fence, related, own address ─┬─ first packets: eg4 ─► e_<profile> ─► ingress: in4 ─► i_<profile> ─► pass
                                                 └─ replies:       reg4 ► re_<profile> ► ringress: rin4 ► ri_<profile> ► pass
    pass: write the current generation into the connection's mark, accept

Only ``gate`` and ``pass`` know the generation. A policy that becomes stricter raises it, so that every connection is
judged once more by whichever packet comes next, a reply included (reference dataplane 3, E5).

The fence: an address of the node's pod blocks that is not a programmed pod neither sends nor receives. It stands after the
gate (known connections pay nothing), so whoever takes an address out of ``local4`` must raise the generation as well.
Addresses of the node itself inside a pod block (a bridge's, a tunnel's) are no pods. Output has no hook: the node
reaches its own pods whatever the policies (rule 34), and the answers of those that are programmed come in.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.dataplane.chains import deny_chain, log_prefix
from stockade.dataplane.ir import (
    Accept,
    Chain,
    CtReply,
    CtState,
    CurrentMark,
    Dispatch,
    Drop,
    Field,
    FromInterface,
    Goto,
    Hook,
    HopLimit,
    KeyType,
    MarkAndAccept,
    Member,
    NamedSet,
    NoReturnPath,
    NotNodeAddress,
    Rule,
    Within,
)
from stockade.dataplane.settings import Options
from stockade.net.cidr import Block

FENCE = "fence"
ND_SET = "nd_types"
# router and neighbour solicitation and advertisement, redirect (RFC 4861 section 4)
ND_TYPES = (133, 134, 135, 136, 137)

_SOURCES = {4: Field.SADDR4, 6: Field.SADDR6}
_DESTINATIONS = {4: Field.DADDR4, 6: Field.DADDR6}


def nd_set() -> NamedSet:
    elements = frozenset((kind,) for kind in ND_TYPES)
    return NamedSet(ND_SET, (KeyType.ICMPV6_TYPE,), elements, note="neighbour discovery")


def frame_chains(fenced: tuple[Block, ...], options: Options) -> Iterator[Chain]:
    """Gate and pass first, the hooks last, as a reader meets what a goto names before the goto."""
    yield Chain("pass", (Rule((), MarkAndAccept()),))
    yield deny_chain(FENCE, log_prefix(FENCE), options)
    yield Chain("ingress", (*_dispatch(_DESTINATIONS, "in"), Rule((), Goto("pass"))))
    yield Chain("ringress", (*_dispatch(_SOURCES, "rin"), Rule((), Goto("pass"))))
    yield Chain("replies", (*_dispatch(_DESTINATIONS, "reg"), Rule((), Goto("ringress"))))
    yield Chain("invalid", tuple(_invalid_rules()))
    yield Chain("check", tuple(_check_rules(fenced, options)))
    yield Chain("gate", (Rule((CurrentMark(),), Accept()), Rule((), Goto("check"))))
    yield Chain("fwd_hook", (Rule((), Goto("gate")),), hook=Hook("forward", options.priority))
    entry = (
        _neighbour_discovery(),
        *_arrival_rules(options),
        *_fence_rules(fenced, _SOURCES),
        Rule((CtReply(),), Accept()),
        Rule((), Goto("gate")),
    )
    yield Chain("in_hook", entry, hook=Hook("input", options.priority))


def _check_rules(fenced: tuple[Block, ...], options: Options) -> Iterator[Rule]:
    yield _neighbour_discovery()
    yield from _arrival_rules(options)
    yield from _fence_rules(fenced, _SOURCES)
    yield from _fence_rules(fenced, _DESTINATIONS)
    yield Rule((CtState("invalid"),), Goto("invalid"))
    yield Rule((CtState("related"),), Accept(), note="ICMP errors of known connections")
    for family in (4, 6):
        own = Member((_SOURCES[family], _DESTINATIONS[family]), f"self{family}")
        yield Rule((own,), Accept(), note="a pod that reaches itself through a Service")
    yield Rule((CtReply(),), Goto("replies"))
    yield from _dispatch(_SOURCES, "eg")
    yield Rule((), Goto("ingress"))


def _neighbour_discovery() -> Rule:
    # 255: never routed, so nobody can smuggle data to other links in these types.
    matches = (HopLimit(255), Member((Field.ICMPV6_TYPE,), ND_SET))
    return Rule(matches, Accept(), note="neighbour discovery")


def _fence_rules(fenced: tuple[Block, ...], fields: dict[int, Field]) -> Iterator[Rule]:
    for block in fenced:
        field = fields[block.family]
        inside = Within(field, block.low, block.high)
        programmed = Member((field,), f"local{block.family}", negated=True)
        yield Rule((inside, programmed, NotNodeAddress(field)), Goto(FENCE))


def _arrival_rules(options: Options) -> Iterator[Rule]:
    """By an interface of pods only programmed pods come in, under their own address. Link-local IPv6 is nobody's address:
    policies could not police it, and hosts announce themselves by it all the time, so it goes without a record."""
    for name in options.pod_interfaces:
        arrived = FromInterface(name)
        for low, high in ((0, 0), (0xFE80 << 112, (0xFEC0 << 112) - 1)):
            yield Rule((arrived, Within(Field.SADDR6, low, high)), Drop())
        for family in (4, 6):
            stranger = Member((_SOURCES[family],), f"local{family}", negated=True)
            yield Rule((arrived, stranger), Goto(FENCE))
        yield Rule((arrived, NoReturnPath()), Goto(FENCE), note="another pod's address")


def _invalid_rules() -> Iterator[Rule]:
    """Packets of no connection, such as late resets: nobody's flow, so neither allowed nor reported. Others than pods': not ours."""
    for family in (4, 6):
        for fields in (_SOURCES, _DESTINATIONS):
            yield Rule((Member((fields[family],), f"local{family}"),), Drop())
    yield Rule((), Accept())


def _dispatch(fields: dict[int, Field], prefix: str) -> Iterator[Rule]:
    for family in (4, 6):
        yield Rule((), Dispatch(fields[family], f"{prefix}{family}"))
