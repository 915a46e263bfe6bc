"""What a Job's status says and what follows from it: counts, indexes, ends.

In: the Job, the pods that ended. Out: answers, or the Job edited in place. Called by ``job``. Rules: batch/v1 JobStatus; the conditions
FailureTarget and SuccessCriteriaMet come with Failed and Complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.controllers.job_pods import index_of, succeeded
from stockade.lab.controllers.objects import condition, set_condition

LEADS_TO = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}


def count(job: JsonObject, ended: Sequence[JsonObject], now: str) -> None:
    """Add pods that ended. An index that has succeeded counts once."""
    status = job.setdefault("status", {})
    status.setdefault("startTime", now)
    good = [pod for pod in ended if succeeded(pod)]
    bad = len(ended) - len(good)
    if _is_indexed(job):
        done = completed(job) | {index_of(pod) for pod in good}
        wanted = int(job["spec"].get("completions") or 0)
        done = {number for number in done if 0 <= number < wanted}
        status["completedIndexes"] = _ranges(done)
        status["succeeded"] = len(done)
    else:
        status["succeeded"] = int(status.get("succeeded", 0)) + len(good)
    status["failed"] = int(status.get("failed", 0)) + bad
    for name in ("succeeded", "failed"):
        if not status[name]:
            del status[name]


def _is_indexed(job: JsonObject) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def completed(job: JsonObject) -> set[int]:
    """The numbers in ``status.completedIndexes``: ``1,3-5``."""
    found: set[int] = set()
    for part in filter(None, (job.get("status") or {}).get("completedIndexes", "").split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _ranges(numbers: Iterable[int]) -> str:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def running(job: JsonObject, active: int, ready: int, terminating: int, now: str) -> None:
    status = job.setdefault("status", {})
    suspended = bool(job["spec"].get("suspend"))
    if not suspended:
        status.setdefault("startTime", now)
    elif "startTime" in status:
        del status["startTime"]
    status.pop("active", None)
    if active:
        status["active"] = active
    status |= {"ready": ready, "terminating": terminating, "uncountedTerminatedPods": {}}
    if suspended or condition(job, "Suspended"):
        reason, verb = ("JobSuspended", "suspended") if suspended else ("JobResumed", "resumed")
        entry = {"type": "Suspended", "status": str(suspended), "reason": reason, "message": f"Job {verb}"}
        set_condition(status.setdefault("conditions", []), {**entry, "lastProbeTime": now})


def is_suspended(job: JsonObject) -> bool:
    return bool(condition(job, "Suspended").get("status") == "True")


def is_over(job: JsonObject) -> bool:
    return any(condition(job, kind).get("status") == "True" for kind in LEADS_TO)


def is_complete(job: JsonObject) -> bool:
    wanted, done = job["spec"].get("completions"), int((job.get("status") or {}).get("succeeded", 0))
    if wanted is not None:
        return done >= int(wanted)
    return done > 0 and not int((job.get("status") or {}).get("active", 0))


def failure(job: JsonObject, now: datetime) -> tuple[str, str] | None:
    """Reason and message, when the job has to be given up."""
    spec, status = job["spec"], job.get("status") or {}
    if int(status.get("failed", 0)) > int(spec.get("backoffLimit", 6)):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    limit, start = spec.get("activeDeadlineSeconds"), status.get("startTime")
    if limit is not None and start and (now - _moment(start)).total_seconds() >= int(limit):
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def end(job: JsonObject, kind: str, reason: str, message: str, now: str) -> None:
    """``kind`` is Complete or Failed."""
    status = job.setdefault("status", {})
    status.pop("active", None)
    status |= {"ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    status.setdefault("startTime", now)
    for name in (LEADS_TO[kind], kind):
        entry = {"type": name, "status": "True", "reason": reason, "message": message, "lastProbeTime": now}
        set_condition(status.setdefault("conditions", []), entry)
    if kind == "Complete":
        status["completionTime"] = now


def time_to_live(job: JsonObject, now: datetime) -> float | None:
    """Seconds until a job that is over is deleted; None when it stays."""
    limit = job["spec"].get("ttlSecondsAfterFinished")
    if limit is None:
        return None
    since = max(condition(job, kind).get("lastTransitionTime", "") for kind in LEADS_TO)
    return float(limit) - (now - _moment(since)).total_seconds()


def delay(pods: Iterable[JsonObject], now: datetime, first: float, longest: float) -> float:
    """Seconds until another pod may follow failed ones; each failure in a row doubles it."""
    ended = sorted((pod for pod in pods if _ended_at(pod)), key=_ended_at)
    failures = 0
    for pod in ended:
        failures = 0 if succeeded(pod) else failures + 1
    if not failures:
        return 0.0
    pause = min(first * 2.0 ** min(failures - 1, 20), longest)
    return pause - (now - _moment(_ended_at(ended[-1]))).total_seconds()


def _ended_at(pod: JsonObject) -> str:
    """Of its last container; "" while the pod runs, and when nothing tells."""
    if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
        return ""
    ends = [
        ((status.get("state") or {}).get("terminated") or {}).get("finishedAt") or ""
        for status in pod["status"].get("containerStatuses") or []
    ]
    return max(ends, default="")


def _moment(stamp: str) -> datetime:
    moment = datetime.fromisoformat(stamp)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
