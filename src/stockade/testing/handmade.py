"""A ruleset made by hand, with every match and every action there is, and what is done to it in the kernel tests of our own netlink.

In: nothing. Out: rulesets, sets of addresses, batches; ``nft`` runs the nft program in the namespace that the test is in.
"""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_network

from stockade.dataplane.diff import replace
from stockade.dataplane.ir import (
    Accept,
    AcceptKnown,
    Action,
    Chain,
    Counter,
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
    IdentityMap,
    IsFamily,
    IsProtocol,
    KeyType,
    Log,
    Match,
    Member,
    NamedSet,
    NoReturnPath,
    NotNodeAddress,
    PortWithin,
    Reject,
    RejectCode,
    Remember,
    Rule,
    Ruleset,
    VerdictMap,
    Within,
)
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.operations import AddChain, AddGenerations, AddRule, Batch, Operation

MASK = 0xFFFF0000
V4, V6, PROTO, PORT = KeyType.IPV4, KeyType.IPV6, KeyType.PROTOCOL, KeyType.SERVICE


def number(address: str) -> int:
    return int(ip_address(address))


def addresses(*texts: str) -> frozenset[tuple[int, ...]]:
    return frozenset((number(text),) for text in texts)


def blocks(*texts: str) -> frozenset[tuple[int, int]]:
    """``10.0.0.0/8`` or ``10.0.0.1-10.0.0.5``."""
    found = set()
    for text in texts:
        low, _, high = text.partition("-")
        net = ip_network(low)
        found.add((int(net[0]), number(high) if high else int(net[-1])))
    return frozenset(found)


def within(field: Field, text: str) -> Within:
    ((low, high),) = blocks(text)
    return Within(field, low, high)


SETS = [
    NamedSet("p4", (V4,), addresses("10.0.0.1", "10.0.0.2", "10.0.0.3")),
    NamedSet("p6", (V6,), addresses("fd00::1", "fd00::2")),
    NamedSet("empty", (V4,), frozenset()),
    NamedSet(
        "b4",
        (V4,),
        blocks("10.0.0.0/8", "11.0.0.3", "12.0.0.0-12.0.0.5", "13.0.0.0-13.0.0.4", "13.0.0.5-13.0.0.9"),
        interval=True,
    ),
    NamedSet("all4", (V4,), blocks("0.0.0.0/0"), interval=True),
    NamedSet("last4", (V4,), blocks("0.0.0.0/32", "255.255.255.255"), interval=True),
    NamedSet("b6", (V6,), blocks("fd00::/8", "fe80::-fe80::7", "ff00::/8"), interval=True),
    NamedSet(
        "n4", (V4, PROTO, PORT), frozenset({(number("10.0.0.1"), 6, 80), (number("10.0.0.1"), 132, 53)})
    ),
    NamedSet("n6", (V6, PROTO, PORT), frozenset({(number("fd00::1"), 17, 53)})),
    NamedSet("s4", (V4, V4), frozenset({(1 << 24, 1 << 24)})),
    NamedSet("s6", (V6, V6), frozenset({(1, 1)})),
    NamedSet("nd", (KeyType.ICMPV6_TYPE,), frozenset({(133,), (135,)})),
]
S4, D4, S6, D6 = Field.SADDR4, Field.DADDR4, Field.SADDR6, Field.DADDR6
SPORT, DPORT = Field.SPORT, Field.DPORT
MATCHES: list[tuple[Match, ...]] = [
    (Member((S4,), "p4"),),
    (Member((D4,), "p4", negated=True),),
    (Member((S6,), "p6"), IsProtocol(17)),
    (Member((D6,), "b6"),),
    (Member((S4,), "b4"), PortWithin(6, DPORT, 80, 80)),
    (Member((S4, Field.PROTOCOL, DPORT), "n4"),),
    (Member((D6, Field.PROTOCOL, SPORT), "n6"),),
    (Member((S4, D4), "s4"),),
    (Member((S6, D6), "s6"),),
    (Member((Field.ICMPV6_TYPE,), "nd"),),
    (HopLimit(255), Member((Field.ICMPV6_TYPE,), "nd")),
    *((within(S4, f"{ip_address('10.0.0.0')}/{length}"),) for length in (7, 8, 9, 13, 16, 24, 30, 32)),
    (within(S4, "0.0.0.0/0"),),
    (within(D4, "10.0.0.1-10.0.0.5"),),
    *((within(D6, f"fe80::/{length}"),) for length in (10, 16, 64, 127, 128)),
    (within(S6, "::/0"),),
    (within(S6, "fe80::1-fe80::7"),),
    (within(S4, "10.0.0.0/8"), Member((S4,), "p4", negated=True), NotNodeAddress(S4)),
    (within(D6, "fd00::/8"), NotNodeAddress(D6)),
    (IsFamily(4),),
    (IsFamily(6), Member((S6,), "p6")),
    (IsProtocol(6),),
    (IsProtocol(50),),
    *((PortWithin(each, DPORT, 80, 80),) for each in (6, 17, 132)),
    (PortWithin(17, SPORT, 80, 90), Member((D4,), "p4")),
    (PortWithin(132, DPORT, 0, 65535),),
    *((CtState(each),) for each in ("new", "established", "related", "invalid", "untracked")),
    (CtReply(),),
    (FromInterface("eth0"),),
    (FromInterface("veth*"), NoReturnPath()),
]
ACTIONS: list[Action] = [
    Accept(),
    Accept(forget=True),
    Drop(),
    Reject(RejectCode.TCP_RESET),
    Reject(RejectCode.ADMIN_PROHIBITED),
    Goto("end"),
    Goto("end", forget=True),
    Identify(S4, "id4", "end"),
    Identify(D6, "id6", "end"),
    Dispatch("eg"),
    Log("stockade|e|0123456789ab", 5, 200, 400, 96),
    Log("S", 6, 1, 5, 0),
    AcceptKnown(),
    Remember(),
]
RULES = [
    *(Rule(matches, Drop()) for matches in MATCHES),
    *(Rule((), action) for action in ACTIONS),
    *(Rule((), action, counter="c_1") for action in ACTIONS),
    *(
        Rule((Member((S4,), "p4"), PortWithin(6, DPORT, 80, 80)), action, counter="c_1")
        for action in ACTIONS
        if action != Identify(D6, "id6", "end")
    ),
]

