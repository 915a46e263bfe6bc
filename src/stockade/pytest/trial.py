"""One question of a test: decided by the engine, tried from inside the pod, and the two compared.

In: a Cluster, an assertion (as in the files of ``stockade test``). Out: a Result. Called by ``space``. It is ``stockade test --live`` for
one connection: the same judge, the same probe.

    cluster ─► snapshot ─► judge ─► Outcome ─► observe ─► Row ─► Result
                  ▲                                        │ not what was decided, or not decided by a policy:
                  └──────────────── again, for ``settle`` ─┘ rules and endpoints follow the objects a moment later
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from stockade.analysis.ask import ask
from stockade.analysis.assertions import (
    ALLOWED,
    DENIED,
    Assertion,
    AssertionFile,
    BadAssertion,
    deciding_policies,
    judge,
)
from stockade.analysis.path import prepare
from stockade.cli.live import observe
from stockade.kube.snapshot import read_cluster
from stockade.lab.addresses import OUTSIDE_NAMES
from stockade.model.diagnostic import Position
from stockade.pytest.cluster import Cluster, StockadeError
from stockade.report.answer_text import explain_lines
from stockade.report.outcomes import Row
from stockade.report.terminal import visible
from stockade.store.state import ClusterState

_PAUSE = 0.05


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """``verdict``: what the policies say, allowed, denied, mixed or undecided. ``observed``: what the network did, allowed, denied, mixed, or
    empty where nothing was tried (only TCP from a pod is). ``symptom``: what the program that tried has said, else what busybox
    wget would print. ``policies``: those that allow it, or that isolate where it is denied. ``explanation``: every step, and the
    smallest change that would allow it. ``complaint``: why an assertion does not hold; empty when it does."""

    connection: str
    verdict: str
    observed: str
    symptom: str
    policies: tuple[str, ...]
    explanation: str
    complaint: str = ""

    @property
    def allowed(self) -> bool:
        """By the policies, and by the network where it was tried."""
        return self.verdict == ALLOWED and self.observed in {"", ALLOWED}

    @property
    def denied(self) -> bool:
        """By a policy, and by the network where it was tried."""
        return self.verdict == DENIED and self.observed in {"", DENIED} and bool(self.policies)

    def __str__(self) -> str:
        tried = f", observed {self.observed} ({self.symptom})" if self.observed else ""
        return f"{self.connection}: {self.verdict}{tried}"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds``: of one attempt to connect. ``settle``: how long the network may take to do what was decided."""

    assertion: Assertion
    namespace: str
    hosts: Mapping[str, str] = {}
    seconds: int
    settle: float


def try_it(cluster: Cluster, trial: Trial, *, live: bool = True) -> Result:
    """Raises StockadeError for references to nothing."""
    __tracebackhide__ = True
    return cluster.call(_try, cluster, trial, live=live)


def _try(cluster: Cluster, trial: Trial, *, live: bool) -> Result:
    end = time.monotonic() + trial.settle
    while True:
        row, state = _once(cluster, trial, live=live)
        if not live or _is_settled(row) or time.monotonic() > end:
            return _result(row, state)
        time.sleep(_PAUSE)


def _once(cluster: Cluster, trial: Trial, *, live: bool) -> tuple[Row, ClusterState]:
    """One reading of the cluster; a policy that was applied before is in it."""
    state = ClusterState.of(read_cluster(cluster.access, workloads=True).objects)
    world = prepare(state)
    hosts = {**(OUTSIDE_NAMES if cluster.is_lab else {}), **trial.hosts}
    file = AssertionFile(tests=[trial.assertion], namespace=trial.namespace, hosts=hosts)
    outcome, *_ = judge(world, file, trial.namespace, given=trial.namespace)  # a mistake in it comes first
    if isinstance(outcome, BadAssertion):
        raise StockadeError(outcome.message)
    row = Row(outcome=outcome, position=Position("", 0, 0))
    if live:
        (row,) = observe([row], world, cluster.access, seconds=trial.seconds)
    return row, state


def _is_settled(row: Row) -> bool:
    """What fails without a policy may be a Service whose endpoints come in a moment."""
    return not row.disagrees and (row.outcome.decided == ALLOWED or bool(_policies(row)))


def _policies(row: Row) -> frozenset[str]:
    return frozenset(str(each) for case in row.outcome.answer.cases for each in deciding_policies(case.path))


def _result(row: Row, state: ClusterState) -> Result:
    outcome = row.outcome
    answer = ask(state, outcome.answer.question, with_remedy=True)
    return Result(
        connection=outcome.connection,
        verdict=outcome.decided,
        observed=row.observed,
        symptom=visible(row.seen if row.observed else "; ".join(outcome.answer.deciding.path.symptom)),
        policies=tuple(sorted(_policies(row))),
        explanation="\n".join(visible(text) for _, text in explain_lines(answer)),
        complaint=visible(row.complaint),
    )
