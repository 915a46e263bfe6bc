"""A ruleset that is worked out when somebody asks for it. Made by ``live.rules``; asked by ``plane`` when it compares, repairs or gives up
on a patch. Each value stands for one moment for ever, whatever comes later."""

from __future__ import annotations

from stockade.dataplane.ir import Ruleset
from stockade.dataplane.patch import Patch, merged, patched

_LONGEST = 256  # patches kept apart before they are merged


class Wanted:
    """``base`` with patches. Calling it gives the ruleset; ``base`` alone tells what patches cannot change: chains, types of sets."""

    def __init__(self, base: Ruleset, patches: list[Patch] | None = None, count: int = 0) -> None:
        """``patches`` is shared with later values, of which each knows how many are its own."""
        self.base = base
        self._patches = [] if patches is None else patches
        self._count = count

    def __call__(self) -> Ruleset:
        if self._count:
            self.base, self._patches, self._count = patched(self.base, self._patches[: self._count]), [], 0
        return self.base

    def after(self, patch: Patch) -> Wanted:
        if patch.is_empty:
            return self
        patches = self._patches
        if self._count >= _LONGEST:
            patches = [merged(*patches[: self._count])]
        elif self._count < len(patches):  # somebody else went on from here
            patches = patches[: self._count]
        patches.append(patch)
        return Wanted(self.base, patches, len(patches))
