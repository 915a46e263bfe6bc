"""What of enforcing does not work at the moment: told once, visible as long as it lasts, and told when it is over.

In: "this attempt failed, because …" and "it works" from ``agent.programming`` and ``agent.guard``. Out: how long to wait before the
next attempt; one Warning Event on the Node for as long as the fault lasts (its count and newest message are patched) and a Normal one
at its end; log lines; the current Fault for ``/readyz``, ``/status`` and the metrics.
The old rules are in force all the while: an attempt that fails changes nothing in the kernel.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from enum import Enum

import msgspec

from stockade.agent.events import NORMAL, WARNING, EventRecorder, Occurrence, Subject

log = logging.getLogger(__name__)

FIRST, LONGEST = 0.5, 30.0  # seconds between attempts: doubled each time
MESSAGE_LINES = 3  # nft repeats itself for each of a thousand commands


class Work(Enum):
    """What can fail: (the Event while it does, the Event when it works again, in words)."""

    PROGRAMMING = (
        "NetworkPolicyProgrammingFailed",
        "NetworkPolicyProgrammed",
        "the kernel's rules cannot be changed; those in force are the old ones",
    )
    VERIFYING = (
        "NetworkPolicyVerificationFailed",
        "NetworkPolicyVerified",
        "whether the kernel's rules are as programmed is not known",
    )

    def __init__(self, failed: str, works: str, words: str) -> None:
        self.failed, self.works, self.words = failed, works, words


class Fault(msgspec.Struct, frozen=True):
    """``since``: seconds of the epoch, the first of ``attempts`` failures in a row."""

    work: Work
    error: str
    since: float
    attempts: int
    retry_in: float

    @property
    def text(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"{self.work.words} (failed {times}): {self.error}"


def pause(attempts: int) -> float:
    """Before the next attempt, after so many that failed in a row."""
    return min(LONGEST, FIRST * 2.0 ** min(attempts - 1, 16))


class NodeEvents:
    """Events about this node. Until its Node object is known its name stands for the uid, as in the kubelet's own events."""

    def __init__(self, recorder: EventRecorder, node: str, uid: Callable[[], str]) -> None:
        self._recorder, self._node, self._uid = recorder, node, uid

    def warn(self, reason: str, message: str, topic: str) -> None:
        self._record(reason, message, topic, WARNING)

    def tell(self, reason: str, message: str, topic: str) -> None:
        self._record(reason, message, topic, NORMAL)

    def _record(self, reason: str, message: str, topic: str, kind: str) -> None:
        subject = Subject("Node", "", self._node, self._uid() or self._node)
        self._recorder.record(Occurrence(subject, reason, message, type=kind, topic=topic))


class Faults:
    """At most one for each kind of work."""

    def __init__(self, events: NodeEvents, now: Callable[[], float] = time.time) -> None:
        self.failures = dict.fromkeys(Work, 0)
        self.events = events
        self._now = now
        self._current: dict[Work, Fault] = {}

    @property
    def current(self) -> list[Fault]:
        return [self._current[work] for work in Work if work in self._current]

    def failed(self, work: Work, error: str) -> float:
        """Seconds until the next attempt."""
        self.failures[work] += 1
        before = self._current.get(work)
        attempts = before.attempts + 1 if before else 1
        delay = pause(attempts)
        fault = Fault(work, _short(error), before.since if before else self._now(), attempts, delay)
        self._current[work] = fault
        log.error("%s; trying again in %.1f s", fault.text, delay)
        self.events.warn(work.failed, fault.text, work.failed)
        return delay

    def works(self, work: Work) -> None:
        fault = self._current.pop(work, None)
        if fault is None:
            return
        times = "attempt" if fault.attempts == 1 else "attempts"
        text = f"works again, after {fault.attempts} failed {times} in {self._now() - fault.since:.1f} s"
        log.info("%s %s", work.name.lower(), text)
        self.events.tell(work.works, f"{work.name.lower()} {text}", work.works)


def problem(faults: Iterable[Fault]) -> str:
    """One line for ``/readyz``; empty when there is none."""
    return "; ".join(fault.text for fault in faults)


def _short(error: str) -> str:
    lines = error.strip().splitlines() or ["no reason was given"]
    more = f" … and {len(lines) - MESSAGE_LINES} lines more" if len(lines) > MESSAGE_LINES else ""
    return " / ".join(line.strip() for line in lines[:MESSAGE_LINES]) + more
