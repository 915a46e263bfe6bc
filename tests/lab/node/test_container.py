"""A container after a crash of the lab: whether it runs again, as which run, and what its logs are."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockade.lab.node.container import Container
from stockade.lab.node.logs import ContainerLog
from stockade.lab.node.runtime import LogOptions

SPEC = {"name": "c", "image": "alpine"}
LOST = {"terminated": {"exitCode": 255, "reason": "Unknown"}}
COMPLETED = {"terminated": {"exitCode": 0, "reason": "Completed"}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}
CREATING = {"waiting": {"reason": "ContainerCreating"}}


def before(state: dict, restarts: int = 0, last: dict | None = None) -> dict:
    return {"name": "c", "state": state, "lastState": last or {}, "restartCount": restarts}


@pytest.mark.parametrize(
    ("state", "policy", "over"),
    [
        (LOST, "Always", False),
        (LOST, "OnFailure", False),
        (LOST, "Never", True),
        (COMPLETED, "Always", False),
        (COMPLETED, "OnFailure", True),
        (COMPLETED, "Never", True),
        (BACK_OFF, "Never", False),
    ],
)
def test_whether_it_is_over(state, policy, over) -> None:
    assert Container(SPEC, before(state)).is_over(policy) is over


@pytest.mark.parametrize(
    ("held", "restarts", "last"),
    [
        (before(LOST, 3), 4, LOST),
        (before(LOST, 3, COMPLETED), 4, LOST),
        (before(BACK_OFF, 3, COMPLETED), 4, COMPLETED),
        (before(CREATING), 0, {}),  # it never ran: no restart
        (None, 0, {}),
    ],
)
def test_the_next_run_is_a_restart(held, restarts, last) -> None:
    container = Container(SPEC, held)
    container.wait_for_restart()
    container.wait_for_restart()  # counts once
    status = container.status()
    assert (status["restartCount"], status["lastState"], status["state"]) == (restarts, last, CREATING)


async def test_logs_of_before_can_be_read(tmp_path: Path) -> None:
    for run in (1, 2):
        log = ContainerLog(tmp_path / f"c.{run}.log")
        log.write(f"run {run}\n".encode())
        log.close()
    container = Container(SPEC, before(LOST, 2))
    container.recall_logs(tmp_path)
    assert container.log
    assert container.previous_log
    options = LogOptions(follow=True)  # ends at once: nothing will be written
    assert [piece async for piece in container.log.read(options)] == [b"run 2\n"]
    assert [piece async for piece in container.previous_log.read(options)] == [b"run 1\n"]
    container.discard_logs()
    assert not container.log._path.exists()
