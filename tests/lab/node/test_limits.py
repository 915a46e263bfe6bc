"""Which files say what a container may use."""

from __future__ import annotations

import pytest

from stockade.lab.node import limits
from stockade.lab.node.limits import Limits, Setting, settings


def of(**resources: str) -> Limits:
    return limits.of_container({"resources": {"limits": resources}})


@pytest.mark.parametrize(
    ("given", "memory", "cpu"),
    [
        ({"memory": "32Mi"}, 32 << 20, None),
        ({"memory": "1G", "cpu": "1"}, 10**9, 1000),
        ({"cpu": "250m"}, None, 250),
        ({"cpu": "0.5"}, None, 500),
        ({"memory": "1e3"}, 1000, None),
        ({}, None, None),
    ],
)
def test_limits_of_a_container(given, memory, cpu) -> None:
    assert (of(**given).memory, of(**given).cpu) == (memory, cpu)


def test_nothing_is_said_of_a_container_without() -> None:
    assert limits.of_container({"resources": {"requests": {"memory": "1Gi"}}}) == Limits()
    assert limits.of_container({}) == Limits()
    assert Limits(memory=1).controllers == ("memory",)


def test_a_quantity_that_is_none() -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        of(memory="much")


def test_files_of_both_versions() -> None:
    wanted = Limits(memory=1 << 20, cpu=1500, pids=7)
    assert settings(wanted, "memory", unified=True)[0] == Setting("memory.max", "1048576")
    assert settings(wanted, "memory", unified=False)[1:] == [
        Setting("memory.limit_in_bytes", "1048576"),
        Setting("memory.memsw.limit_in_bytes", "1048576", optional=True),
    ]
    assert settings(wanted, "cpu", unified=True) == [Setting("cpu.max", "150000 100000")]
    assert settings(wanted, "cpu", unified=False)[1] == Setting("cpu.cfs_quota_us", "150000")
    assert settings(Limits(cpu=1), "cpu", unified=True) == [Setting("cpu.max", "1000 100000")]
    assert settings(wanted, "pids", unified=True) == [Setting("pids.max", "7")]
    assert settings(Limits(), "memory", unified=True) == []


def test_a_lab_leaves_something_to_the_machine() -> None:
    assert limits.of_lab(10 << 30, 1000) == Limits(memory=8 << 30, pids=800)


def test_ends_for_want_of_memory_are_counted() -> None:
    assert limits.oom_kills("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n") == 2
    assert limits.oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n") == 1
    assert limits.oom_kills("") == 0
