"""A packet through the ruleset, as the kernel would take it: the second of three witnesses (evaluate, simulate, kernel).

In: a Ruleset and a Packet, or the first packet of a connection (``simulate_connection``: the answers are judged too).
Out: accepted or dropped, by which log prefix, along which chains. Pure; called by the tests that compare it with ``evaluate`` and with the kernel.
"""

from __future__ import annotations

import msgspec

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
    HopLimit,
    Identify,
    IsFamily,
    IsProtocol,
    Log,
    Match,
    Member,
    NoReturnPath,
    NotNodeAddress,
    PortWithin,
    Reject,
    Remember,
    Rule,
    Ruleset,
    Within,
)
from stockade.net.cidr import Address

_WITH_PORTS = frozenset(PROTOCOLS[name] for name in ("TCP", "UDP", "SCTP"))


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """``protocol`` is the number in the IP header. ``marked``: its connection was accepted under the current generation.
    ``interface`` it came in by; ``returns``: a route leads back there."""

    family: int
    source: int
    destination: int
    protocol: int
    sport: int = 0
    dport: int = 0
    icmp_type: int = 0
    hop_limit: int = 63
    state: str = "new"
    reply: bool = False
    marked: bool = False
    interface: str = ""
    returns: bool = True

    def answer(self) -> Packet:
        """What the other end sends back."""
        return msgspec.structs.replace(
            self,
            source=self.destination,
            destination=self.source,
            sport=self.dport,
            dport=self.sport,
            state="established",
            reply=not self.reply,
            interface="",
            returns=True,
        )


class Outcome(msgspec.Struct, frozen=True):
    """``prefix`` is the log prefix of the deny chain, empty when accepted or silent; ``marks``: the connection is marked now.
    ``counters`` are those that counted the packet. ``identity`` is what an accepted packet still carries: always 0."""

    accepted: bool
    prefix: str = ""
    marks: bool = False
    counters: tuple[str, ...] = ()
    identity: int = 0
    path: tuple[str, ...] = ()


class LoopError(ValueError):
    """Chains go in a circle: no ruleset that ``lower`` makes does."""


def simulate(
    ruleset: Ruleset, packet: Packet, hook: str = "forward", own: frozenset[Address] = frozenset()
) -> Outcome:
    """``own``: addresses of the node. A hook without a chain (output) accepts."""
    base = next((c for c in ruleset.chains.values() if c.hook and c.hook.hook == hook), None)
    return Outcome(accepted=True) if base is None else _Walk(ruleset, packet, own).run(base)


def simulate_connection(ruleset: Ruleset, first: Packet, own: frozenset[Address] = frozenset()) -> Outcome:
    """The first packet, and if it passes its answer under a new generation: both must, or the connection does not work."""
    outcome = simulate(ruleset, first, hook_of(first, own), own)
    if not outcome.accepted:
        return outcome
    reply = first.answer()
    return simulate(ruleset, reply, hook_of(reply, own), own)


def hook_of(packet: Packet, own: frozenset[Address]) -> str:
    """Where a packet meets a node with these addresses."""
    if (packet.family, packet.source) in own:
        return "output"
    return "input" if (packet.family, packet.destination) in own else "forward"


