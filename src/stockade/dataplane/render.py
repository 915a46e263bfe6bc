"""Ruleset in, nft text out. Called by ``commands`` (single objects) and ``stockade render`` (whole tables); pure.

The text loads with nft 1.0.6: newline before every closing brace, no anonymous sets, names that are no keywords. The same ruleset
and generation always give the same text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

import msgspec

from stockade.dataplane.ir import (
    FAMILY,
    PROTOCOLS,
    TABLE,
    Accept,
    AcceptKnown,
    Action,
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
    mark_value,
)
from stockade.dataplane.names import GENERATIONS
from stockade.dataplane.wording import sources_text
from stockade.net.cidr import format_address

_PROTOCOL_TEXT = {PROTOCOLS["TCP"]: "tcp", PROTOCOLS["UDP"]: "udp", PROTOCOLS["SCTP"]: "sctp"}
ALL_BITS = 0xFFFFFFFF
WIDTH = 100  # of element lists that people read
GENERATIONS_SIZE = 4  # the one in force, and room to change it


def render(
    ruleset: Ruleset, generation: int = 1, *, annotate: bool = False, above: Iterable[str] = ()
) -> str:
    """One atomic file that replaces the whole table, whether or not there is one. ``annotate`` adds where each part comes from,
    below the lines ``above``."""
    marker = Marker(ruleset.mark_mask, generation)
    lines = [
        *_comments(above, annotate),
        f"add table {FAMILY} {TABLE}",
        f"delete table {FAMILY} {TABLE}",
        f"table {FAMILY} {TABLE} {{",
        *(f"\t{note}" for note in _noted("the mark of known connections: the generation in force", annotate)),
        f"\tmap {GENERATIONS} {generations_body(marker, full=True)}",
        *(f"\t{line}" if line else "" for line in _body(ruleset, marker, _callees_first(ruleset), annotate)),
        "}",
    ]
    for mapping in _maps(ruleset):
        if mapping.elements:
            listed = _enclosed(_map_texts(mapping), annotate)
            lines += f"add element {FAMILY} {TABLE} {mapping.name} {listed}".splitlines()
    return "\n".join(lines) + "\n"


def excerpt(
    ruleset: Ruleset, generation: int = 1, *, annotate: bool = False, above: Iterable[str] = ()
) -> str:
    """A part of a table for reading: without the table around it, so that nft refuses it. Maps are shown with their elements."""
    marker = Marker(ruleset.mark_mask, generation)
    lines = _comments(above, annotate)
    for mapping in _maps(ruleset):
        if mapping.elements:
            lines += _noted(mapping.note, annotate)
            lines += f"map {mapping.name} {_enclosed(_map_texts(mapping), annotate)}".splitlines()
    bare = msgspec.structs.replace(ruleset, identities={}, maps={})
    return "\n".join([*lines, *_body(bare, marker, ruleset.chains.values(), annotate)]) + "\n"


def _body(ruleset: Ruleset, marker: Marker, chains: Iterable[Chain], annotate: bool) -> Iterator[str]:
    """What stands between the table's braces; elements of maps come later, for they name chains."""
    for each in ruleset.sets.values():
        yield from _noted(each.note, annotate)
        yield from f"set {each.name} {set_body(each, wrap=annotate)}".splitlines()
    for mapping in _maps(ruleset):
        yield from _noted(mapping.note, annotate)
        yield f"map {mapping.name} {map_body(mapping)}"
    for counter in ruleset.counters.values():
        yield from _noted(counter.note, annotate)
        yield f"counter {counter.name} {{ packets 0 bytes 0 }}"
    for chain in chains:
        yield from [""] if annotate else []
        yield from _noted(chain.note, annotate)
        yield from _chain_lines(chain, marker, annotate=annotate)


def _maps(ruleset: Ruleset) -> tuple[IdentityMap | VerdictMap, ...]:
    return (*ruleset.identities.values(), *ruleset.maps.values())


