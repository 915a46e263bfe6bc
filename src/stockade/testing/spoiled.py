"""Rules with one mistake in them: a test that compares packets with the engine must see each, or it proves nothing.

In: a Programmer and the name of a mistake. Out: a Programmer that makes it in every batch. Called by the kernel tests, and by
``python -m stockade.testing.witnesses --spoil NAME`` for whoever wants to see the comparison fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from stockade.dataplane.ir import (
    PROTOCOLS,
    Accept,
    CtReply,
    Field,
    Goto,
    Member,
    PortWithin,
    Rule,
    Ruleset,
)
from stockade.dataplane.names import FENCE
from stockade.dataplane.operations import AddRule, AddSet, Batch, Operation
from stockade.dataplane.programmer import Held, Programmer

Spoil = Callable[[Batch], Iterator[Batch]]


class Spoiled:
    """What it reads and holds is the truth."""

    def __init__(self, programmer: Programmer, mistake: str) -> None:
        self._programmer = programmer
        self._spoil = MISTAKES[mistake]

    async def commit(self, batch: Batch) -> None:
        for each in self._spoil(batch):
            await self._programmer.commit(each)

    async def read(self) -> Held | None:
        return await self._programmer.read()

    async def holds(self, ruleset: Ruleset, generation: int) -> bool:
        return await self._programmer.holds(ruleset, generation)

    async def delete(self) -> None:
        await self._programmer.delete()


def _rules(change: Callable[[AddRule], Rule | None]) -> Spoil:
    """None: without that rule."""

    def spoil(batch: Batch) -> Iterator[Batch]:
        operations: list[Operation] = []
        for each in batch.operations:
            if not isinstance(each, AddRule):
                operations.append(each)
            elif (rule := change(each)) is not None:
                operations.append(AddRule(each.chain, rule))
        yield msgspec.structs.replace(batch, operations=tuple(operations))

    return spoil


def _egress_is_enough(each: AddRule) -> Rule | None:
    """Allowed egress accepts instead of going on to the ingress of the destination."""
    if each.chain.startswith("e_") and each.rule.action == Goto("ingress"):
        return msgspec.structs.replace(each.rule, action=Accept())
    return each.rule


def _replies_pass(each: AddRule) -> Rule | None:
    """No mirrored chains: whatever travels against a connection's first packet is believed."""
    if CtReply() in each.rule.matches:
        return msgspec.structs.replace(each.rule, action=Accept(forget=True))
    return each.rule


def _no_fence(each: AddRule) -> Rule | None:
    return None if each.rule.action == Goto(FENCE) else each.rule


def _without_sctp(each: AddRule) -> Rule | None:
    sctp = PROTOCOLS["SCTP"]
    ports = [match for match in each.rule.matches if isinstance(match, PortWithin)]
    return None if any(match.protocol == sctp for match in ports) else each.rule


def _peers_of_one_family(each: AddRule) -> Rule | None:
    fields = [match.fields for match in each.rule.matches if isinstance(match, Member)]
    return None if (Field.DADDR6,) in fields else each.rule


def _except_forgotten(batch: Batch) -> Iterator[Batch]:
    """The blocks reach from their first address to their last."""
    operations: list[Operation] = []
    for each in batch.operations:
        if isinstance(each, AddSet) and each.set.interval and each.set.elements:
            ends = [end for element in each.set.elements for end in element]
            whole = msgspec.structs.replace(each.set, elements=frozenset({(min(ends), max(ends))}))
            operations.append(AddSet(whole))
        else:
            operations.append(each)
    yield msgspec.structs.replace(batch, operations=tuple(operations))


def _nobody_is_itself(batch: Batch) -> Iterator[Batch]:
    """A pod that reaches itself through a Service is judged as if it were another."""
    kept = tuple(
        each
        for each in batch.operations
        if not (isinstance(each, AddRule) and any(_is_itself(match) for match in each.rule.matches))
    )
    yield msgspec.structs.replace(batch, operations=kept)


def _is_itself(match: object) -> bool:
    return isinstance(match, Member) and match.set.startswith("self")


def _no_new_generation(batch: Batch) -> Iterator[Batch]:
    """Connections that were allowed once are allowed for ever."""
    yield msgspec.structs.replace(batch, generation=1)


def _not_atomic(batch: Batch) -> Iterator[Batch]:
    """One operation after the other instead of all or nothing."""
    for each in batch.operations:
        yield msgspec.structs.replace(batch, operations=(each,))


MISTAKES: dict[str, Spoil] = {
    "egress-is-enough": _rules(_egress_is_enough),
    "replies-pass": _rules(_replies_pass),
    "no-fence": _rules(_no_fence),
    "without-sctp": _rules(_without_sctp),
    "peers-of-one-family": _rules(_peers_of_one_family),
    "except-forgotten": _except_forgotten,
    "nobody-is-itself": _nobody_is_itself,
    "no-new-generation": _no_new_generation,
    "not-atomic": _not_atomic,
}
