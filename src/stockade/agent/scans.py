"""Whom a pod is told of one by one, and whom only as a number: a pod that tries a thousand addresses is one thing to tell, not a thousand.

In: attributed drops. Out: the same, or a summary of all the peers beyond the first PEERS_TOLD of a pod and direction within an
hour (as long as a server keeps Events). Called by ``agent.drops``. Scans of ports are summarised where packets are counted
(``dataplane.droptally``). Bounded whatever is sent: memory for PODS pods and direction, PEERS_COUNTED addresses each.
"""

from __future__ import annotations

from stockade.agent.attribution import PREFIX, Attribution
from stockade.model.netpol import EGRESS

PEERS_TOLD, PEERS_COUNTED, PODS = 32, 1000, 512
REMEMBERED_SECONDS = 3600.0


class Scan:
    """The peers of one pod in one direction since ``since``."""

    __slots__ = ("others", "since", "told")

    def __init__(self, since: float) -> None:
        self.since = since
        self.told: set[str] = set()
        self.others: set[str] = set()

    @property
    def number(self) -> str:
        count = len(self.others)
        return f"{count}+" if count >= PEERS_COUNTED else str(count)

    def is_new(self, address: str) -> bool:
        """Whether it is one of too many; counts it."""
        if address in self.told:
            return False
        if len(self.told) < PEERS_TOLD:
            self.told.add(address)
            return False
        if len(self.others) < PEERS_COUNTED:
            self.others.add(address)
        return True


class Scans:
    """``beyond`` for each drop, with the time of a monotonic clock."""

    def __init__(self) -> None:
        self._scans: dict[tuple[str, str], Scan] = {}

    def beyond(self, found: Attribution, now: float) -> Scan | None:
        """None: tell this drop by itself. Else the scan it belongs to."""
        key = found.uid, found.direction
        scan = self._scans.get(key)
        if scan is None or now - scan.since > REMEMBERED_SECONDS:
            self._scans.pop(key, None)
            scan = self._scans[key] = Scan(now)
            if len(self._scans) > PODS:
                del self._scans[next(iter(self._scans))]
        return scan if scan.is_new(found.peer.address) else None


def text(found: Attribution, scan: Scan) -> str:
    way = "to" if found.direction == EGRESS else "from"
    return f"{found.direction.lower()} {way} {scan.number} more addresses denied: {found.why}"


def notes(found: Attribution, scan: Scan) -> tuple[tuple[str, str], ...]:
    """Those of a single drop, without what differs from address to address."""
    summary = {
        "peer": "",
        "peer-kind": "",
        "peers": str(len(scan.others)),
        "port": "",
        "ports": "",
        "protocol": "",
        "nearest": "",
    }
    one = dict(found.annotations)
    return tuple((one | {f"{PREFIX}{key}": value for key, value in summary.items()}).items())