class _Walk:
    def __init__(self, ruleset: Ruleset, packet: Packet, own: frozenset[Address]) -> None:
        self._ruleset = ruleset
        self._packet = packet
        self._own = own
        self._prefix = ""
        self._identity = 0
        self._marks = False
        self._counters: list[str] = []
        self._path: list[str] = []

    def run(self, chain: Chain) -> Outcome:
        """A base chain at whose end nothing was decided accepts: that is its policy."""
        following: Chain | None = chain
        while following is not None:
            if following.name in self._path:
                raise LoopError(" -> ".join([*self._path, following.name]))
            self._path.append(following.name)
            result = self._chain(following)
            if isinstance(result, Outcome):
                return result
            following = result
        return self._outcome(accepted=True)

    def _chain(self, chain: Chain) -> Outcome | Chain | None:
        for rule in chain.rules:
            if all(self._holds(match) for match in rule.matches):
                result = self._act(rule)
                if result is not None:
                    return result
        return None

    def _act(self, rule: Rule) -> Outcome | Chain | None:  # noqa: PLR0911 - one line per kind
        if rule.counter:
            self._counters.append(rule.counter)
        match rule.action:
            case Accept(forget):
                self._identity = 0 if forget else self._identity
                return self._outcome(accepted=True)
            case AcceptKnown():
                return self._outcome(accepted=True) if self._packet.marked else None
            case Remember():
                self._marks = True
                return None
            case Drop() | Reject():
                return self._outcome(accepted=False)
            case Log(prefix):
                self._prefix = prefix
                return None
            case Goto(name, forget):
                self._identity = 0 if forget else self._identity
                return self._ruleset.chains[name]
            case Identify() | Dispatch():
                return self._look_up(rule.action)

    def _look_up(self, action: Identify | Dispatch) -> Chain | None:
        if isinstance(action, Dispatch):
            target = self._ruleset.maps[action.map].elements.get(self._identity)
            return None if target is None else self._ruleset.chains[target]
        address = self._value(action.field)
        number = None if address is None else self._ruleset.identities[action.map].elements.get(address)
        if number is None:
            return None
        self._identity = number
        return self._ruleset.chains[action.chain]

    def _outcome(self, *, accepted: bool) -> Outcome:
        return Outcome(
            accepted,
            "" if accepted else self._prefix,
            self._marks,
            tuple(self._counters),
            self._identity if accepted else 0,
            tuple(self._path),
        )

    def _holds(self, match: Match) -> bool:  # noqa: PLR0911 - one line per kind
        packet = self._packet
        match match:
            case Member():
                return self._is_member(match)
            case Within(field, low, high):
                value = self._value(field)
                return value is not None and low <= value <= high
            case IsFamily(family):
                return packet.family == family
            case IsProtocol(protocol):
                return packet.protocol == protocol
            case PortWithin(protocol, field, low, high):
                port = packet.dport if field is Field.DPORT else packet.sport
                return packet.protocol == protocol and low <= port <= high
            case HopLimit(limit):
                return packet.family == 6 and packet.hop_limit == limit
            case FromInterface() | NoReturnPath():
                return self._arrival_holds(match)
            case CtState() | CtReply():
                return self._connection_holds(match)
            case NotNodeAddress(field):
                value = self._value(field)
                return value is not None and (packet.family, value) not in self._own

    def _arrival_holds(self, match: FromInterface | NoReturnPath) -> bool:
        if isinstance(match, NoReturnPath):
            return not self._packet.returns
        name = match.name
        if name.endswith("*"):
            return self._packet.interface.startswith(name[:-1])
        return self._packet.interface == name

    def _connection_holds(self, match: CtState | CtReply) -> bool:
        match match:
            case CtState(state):
                return self._packet.state == state
            case CtReply():
                return self._packet.reply

    def _is_member(self, match: Member) -> bool:
        """A field the packet has not ends the rule, negated or not: so does the kernel."""
        values = tuple(self._value(field) for field in match.fields)
        if None in values:
            return False
        named = self._ruleset.sets[match.set]
        if named.interval:
            found = any(low <= (values[0] or 0) <= high for low, high in named.elements)
        else:
            found = values in named.elements
        return found != match.negated

    def _value(self, field: Field) -> int | None:
        packet = self._packet
        if field.family is not None:
            if field.family != packet.family:
                return None
            return packet.source if field in {Field.SADDR4, Field.SADDR6} else packet.destination
        return {
            Field.PROTOCOL: packet.protocol,
            Field.SPORT: packet.sport if packet.protocol in _WITH_PORTS else None,
            Field.DPORT: packet.dport if packet.protocol in _WITH_PORTS else None,
            Field.ICMPV6_TYPE: packet.icmp_type if packet.protocol == PROTOCOLS["ICMPv6"] else None,
        }[field]
