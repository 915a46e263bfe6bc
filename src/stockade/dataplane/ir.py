"""The ruleset as a value: sets, verdict maps, chains and rules of one nftables table.

``lower`` makes it, ``render`` writes it as nft text, ``diff`` compares two of them, ``simulate`` runs packets through it.
Nothing here is text: a rule is typed matches and one action, so that all four read the same thing. The vocabulary is what
the design needs and no more (reference dataplane 8): only ``goto``, never ``jump``; no anonymous sets.
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


class CurrentMark(msgspec.Struct, frozen=True, tag=True):
    """The connection was accepted under the generation that is in force. The number itself is a parameter of rendering."""


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
    | CurrentMark
    | HopLimit
    | NotNodeAddress
    | FromInterface
    | NoReturnPath
)


class Accept(msgspec.Struct, frozen=True, tag=True):
    """Leave this hook: allowed."""


class Drop(msgspec.Struct, frozen=True, tag=True):
    """Silently, as clients of a denied port expect a time-out (rule 55)."""


class Goto(msgspec.Struct, frozen=True, tag=True):
    """Continue in another chain and never come back."""

    chain: str


class Dispatch(msgspec.Struct, frozen=True, tag=True):
    """``ip saddr vmap @map``: goto the chain the map names for this address; without an element, go on."""

    field: Field
    map: str


class Log(msgspec.Struct, frozen=True, tag=True):
    """Send the head of the packet to an NFLOG group, at most ``rate`` times a second; go on."""

    prefix: str
    group: int
    rate: int
    burst: int
    snaplen: int


class MarkAndAccept(msgspec.Struct, frozen=True, tag=True):
    """Write the current generation into the connection's mark and accept."""


Action = Accept | Drop | Goto | Dispatch | Log | MarkAndAccept


class Rule(msgspec.Struct, frozen=True):
    """All ``matches`` hold: do ``action``. ``origin`` and ``note`` are for people and change nothing."""

    matches: tuple[Match, ...]
    action: Action
    origin: RuleRef | None = None
    note: str = ""

    @property
    def meaning(self) -> tuple[tuple[Match, ...], Action]:
        return self.matches, self.action


class Hook(msgspec.Struct, frozen=True):
    """Where the kernel enters a base chain. Policy is always accept: rules decide, not their absence."""

    hook: str
    priority: int  # relative to "filter"


class Role(Enum):
    """What a chain is for; ``diff`` derives from it whether a change can be stricter."""

    FRAME = "frame"  # the same for every state of the cluster
    PROFILE = "profile"  # rules that allow, then one goto to the deny chain: their order does not matter
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


class VerdictMap(msgspec.Struct, frozen=True):
    """Address to the chain that decides. An address without element is not isolated."""

    name: str
    key: KeyType
    elements: dict[int, str]
    note: str = ""


class Ruleset(msgspec.Struct, frozen=True):
    """One table. ``fenced`` are the blocks in which only programmed pods may talk; ``mark_mask`` the bits of the connection
    mark that hold the generation."""

    sets: dict[str, NamedSet]
    maps: dict[str, VerdictMap]
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


def following(generation: int, last: int) -> int:
    """The next generation number in 1..last."""
    return generation % last + 1
