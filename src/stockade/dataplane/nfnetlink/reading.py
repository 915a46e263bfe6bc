"""Reads the table from the kernel, and compares it with a Ruleset down to the bytes of its rules. Called by ``backend``, in a
thread: a large table takes some hundred milliseconds.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import defaultdict

import msgspec

from stockade.dataplane.ir import Chain, IdentityMap, NamedSet, Ruleset, VerdictMap
from stockade.dataplane.names import GENERATIONS
from stockade.dataplane.netlink import (
    NETLINK_NETFILTER,
    Message,
    NetlinkError,
    NetlinkSocket,
    Request,
    attribute_map,
    be32,
)
from stockade.dataplane.nfnetlink import listing
from stockade.dataplane.nfnetlink import wire as w
from stockade.dataplane.nfnetlink.events import is_ours
from stockade.dataplane.nfnetlink.objects import elements_of, rules_of
from stockade.dataplane.nfnetlink.rules import Mark, encode_rule
from stockade.dataplane.programmer import Held

_ATTEMPTS = 50
_Set = NamedSet | IdentityMap | VerdictMap


class TableState(msgspec.Struct, frozen=True):
    """``owner`` is the port of the socket it belongs to; 0 when it belongs to nobody."""

    flags: int
    owner: int

    @property
    def is_orphan(self) -> bool:
        """Its owner is gone and left it behind."""
        return self.flags & (w.OWNER | w.PERSIST) == w.PERSIST

    @property
    def is_dormant(self) -> bool:
        """The kernel passes packets by all its chains, as if there were none."""
        return bool(self.flags & w.DORMANT)


class Reader:
    """Does not change anything and needs no lock of the kernel's. Usable from any thread, one at a time."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_NETFILTER)
        self._lock = threading.Lock()

    def close(self) -> None:
        self._socket.close()

    def table(self) -> TableState | None:
        with self._lock:
            return table_state(self._socket, w.OUR_TABLE)

    def held(self) -> Held | None:
        """None when there is no table."""
        state = self.table()
        if state is None:
            return None
        with self._lock:
            try:
                chains = self._chains()
                found = self._mark(chains)
                if found is None:
                    return Held(None, None)
                mask, generation = found
                if state.is_dormant:
                    return Held(generation, None)  # only a table made anew is awake
                counters = [listing.counter(each)[0] for each in self._dump(w.Kind.GETOBJ)]
                return Held(generation, listing.ruleset(self._sets(), counters, chains, mask))
            except listing.Foreign:
                return Held(None, None)

    def holds(self, ruleset: Ruleset, generation: int) -> bool:
        state = self.table()
        if state is None or state.is_dormant:
            return False
        with self._lock:
            try:
                return self._same_chains(ruleset, generation) and self._same_objects(ruleset)
            except listing.Foreign:
                return False

    def counters(self) -> dict[str, tuple[int, int]]:
        with self._lock:
            kind = be32(w.OBJECT_TYPE, w.OBJECT_COUNTER)
            found = map(listing.counter, self._dump(w.Kind.GETOBJ, w.IN_TABLE + kind))
            return {name: (packets, size) for name, packets, size in found}

    def _same_chains(self, ruleset: Ruleset, generation: int) -> bool:
        if {each.name: each.hook for each in self._chains()} != {
            each.name: each.hook for each in ruleset.chains.values()
        }:
            return False
        if self._generation(ruleset.mark_mask) != generation:
            return False
        mark = Mark(ruleset.mark_mask, generation)
        listed: dict[str, list[bytes]] = defaultdict(list)
        for message in self._dump(w.Kind.GETRULE):
            chain, expressions = listing.rule(message)
            listed[chain].append(expressions)
        return all(_same_rules(chain, listed[name], mark) for name, chain in ruleset.chains.items())

    def _same_objects(self, ruleset: Ruleset) -> bool:
        counters = {listing.counter(each)[0] for each in self._dump(w.Kind.GETOBJ)}
        if counters != ruleset.counters.keys():
            return False
        wanted: dict[str, _Set] = {**ruleset.sets, **ruleset.identities, **ruleset.maps}
        heads = self._heads()
        return {head.name for head in heads} == wanted.keys() and all(
            self._holds_set(head, wanted[head.name]) for head in heads
        )

    def _holds_set(self, head: listing.SetHead, wanted: _Set) -> bool:
        """A hash table that is just growing may be listed with gaps: look again."""
        for pause in (0.02, 0.2, 0.0):
            if _same_set(self._value(head), wanted):
                return True
            time.sleep(pause)
        return False

    def _chains(self) -> list[Chain]:
        return [listing.chain(each) for each in self._dump(w.Kind.GETCHAIN)]

    def _mark(self, chains: list[Chain]) -> tuple[int, int] | None:
        """(mask, generation): every hook of ours tests the mark, and the same."""
        found: set[int | None] = set()
        for chain in chains:
            if chain.hook is not None:
                rules = self._dump(w.Kind.GETRULE, rules_of(chain.name))
                masks = [listing.mask_of(listing.rule(each)[1]) for each in rules]
                found.add(next((mask for mask in masks if mask), None))
        mask = found.pop() if len(found) == 1 else None
        return None if mask is None else (mask, self._generation(mask))

    def _sets(self) -> list[_Set]:
        return [self._value(head) for head in self._heads()]

    def _heads(self) -> list[listing.SetHead]:
        """But for the map of generations."""
        heads = [listing.set_head(each) for each in self._dump(w.Kind.GETSET)]
        return [head for head in heads if head.name != GENERATIONS]

    def _generation(self, mask: int) -> int:
        try:
            return listing.generation(self._dump(w.Kind.GETSETELEM, elements_of(GENERATIONS)), mask)
        except NetlinkError as error:
            raise listing.Foreign(f"no map {GENERATIONS}") from error

    def _value(self, head: listing.SetHead) -> _Set:
        return listing.set_value(head, self._dump(w.Kind.GETSETELEM, elements_of(head.name)))

    def _dump(self, kind: w.Kind, body: bytes = w.IN_TABLE) -> list[Message]:
        """Of our table: the kernel does not filter every kind of object by table."""
        request = Request(kind, body, purpose="read the table")
        return [each for each in self._listed(request) if is_ours(each.body)]

    def _listed(self, request: Request) -> list[Message]:
        """The kernel counts chains and objects of all tables as it lists them, so that one that another table loses meanwhile would
        hide one of ours; elements, sets and rules it counts within our table, whose changes the caller sees."""
        if request.kind not in {w.Kind.GETCHAIN, w.Kind.GETOBJ}:
            return self._socket.dump(request)
        for _ in range(_ATTEMPTS):
            try:
                return self._socket.dump(request, consistent=True)
            except NetlinkError as error:
                if error.errno != errno.EINTR:
                    raise
        raise NetlinkError(request.purpose, errno.EINTR, f"it changed during each of {_ATTEMPTS} readings")


def table_state(socket: NetlinkSocket, name: bytes) -> TableState | None:
    """``name`` as an attribute."""
    try:
        (message,) = socket.ask(Request(w.Kind.GETTABLE, w.NFGEN + name, purpose="look for the table"))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    parts = attribute_map(message.body, w.NFGEN_SIZE)
    flags, owner = (int.from_bytes(parts.get(each, b""), "big") for each in (w.TABLE_FLAGS, w.TABLE_OWNER))
    return TableState(flags, owner)


def _same_rules(chain: Chain, listed: list[bytes], mark: Mark) -> bool:
    return len(listed) == len(chain.rules) and all(
        listing.same_rule(encode_rule(rule, mark), found)
        for rule, found in zip(chain.rules, listed, strict=True)
    )


def _same_set(found: _Set, wanted: _Set) -> bool:
    match found, wanted:
        case NamedSet(), NamedSet():
            return (found.key, found.interval, found.elements) == (
                wanted.key,
                wanted.interval,
                wanted.elements,
            )
        case IdentityMap(), IdentityMap():
            return (found.key, found.elements) == (wanted.key, wanted.elements)
        case VerdictMap(), VerdictMap():
            return found.elements == wanted.elements
        case _:
            return False