class Marker:
    """How the generation is read from and written to the connection mark."""

    def __init__(self, mask: int, generation: int) -> None:
        self.mask, self.generation = mask, generation
        self.test = f"ct mark and {mask:#010x} vmap @{GENERATIONS}"
        value = mark_value(mask, generation)
        self.write = f"ct mark set ct mark and {ALL_BITS ^ mask:#010x} or {value:#010x}"

    def key(self, generation: int) -> str:
        return f"{mark_value(self.mask, generation):#010x}"

    def element(self, generation: int) -> str:
        """In the map of generations."""
        return f"{self.key(generation)} : accept"


def rule_text(rule: Rule, marker: Marker) -> str:
    counted = [f"counter name {rule.counter}"] if rule.counter else []
    matches = (_match_text(match) for match in rule.matches)
    return " ".join([*matches, *counted, _action_text(rule.action, marker)])


def set_body(each: NamedSet, *, wrap: bool = False) -> str:
    flags = " flags interval;" if each.interval else ""
    elements = f" elements = {_enclosed(element_texts(each), wrap)};" if each.elements else ""
    return f"{{ type {' . '.join(each.key)};{flags}{elements} }}"


def map_body(each: IdentityMap | VerdictMap) -> str:
    value = KeyType.IDENTITY if isinstance(each, IdentityMap) else "verdict"
    return f"{{ type {key_of(each)} : {value}; }}"


def generations_body(marker: Marker, *, full: bool = False) -> str:
    """Sized, so that the kernel takes its fastest hash: it is asked for every packet of a known connection."""
    elements = f" elements = {{ {marker.element(marker.generation)} }};" if full else ""
    return f"{{ type {KeyType.MARK} : verdict; size {GENERATIONS_SIZE};{elements} }}"


def key_of(each: IdentityMap | VerdictMap) -> KeyType:
    return each.key if isinstance(each, IdentityMap) else KeyType.IDENTITY


def element_texts(each: NamedSet) -> list[str]:
    """In order of their numbers."""
    return [
        _interval_text(each.key[0], *element)
        if each.interval
        else " . ".join(key_text(kind, value) for kind, value in zip(each.key, element, strict=True))
        for element in sorted(each.elements)
    ]


def map_elements(key: KeyType, elements: Mapping[int, int | str]) -> str:
    """``address : identity`` or ``identity : goto chain``."""
    return ", ".join(_pairs(key, elements))


def _map_texts(each: IdentityMap | VerdictMap) -> list[str]:
    return _pairs(key_of(each), each.elements)


def _pairs(key: KeyType, elements: Mapping[int, int | str]) -> list[str]:
    return [
        f"{key_text(key, a)} : {f'goto {value}' if isinstance(value, str) else identity_text(value)}"
        for a, value in sorted(elements.items())
    ]


def _enclosed(texts: list[str], wrap: bool) -> str:
    """``{ a, b }``; with ``wrap``, long lists on several lines."""
    one = ", ".join(texts)
    if not wrap or len(one) <= WIDTH:
        return f"{{ {one} }}"
    lines, room = [""], WIDTH
    for text in texts:
        if len(lines[-1]) + len(text) > room:
            lines.append("")
        lines[-1] += f"{text}, "
    inner = "\n".join(f"\t{line.rstrip()}" for line in lines)
    return f"{{\n{inner.rstrip(',')}\n}}"


def key_text(kind: KeyType, value: int) -> str:
    if kind is KeyType.IPV4:
        return format_address(4, value)
    if kind is KeyType.IPV6:
        return format_address(6, value)
    if kind is KeyType.IDENTITY:
        return identity_text(value)
    return _PROTOCOL_TEXT.get(value, str(value)) if kind is KeyType.PROTOCOL else str(value)


def identity_text(value: int) -> str:
    """As traffic control writes a classid: major and minor, hexadecimal."""
    return f"{value >> 16:x}:{value & 0xFFFF:x}"


def chain_head(chain: Chain) -> str:
    """Type, hook and policy of a base chain; empty for the others."""
    if chain.hook is None:
        return ""
    sign = "-" if chain.hook.priority < 0 else "+"
    place = f"priority filter {sign} {abs(chain.hook.priority)}"
    return f"type filter hook {chain.hook.hook} {place}; policy accept;"


