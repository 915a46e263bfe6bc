"""Up to which generation id of the kernel is our table known to be as we left it? Kept by ``backend``; pure.

The id counts every transaction of every program. It may move on as long as notifications show that our table was not
touched; when it was, or when notifications were lost, only reading the table helps.
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.dataplane.nfnetlink.events import Commit, Lost

_IDS = 1 << 32


class Knowledge:
    """``generation_id`` is None when nothing is known; ``doubt`` says why, and is empty when the table was never looked at."""

    def __init__(self) -> None:
        self.generation_id: int | None = None
        self.doubt = ""

    def know(self, generation_id: int) -> None:
        self.generation_id, self.doubt = generation_id, ""

    def made(self, generation_id: int) -> None:
        """The table was made anew on top of ``generation_id``, and of nothing else."""
        self.know((generation_id + 1) % _IDS or 1)

    def distrust(self, why: str) -> None:
        self.generation_id, self.doubt = None, why

    def is_behind(self, generation_id: int) -> bool:
        """There was a transaction that we were not told of."""
        return self.generation_id is not None and _follows(generation_id, self.generation_id)

    def observe(self, events: Iterable[Commit | Lost]) -> None:
        """Transactions up to the known one are part of what is known."""
        for event in events:
            if self.generation_id is None:
                continue
            if isinstance(event, Lost):
                self.distrust("notifications of changes were lost")
            elif _follows(event.generation_id, self.generation_id):
                if event.changes:
                    self.distrust(f"{event.process} (pid {event.pid}): {', '.join(event.changes)}")
                else:
                    self.generation_id = event.generation_id


def _follows(later: int, earlier: int) -> bool:
    """The kernel's counter starts again after 2**32 transactions."""
    return 0 < (later - earlier) % _IDS < _IDS // 2
