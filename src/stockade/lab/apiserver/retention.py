"""How long Events are kept: an hour since their last change, as on a real server (``--event-ttl``), and never too many.

Asked by ``ObjectStore`` at each write of an Event, so that no timer is needed and a quiet lab does no work.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

TTL = timedelta(hours=1)
MOST = 5000

Key = tuple[str, str]


class Retention:
    """``clock`` tells the time; the order of keys is that of their last writes."""

    def __init__(self, clock: Callable[[], datetime], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._written: OrderedDict[Key, datetime] = OrderedDict()

    def wrote(self, key: Key) -> None:
        self._written[key] = self._clock()
        self._written.move_to_end(key)

    def deleted(self, key: Key) -> None:
        self._written.pop(key, None)

    def expired(self) -> Iterator[Key]:
        """The keys to delete now, oldest first; each must be deleted before the next is asked for."""
        while self._written:
            key, written = next(iter(self._written.items()))
            if len(self._written) <= self._most and self._clock() - written < TTL:
                return
            self.deleted(key)
            yield key
