"""What a lab said that it had stored, and whether it still has it.

In: writes as they begin and as they are acknowledged, changes seen on a watch, and later what a list finds. Out: differences, in words.
A write that was neither acknowledged nor refused when the lab was killed may have happened or not; nothing else is left open.
Called by ``stockade.testing.crashes``. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Fact(msgspec.Struct, frozen=True):
    """An object at a revision; ``uid`` "" says that there is none of that name."""

    revision: int = 0
    uid: str = ""
    value: str = ""


class Attempt(msgspec.Struct, frozen=True):
    """A write under way: what the object is worth afterwards; ``value`` None deletes it."""

    value: str | None


class Ledger:
    """Of one collection. Each name is written by one writer, one write after the other. ``moving``: others than the writers change the
    objects, too (a pod's status), so that revisions may be newer than known."""

    def __init__(self, *, moving: bool = False) -> None:
        self._moving = moving
        self._facts: dict[str, Fact] = {}
        self._attempts: dict[str, Attempt] = {}
        self.newest = 0
        self.acknowledged = 0

    def fact(self, name: str) -> Fact:
        return self._facts.get(name, Fact())

    def names(self) -> list[str]:
        return list(self._facts)

    def begin(self, name: str, value: str | None) -> None:
        self._attempts[name] = Attempt(value)

    def acknowledge(self, name: str, fact: Fact) -> None:
        """The answer to a write."""
        self.acknowledged += 1
        self.learn(name, fact)
        self._attempts.pop(name, None)

    def learn(self, name: str, fact: Fact) -> None:
        """A watch showed it: whatever was told to anybody must not be taken back."""
        self.newest = max(self.newest, fact.revision)
        if fact.revision > self.fact(name).revision:
            self._facts[name] = fact
            attempt = self._attempts.get(name)
            if attempt is not None and (attempt.value or "") == fact.value:
                del self._attempts[name]

    def compare(self, found: Mapping[str, Fact], revision: int) -> list[str]:
        """With a list of the collection at ``revision``. Afterwards what was found is what is known."""
        wrong = []
        if revision < self.newest:
            wrong.append(f"revision {revision} is older than {self.newest}, which was given out")
        for name in sorted(self._facts.keys() | self._attempts.keys() | found.keys()):
            here = found.get(name, Fact())
            if not self._is_right(name, here):
                wrong.append(
                    f"{name}: {self.fact(name)} became {here}; under way: {self._attempts.get(name)}"
                )
        self._facts = dict(found)
        self._attempts.clear()
        self.newest = max(self.newest, revision)
        return wrong

    def _is_right(self, name: str, here: Fact) -> bool:
        known, attempt = self.fact(name), self._attempts.get(name)
        if (here.uid, here.value) == (known.uid, known.value):
            same = here.revision == known.revision
            return same or not here.uid or (self._moving and here.revision > known.revision)
        if attempt is None:
            return False
        if attempt.value is None or not here.uid:
            return attempt.value is None and not here.uid
        later = here.value == attempt.value and here.revision > known.revision
        return later and known.uid in ("", here.uid)
