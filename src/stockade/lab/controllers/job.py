"""Job: pods that run until so many of them have succeeded.

In: Jobs and their pods. Out: pods created and deleted; each ended pod counted once, then released (the finalizer
``batch.kubernetes.io/job-tracking`` holds it until then); status and conditions, from which ``kubectl wait --for=condition=complete``
reads. Rules: batch/v1 Job (parallelism, completions, Indexed, backoffLimit with its growing delay, activeDeadlineSeconds,
ttlSecondsAfterFinished, suspend).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from stockade.lab.apiserver.registry import ApiError, Change, JsonObject, Registry
from stockade.lab.controllers import job_status
from stockade.lab.controllers.job_pods import index_of, is_tracked, job_pod, release
from stockade.lab.controllers.loop import Place, itself, place, run_loop
from stockade.lab.controllers.objects import is_finished, is_ready, is_terminating
from stockade.lab.controllers.podset import PodSet, owner_place
from stockade.lab.controllers.workqueue import WorkQueue

JOBS = "jobs.batch"
OWN_NAME = "kubernetes.io/job-controller"
FIRST_DELAY, LONGEST_DELAY = 10.0, 360.0


class _Pods(msgspec.Struct, frozen=True):
    """A job's pods: running (or about to), ended and not counted yet; ``delay``: seconds until more may be created."""

    active: list[JsonObject]
    ended: list[JsonObject]
    terminating: int
    delay: float


class JobController:
    def __init__(self, registry: Registry, first_delay: float = FIRST_DELAY) -> None:
        self._registry = registry
        self._first_delay = first_delay
        self._pods = PodSet(registry, "job-controller")
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(self._registry, self._queue, {JOBS: itself, "pods": _of_pod}, self._reconcile)

    def _reconcile(self, key: Place) -> None:
        job = self._registry.find(JOBS, *key)
        if job is None:
            self._release_orphans(key)
            return
        if job["spec"].get("managedBy", OWN_NAME) != OWN_NAME:
            return
        pods = self._sort(job)
        job = self._count(job, pods)
        if is_terminating(job):
            return
        if job_status.is_over(job):
            self._expire(job)
            return
        reason = job_status.failure(job, _now())
        if reason is not None:
            self._end(job, pods, "Failed", *reason)
        elif job_status.is_complete(job):
            self._end(
                job, pods, "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
            )
        else:
            self._keep_running(job, pods)

    def _sort(self, job: JsonObject) -> _Pods:
        claimed = self._pods.claim(job, job["spec"].get("selector"))
        ended = [pod for pod in claimed if is_tracked(pod) and (is_finished(pod) or _is_gone(pod))]
        active = [pod for pod in claimed if not is_finished(pod) and not is_terminating(pod)]
        terminating = sum(is_terminating(pod) and not is_finished(pod) for pod in claimed)
        delay = job_status.delay(claimed, _now(), self._first_delay, LONGEST_DELAY)
        return _Pods(active, ended, terminating, delay)

    def _count(self, job: JsonObject, pods: _Pods) -> JsonObject:
        """First the numbers, then the release: a pod that was released has been counted."""
        if pods.ended:
            job = self._registry.mutate(
                JOBS, *place(job), lambda new: job_status.count(new, pods.ended, _stamp()), "status"
            )
            for pod in pods.ended:
                self._registry.mutate("pods", *place(pod), release)
        return job

    def _keep_running(self, job: JsonObject, pods: _Pods) -> None:
        spec, status = job["spec"], job.get("status") or {}
        active = list(pods.active)
        suspended = bool(spec.get("suspend"))
        if suspended:
            self._stop(job, active)
            active = []
        wanted = 0 if suspended else self._wanted(spec, status, pods.terminating)
        wait = 0.0 if suspended else pods.delay
        if wait > 0 and len(active) < wanted:
            self._queue.add_after(place(job), wait)
        try:
            if wait <= 0:
                indexes = iter(self._free_indexes(job, active))
                for _ in range(wanted - len(active)):
                    active.append(self._pods.create(job, job_pod(job, next(indexes, None))))
            for pod in active[max(0, wanted) :]:
                self._pods.delete(job, pod)
            active = active[: max(0, wanted)]
        finally:
            self._update(job, active, pods.terminating)
        if spec.get("activeDeadlineSeconds") and not suspended:
            self._queue.add_after(place(job), float(spec["activeDeadlineSeconds"]))

    @staticmethod
    def _wanted(spec: JsonObject, status: JsonObject, terminating: int) -> int:
        parallel = int(spec.get("parallelism", 1))
        if spec.get("podReplacementPolicy") == "Failed":
            parallel -= terminating
        if spec.get("completions") is None:  # a work queue: one success means that the work is done
            return 0 if status.get("succeeded") else parallel
        return min(parallel, int(spec["completions"]) - int(status.get("succeeded", 0)))

    @staticmethod
    def _free_indexes(job: JsonObject, active: Iterable[JsonObject]) -> list[int]:
        if job["spec"].get("completionMode") != "Indexed":
            return []
        taken = {index_of(pod) for pod in active} | job_status.completed(job)
        return [number for number in range(int(job["spec"].get("completions") or 0)) if number not in taken]

    def _stop(self, job: JsonObject, active: Iterable[JsonObject]) -> None:
        for pod in active:
            self._pods.delete(job, pod)

    def _update(self, job: JsonObject, active: list[JsonObject], terminating: int) -> None:
        ready = sum(map(is_ready, active))

        def update(new: JsonObject) -> None:
            job_status.running(new, len(active), ready, terminating, _stamp())

        before = bool((job.get("status") or {}).get("startTime"))
        self._registry.mutate(JOBS, *place(job), update, "status")
        if before and job["spec"].get("suspend") and not job_status.is_suspended(job):
            self._pods.tell(job, "Suspended", "Job suspended")

    def _end(self, job: JsonObject, pods: _Pods, kind: str, reason: str, message: str) -> None:
        self._stop(job, pods.active)
        self._registry.mutate(
            JOBS, *place(job), lambda new: job_status.end(new, kind, reason, message, _stamp()), "status"
        )
        if kind == "Complete":
            self._pods.tell(job, "Completed", "Job completed")
        else:
            self._pods.tell(job, reason, message, warning=True)
        # the change of the status brings us back, for the time to live

    def _expire(self, job: JsonObject) -> None:
        left = job_status.time_to_live(job, _now())
        if left is None:
            return
        if left > 0:
            self._queue.add_after(place(job), left)
            return
        self._registry.delete(JOBS, *place(job))  # its pods are garbage then

    def _release_orphans(self, key: Place) -> None:
        """The job is gone: nobody will count its pods any more."""
        namespace, name = key
        for pod in self._registry.list("pods", namespace):
            if is_tracked(pod) and owner_place(pod, "Job", "batch") == [(namespace, name)]:
                try:
                    self._registry.mutate("pods", *place(pod), release)
                except ApiError as error:
                    if error.reason != "NotFound":
                        raise


def _of_pod(change: Change) -> list[Place]:
    return owner_place(change.object, "Job", "batch")


def _is_gone(pod: JsonObject) -> bool:
    """Only the finalizer still holds it."""
    return is_terminating(pod) and not pod["metadata"].get("deletionGracePeriodSeconds")


def _now() -> datetime:
    return datetime.now(UTC)


def _stamp() -> str:
    return _now().strftime("%Y-%m-%dT%H:%M:%SZ")