def _chain_lines(chain: Chain, marker: Marker, *, annotate: bool) -> Iterator[str]:
    yield f"chain {chain.name} {{"
    head = chain_head(chain)
    if head:
        yield f"\t{head}"
    for rule in chain.rules:
        text = rule_text(rule, marker)
        why = ": ".join(part for part in (sources_text(rule.origins), rule.note) if part)
        yield f"\t{text}  # {_one_line(why)}" if annotate and why else f"\t{text}"
    yield "}"


def _noted(note: str, annotate: bool) -> list[str]:
    return [f"# {_one_line(note)}"] if annotate and note else []


def _comments(lines: Iterable[str], annotate: bool) -> list[str]:
    return [f"# {_one_line(line)}".rstrip() for line in lines] if annotate else []


def _one_line(text: str) -> str:
    """Notes quote what users wrote; a line break or control character must not end the comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _callees_first(ruleset: Ruleset) -> Iterator[Chain]:
    """A stable order in which every chain comes after those it goes to, as people read it."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[Chain]:
        if name in done:
            return
        done.add(name)
        for rule in ruleset.chains[name].rules:
            if isinstance(rule.action, Goto | Identify):
                yield from visit(rule.action.chain)
        yield ruleset.chains[name]

    for name in ruleset.chains:
        yield from visit(name)


def _interval_text(kind: KeyType, low: int, high: int) -> str:
    """A prefix where the interval is one, else ``low-high``."""
    if low == high:
        return key_text(kind, low)
    if kind is KeyType.IPV4:
        blocks = [str(b) for b in summarize_address_range(IPv4Address(low), IPv4Address(high))]
    else:
        blocks = [str(b) for b in summarize_address_range(IPv6Address(low), IPv6Address(high))]
    return blocks[0] if len(blocks) == 1 else f"{key_text(kind, low)}-{key_text(kind, high)}"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _match_text(match: Match) -> str:  # noqa: PLR0911 - one line per kind
    match match:
        case Member(fields, name, negated):
            return f"{' . '.join(fields)} {'!= ' if negated else ''}@{name}"
        case Within(field, low, high):
            kind = KeyType.IPV4 if field.family == 4 else KeyType.IPV6
            return f"{field.value} {_interval_text(kind, low, high)}"
        case IsFamily(family):
            return f"meta nfproto ipv{family}"
        case IsProtocol(protocol):
            return f"meta l4proto {_PROTOCOL_TEXT.get(protocol, protocol)}"
        case PortWithin(protocol, field, low, high):
            side = "dport" if field is Field.DPORT else "sport"
            return f"{_PROTOCOL_TEXT[protocol]} {side} {_span(low, high)}"
        case HopLimit(value):
            return f"ip6 hoplimit {value}"
        case CtState(state):
            return f"ct state {state}"
        case CtReply():
            return "ct direction reply"
        case arrival:
            return _arrival_text(arrival)


def _arrival_text(match: FromInterface | NoReturnPath | NotNodeAddress) -> str:
    match match:
        case FromInterface(name):
            return f'iifname "{name}"'
        case NoReturnPath():
            return "fib saddr . iif oif missing"
        case NotNodeAddress(field):
            return f"fib {'saddr' if 'saddr' in field else 'daddr'} type != local"


def _action_text(action: Action, marker: Marker) -> str:  # noqa: PLR0911 - one line per kind
    match action:
        case Accept(forget):
            return "meta priority set none accept" if forget else "accept"
        case Drop():
            return "drop"
        case Reject(code):
            return "reject with tcp reset" if code is RejectCode.TCP_RESET else f"reject with icmpx {code}"
        case Goto(chain, forget):
            return f"meta priority set none goto {chain}" if forget else f"goto {chain}"
        case Identify(field, name, chain):
            return f"meta priority set {field.value} map @{name} goto {chain}"
        case Dispatch(name):
            return f"meta priority vmap @{name}"
        case AcceptKnown():
            return marker.test
        case Remember():
            return marker.write
        case Log(prefix, group, rate, burst, snaplen):
            limit = f"limit rate {rate}/second burst {burst} packets"
            return f'{limit} log prefix "{prefix}" group {group} snaplen {snaplen}'
