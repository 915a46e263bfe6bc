"""The ruleset as a value: sets, verdict maps, chains and rules of one nftables table.

``lower`` makes it, ``diff`` compares two of them, ``render`` writes it as nft text and ``nfnetlink`` as netlink messages, ``simulate``
runs packets through it. Nothing here is text: a rule is typed matches and one action, so that all of them read the same thing. The
vocabulary is what the design needs and no more (reference dataplane 8): only ``goto``, never ``jump``; no anonymous sets.

Pods are not keys of verdict maps. An element that names a chain makes the kernel validate every rule of the table (7 to 28 ms at
5000 pods and 1000 policies, against 0.05 ms for one that does not), and pods come and go all the time. So an address leads to
an *identity*, the number of a pair of profiles, and verdict maps lead from identities to chains: those change with policies only.
"""

from __future__ import annotations

from enum import Enum, StrEnum

import msgspec

from stockade.net.cidr import Block
from stockade.policy.compiled import RuleRef

FAMILY, TABLE = "inet", "stockade"
PROTOCOLS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132}


class Field(StrEnum):
    """What a rule can look at; the value is nft's own spelling."""

    SADDR4 = "ip saddr"
    DADDR4 = "ip daddr"
    SADDR6 = "ip6 saddr"
    DADDR6 = "ip6 daddr"
    PROTOCOL = "meta l4proto"
    SPORT = "th sport"
    DPORT = "th dport"
    ICMPV6_TYPE = "icmpv6 type"

    @property
    def family(self) -> int | None:
        """4 or 6 for addresses, None for what both families have."""
        return {"ip": 4, "ip6": 6}.get(self.value.split()[0])


class KeyType(StrEnum):
    """Data types of set keys, as nft names them."""

    IPV4 = "ipv4_addr"
    IPV6 = "ipv6_addr"
    PROTOCOL = "inet_proto"
    SERVICE = "inet_service"
    ICMPV6_TYPE = "icmpv6_type"
    IDENTITY = "classid"  # the type of what carries it, the packet's priority
    MARK = "mark"

    @property
    def family(self) -> int | None:
        """4 or 6 for addresses."""
        return {"ipv4_addr": 4, "ipv6_addr": 6}.get(self.value)


class Member(msgspec.Struct, frozen=True, tag=True):
    """``ip saddr . th dport @set``: the fields, concatenated, are in the set (or, negated, are not)."""

    fields: tuple[Field, ...]
    set: str
    negated: bool = False


class Within(msgspec.Struct, frozen=True, tag=True):
    """An address between ``low`` and ``high`` inclusive; cheaper than a set of one interval."""

    field: Field
    low: int
    high: int


class IsFamily(msgspec.Struct, frozen=True, tag=True):
    """Every address of one family: ``meta nfproto ipv4``."""

    family: int


class IsProtocol(msgspec.Struct, frozen=True, tag=True):
    """Every port of one protocol."""

    protocol: int


class PortWithin(msgspec.Struct, frozen=True, tag=True):
    """``tcp dport 8000-8100``; ``field`` is SPORT or DPORT."""

    protocol: int
    field: Field
    low: int
    high: int


class CtState(msgspec.Struct, frozen=True, tag=True):
    """new, established, related, invalid or untracked."""

    state: str


class CtReply(msgspec.Struct, frozen=True, tag=True):
    """``ct direction reply``: the packet travels against the connection's first packet."""


class HopLimit(msgspec.Struct, frozen=True, tag=True):
    """IPv6 only. 255 is what no router has passed on (RFC 4861 section 3.1)."""

    value: int


class NotNodeAddress(msgspec.Struct, frozen=True, tag=True):
    """The address is none of this node's own: ``fib saddr type != local``."""

    field: Field


class FromInterface(msgspec.Struct, frozen=True, tag=True):
    """The packet came in by this interface; a trailing ``*`` stands for any end of the name."""

    name: str


class NoReturnPath(msgspec.Struct, frozen=True, tag=True):
    """No route leads back to the source by the interface the packet came in by: ``fib saddr . iif oif missing``."""


Match = (
    Member
    | Within
    | IsFamily
    | IsProtocol
    | PortWithin
    | CtState
    | CtReply
    | HopLimit
    | NotNodeAddress
    | FromInterface
    | NoReturnPath
)


class Accept(msgspec.Struct, frozen=True, tag=True):
    """Leave this hook: allowed. ``forget``: take the identity off the packet first (wherever ``Identify`` may have come before)."""

    forget: bool = False


class Drop(msgspec.Struct, frozen=True, tag=True):
    """Silently, as clients of a denied port expect a time-out (rule 55)."""


class RejectCode(StrEnum):
    """What the sender is told. For DNS over UDP "administratively prohibited" is what makes a resolver give up at once
    (reference dataplane 6); a TCP client is told "connection refused"."""

    TCP_RESET = "tcp reset"
    ADMIN_PROHIBITED = "admin-prohibited"


class Reject(msgspec.Struct, frozen=True, tag=True):
    """Drop and say so."""

    code: RejectCode


class Goto(msgspec.Struct, frozen=True, tag=True):
    """Continue in another chain and never come back. ``forget``: take the identity off the packet first."""

    chain: str
    forget: bool = False


