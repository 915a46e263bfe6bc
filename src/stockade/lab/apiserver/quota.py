"""How much a lab stores: no client can fill the memory of the machine with objects.

Asked by ``ObjectStore`` before it stores what a client wrote; the lab's own writes of status are counted and never refused. The refusal is that of a
ResourceQuota, which clients know.
"""

from __future__ import annotations

import msgspec

from stockade.lab.apiserver.failures import forbidden
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject

MOST_BYTES = 256 * 1024 * 1024
EACH = 1024  # what an object costs beyond its JSON
MARGIN = 4 * 1024 * 1024  # more than one request can add: only a store that is nearly full looks closer


class Quota:
    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self.used = 0

    def wrote(self, before: bytes | None, after: bytes | None) -> None:
        self.used += _cost(after) - _cost(before)

    def check(self, kind: Kind, new: JsonObject, old: JsonObject | None) -> None:
        """Raises ApiError Forbidden for what would grow beyond the limit."""
        if self.used + MARGIN <= self._most:
            return
        more = _cost(msgspec.json.encode(new)) - (_cost(msgspec.json.encode(old)) if old is not None else 0)
        if more > 0 and self.used + more > self._most:
            why = (
                f"exceeded quota: stockade, requested: bytes={more}, used: bytes={self.used}, "
                f"limited: bytes={self._most}"
            )
            raise forbidden(kind, new["metadata"]["name"], why)


def _cost(raw: bytes | None) -> int:
    return EACH + len(raw) if raw is not None else 0
