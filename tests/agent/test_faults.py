"""What does not work is told once, grows in one Event, and is told when it is over."""

from __future__ import annotations

import itertools

import pytest

from stockade.agent.faults import Faults, NodeEvents, Work, pause, problem


class Recorder:
    def __init__(self):
        self.recorded = []

    def record(self, occurrence, count=1):
        self.recorded.append(occurrence)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def faults(recorder):
    times = itertools.count(1000.0)
    return Faults(NodeEvents(recorder, "node-1", lambda: "uid-1"), lambda: next(times))


def test_pauses_double_from_half_a_second_to_half_a_minute():
    assert [pause(n) for n in range(1, 9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pause(10**6) == 30.0


def test_one_event_while_it_lasts_and_one_when_it_is_over(faults, recorder):
    assert faults.failed(Work.PROGRAMMING, "Error: one") == 0.5
    assert faults.failed(Work.PROGRAMMING, "Error: two") == 1.0
    assert len({each.key for each in recorder.recorded}) == 1
    first, last = recorder.recorded
    assert first.type == "Warning"
    assert first.reason == "NetworkPolicyProgrammingFailed"
    assert (first.subject.kind, first.subject.name, first.subject.uid) == ("Node", "node-1", "uid-1")
    assert last.message.endswith("those in force are the old ones (failed 2 times): Error: two")
    assert problem(faults.current) == last.message
    assert faults.failures[Work.PROGRAMMING] == 2
    faults.works(Work.PROGRAMMING)
    assert recorder.recorded[-1].type == "Normal"
    assert recorder.recorded[-1].reason == "NetworkPolicyProgrammed"
    assert "after 2 failed attempts in 1.0 s" in recorder.recorded[-1].message
    assert problem(faults.current) == ""
    faults.works(Work.PROGRAMMING)
    assert len(recorder.recorded) == 3
    assert faults.failed(Work.PROGRAMMING, "again") == 0.5  # counted anew
    assert faults.failures[Work.PROGRAMMING] == 3  # but never forgotten


def test_two_kinds_of_work_fail_side_by_side(faults):
    faults.failed(Work.VERIFYING, "cannot list")
    faults.failed(Work.PROGRAMMING, "cannot write")
    assert [each.work for each in faults.current] == [Work.PROGRAMMING, Work.VERIFYING]
    faults.works(Work.PROGRAMMING)
    assert [each.work for each in faults.current] == [Work.VERIFYING]


def test_a_thousand_lines_of_nft_become_one(faults):
    faults.failed(Work.PROGRAMMING, "\n".join(f"line {n}" for n in range(1000)))
    (fault,) = faults.current
    assert fault.error == "line 0 / line 1 / line 2 … and 997 lines more"
    faults.failed(Work.PROGRAMMING, "")
    (fault,) = faults.current
    assert fault.error == "no reason was given"


def test_until_the_node_is_known_its_name_is_its_uid(recorder):
    Faults(NodeEvents(recorder, "node-1", lambda: "")).failed(Work.PROGRAMMING, "x")
    assert recorder.recorded[0].subject.uid == "node-1"