class Identify(msgspec.Struct, frozen=True, tag=True):
    """``meta priority set ip saddr map @id4 goto chain``: an address with an identity continues in ``chain`` and carries it;
    any other address goes on here. The packet's priority is the one register that rules may write and that nobody reads
    between here and an action that forgets it or a drop."""

    field: Field
    map: str
    chain: str


class Dispatch(msgspec.Struct, frozen=True, tag=True):
    """``meta priority vmap @map``: goto the chain that the map names for the packet's identity; without an element, go on."""

    map: str


class Log(msgspec.Struct, frozen=True, tag=True):
    """Send the head of the packet to an NFLOG group, at most ``rate`` times a second; go on."""

    prefix: str
    group: int
    rate: int
    burst: int
    snaplen: int


class AcceptKnown(msgspec.Struct, frozen=True, tag=True):
    """``ct mark and MASK vmap @gen``: accept a connection that was accepted under the generation in force; with any other go on.
    The generation is an element and not part of a rule, so that a new one costs nothing: a rule with a verdict, changed, makes the
    kernel validate the table (14 ms at 5000 pods and 1000 policies), an element that says accept does not."""


class Remember(msgspec.Struct, frozen=True, tag=True):
    """Write the generation in force into the connection's mark and go on; at the end of a chain the hook's policy accepts. A rule of
    its own for the same reason: no verdict, no validation. Its number is a parameter of rendering."""


Action = Accept | Drop | Reject | Goto | Identify | Dispatch | Log | AcceptKnown | Remember


class Rule(msgspec.Struct, frozen=True):
    """All ``matches`` hold: count under ``counter`` (the name of a Counter, if any), do ``action``. ``origin``, ``note`` and ``also``,
    other policy rules that it stands for (all of them where many were folded into one), are for people and change nothing."""

    matches: tuple[Match, ...]
    action: Action
    origin: RuleRef | None = None
    note: str = ""
    counter: str = ""
    also: tuple[RuleRef, ...] = ()

    @property
    def origins(self) -> tuple[RuleRef, ...]:
        """Every policy rule that it stands for."""
        return (self.origin, *self.also) if self.origin else self.also

    @property
    def meaning(self) -> tuple[tuple[Match, ...], Action]:
        """What decides; two rules of equal meaning are interchangeable for packets."""
        return self.matches, self.action

    @property
    def written(self) -> tuple[tuple[Match, ...], Action, str]:
        """What is in the kernel."""
        return self.matches, self.action, self.counter


class Hook(msgspec.Struct, frozen=True):
    """Where the kernel enters a base chain. Policy is always accept: rules decide, not their absence."""

    hook: str
    priority: int  # relative to "filter"


class Role(Enum):
    """What a chain is for; ``diff`` derives from it whether a change can be stricter."""

    FRAME = "frame"  # the same for every state of the cluster
    PROFILE = "profile"  # rules that allow, then one goto to the deny chain: their order does not matter
    ORDERED = "ordered"  # rules that allow, deny or pass on: the first that matches decides
    DENY = "deny"  # log and drop


class Chain(msgspec.Struct, frozen=True):
    name: str
    rules: tuple[Rule, ...]
    role: Role = Role.FRAME
    hook: Hook | None = None
    note: str = ""


class NamedSet(msgspec.Struct, frozen=True):
    """A hash set of tuples, one integer for each part of ``key``; or, with ``interval``, disjoint (low, high) pairs.

    ``widens``: one more element can only allow more, one less can only allow less.
    """

    name: str
    key: tuple[KeyType, ...]
    elements: frozenset[tuple[int, ...]]
    interval: bool = False
    widens: bool = True
    note: str = ""


class IdentityMap(msgspec.Struct, frozen=True):
    """Address of a programmed pod of this node -> the pod's identity. An address without element is no programmed pod."""

    name: str
    key: KeyType
    elements: dict[int, int]
    note: str = ""


class VerdictMap(msgspec.Struct, frozen=True):
    """Identity to the chain that decides. Every identity in use has an element, so a packet without one meets a state that is
    just being replaced."""

    name: str
    elements: dict[int, str]
    note: str = ""


class Counter(msgspec.Struct, frozen=True):
    """Packets and bytes under a name; it outlives the rules that count, so a chain filled anew goes on counting."""

    name: str
    origin: RuleRef | None = None
    note: str = ""


class Ruleset(msgspec.Struct, frozen=True):
    """One table. ``fenced`` are the blocks in which only programmed pods may talk; ``mark_mask`` the bits of the connection
    mark that hold the generation."""

    sets: dict[str, NamedSet]
    identities: dict[str, IdentityMap]
    maps: dict[str, VerdictMap]
    counters: dict[str, Counter]
    chains: dict[str, Chain]
    fenced: tuple[Block, ...]
    mark_mask: int

    @property
    def generations(self) -> int:
        """The largest generation number; they count 1..this, then 1 again. 0 is a connection never accepted by us."""
        return self.mark_mask >> mask_shift(self.mark_mask)


def mask_shift(mask: int) -> int:
    """How far left the lowest bit of ``mask`` is."""
    return (mask & -mask).bit_length() - 1


def mark_value(mask: int, generation: int) -> int:
    """The generation where it stands in the mark. ValueError when it does not fit."""
    value = generation << mask_shift(mask)
    if generation < 1 or value & ~mask:
        raise ValueError(f"generation {generation} does not fit into mark mask {mask:#010x}")
    return value


def following(generation: int, last: int) -> int:
    """The next generation number in 1..last."""
    return generation % last + 1