# What others may do to the table of ``hand_made``, in the words of nft.
TAMPERING = [
    "add element inet stockade p4 { 10.0.0.77 }",
    "delete element inet stockade b4 { 11.0.0.3 }",
    "delete element inet stockade id4 { 10.0.0.9 }",
    "delete element inet stockade eg { 0:7 }",
    "insert rule inet stockade many accept",
    "add element inet stockade gen { 0x00060000 : accept }",
    "delete element inet stockade gen { 0x00050000 }",
    "flush chain inet stockade fwd_hook",
    "flush chain inet stockade end; add rule inet stockade end accept",
    "add chain inet stockade other",
    "add set inet stockade other { type ipv4_addr; flags timeout; }",
    "add quota inet stockade other 10 mbytes",
    "add counter inet stockade other",
    "chain inet stockade fwd_hook { policy drop; }",
    "delete table inet stockade",
    "flush ruleset",
    "table inet stockade { flags dormant; }",
]


def hand_made() -> Ruleset:
    chains = [
        Chain("end", (Rule((), Drop()),)),
        Chain("many", tuple(RULES)),
        Chain("fwd_hook", (Rule((), AcceptKnown()), Rule((), Goto("many"))), hook=Hook("forward", -10)),
        Chain("in_hook", (Rule((), AcceptKnown()),), hook=Hook("input", 7)),
    ]
    return Ruleset(
        sets={each.name: each for each in SETS},
        identities={
            "id4": IdentityMap("id4", V4, {number("10.0.0.9"): 7, number("10.0.0.8"): 0x10002}),
            "id6": IdentityMap("id6", V6, {number("fd00::9"): 7}),
        },
        maps={"eg": VerdictMap("eg", {7: "end", 0x10002: "end"})},
        counters={name: Counter(name) for name in ("c_1", "c_2")},
        chains={each.name: each for each in chains},
        fenced=(),
        mark_mask=MASK,
    )


def hooks() -> list[Operation]:
    """What ``read`` needs to know the generation."""
    chain = Chain("fwd_hook", (), hook=Hook("forward", 0))
    return [AddGenerations(), AddChain(chain), AddRule("fwd_hook", Rule((), AcceptKnown()))]


def nft(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed() -> str:
    return nft("list", "table", "inet", "stockade")


def batch_of(*operations: Operation, generation: int = 1, mask: int = MASK) -> Batch:
    return Batch(operations, mask, generation)


async def adopted(netlink: Netlink) -> Ruleset:
    """``hand_made`` is in the kernel, at generation 5, and ``netlink`` has compared it."""
    wanted = hand_made()
    await netlink.commit(replace(wanted, 4).batches[0])
    assert await netlink.holds(wanted, 5)
    return wanted
