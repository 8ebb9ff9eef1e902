"""The pod trigger: follows the pod of one task, streams its log, and ends the task or hands it back to the launcher.

It never asks for the pod: it is told by the watch that all triggers of a namespace share. The log of the pod is the log
of the task while it runs, line by line.

Where nothing more is to be done, the task ends here (`airflow.triggers.base.TaskSuccessEvent` and its like). Its pod
is deleted only once Airflow's database knows that the task has ended (module `finisher`): if this triggerer dies
before, the next one finds the pod as it was.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

import aiohttp
import structlog
from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from airflow_platform import evidence, finisher, memory, pod_status, retry, waits
from airflow_platform.attempt import Attempt
from airflow_platform.cluster import ApiError, Cluster, ClusterRef
from airflow_platform.diagnosis import LASTING, Verdict
from airflow_platform.evidence import Evidence
from airflow_platform.log_channel import handed_on
from airflow_platform.masks import Masks, masked
from airflow_platform.pod_log import HANDED_OVER, PodLog
from airflow_platform.told import Told
from airflow_platform.watch import Feed, PodWatch

#: The layout of the stored arguments. A triggerer reads those of the release before: what is added has a default.
VERSION = 1

#: The key of the XCom by which the REST API has the verdict on a task that failed.
VERDICT = "platform_verdict"

#: Seconds that the end of a log may take once the pod has ended.
_LOG_END = 60
#: The same where it may go on: that of a pod that is to be stopped, or that is gone.
_RUNS_ON = 5
#: Seconds between two looks at deadlines while nothing happens.
_TICK = 60
#: The same while the base container is not at work: what keeps the pod may be worth a word, or final, once it lasts.
_LOOK_AGAIN = 10

#: Seconds until a cluster is asked again that gave no answer, or refused.
_PAUSE = 6
#: Seconds for which it may refuse, or not be found by its connection, before the try fails; the pod knows nothing of
#: that, and runs on. As long as it takes to notice that rights or credentials are amiss, and to put them right.
_OUTAGE = 600

#: How often a pod is created again at least that was deleted before it ran.
_NEVER_RAN = 5

#: What a request to the cluster raises.
_NO_ANSWER = (ApiError, aiohttp.ClientError, OSError)

log = structlog.get_logger("task")

#: What triggers still do whose tasks a person has ended; Airflow forgets the triggers before.
_kills: set[asyncio.Task] = set()


@dataclass(frozen=True)
class _Followed:
    """A pod while it is followed: where it runs, its log, what else is known of it, and what of its words is secret."""

    cluster: Cluster
    log: PodLog
    evidence: Evidence
    masks: Masks


class PodTrigger(BaseTrigger):
    """Follows one pod to its end.

    Args:
        name, namespace: the pod.
        cluster: where it runs.
        base: the container whose end is the task's.
        get_logs, container_logs, init_container_logs, prefix: what of the pod's log becomes the task's, in the
            operator's words.
        schedule_timeout, startup_timeout: seconds until the pod must have a node, and then until it must have started.
        execution_deadline: seconds since the epoch, when the task has run for its ``execution_timeout``.
        on_finish_action, on_kill_action, grace_period: what becomes of the pod, in the operator's words.
        xcom_sidecar: whether a sidecar keeps the pod alive after the base container has ended.
        skip_on_exit_code: exit codes that mean: skipped.
        events_on_startup, events_on_failure: whether the pod's events are logged when it is slow to start, and when it
            fails.
        pod_on_failure: whether the pod itself is logged when it fails.
        ends: whether the task ends here; else a phase in the launcher ends it.
        redefer_count: how often a trigger of this pod has failed before.
        uid: of the pod, where it is known: another one of its name is none of this trigger's.
        attempt: `airflow_platform.attempt.Attempt`, of the launch that created the pod.
        infrastructure_retries: how often the try may be started again, because its pod was taken away.
        retry_deleted: whether it is, too, where somebody has deleted the pod.
        grows: whether there is another try, which reads from this pod whether it needs more memory.
    """

    def __init__(
        self,
        name: str,
        namespace: str,
        cluster: ClusterRef | dict[str, Any],
        base: str = "base",
        get_logs: bool = True,
        container_logs: Any = None,
        init_container_logs: Any = None,
        prefix: bool = True,
        schedule_timeout: float = 120,
        startup_timeout: float = 120,
        execution_deadline: float | None = None,
        on_finish_action: str = "delete_pod",
        on_kill_action: str = "delete_pod",
        grace_period: int | None = None,
        xcom_sidecar: bool = False,
        skip_on_exit_code: list[int] | None = None,
        events_on_startup: bool = False,
        events_on_failure: bool = False,
        pod_on_failure: bool = False,
        ends: bool = False,
        redefer_count: int = 0,
        uid: str | None = None,
        attempt: dict[str, Any] | None = None,
        infrastructure_retries: int = 0,
        retry_deleted: bool = False,
        grows: bool = False,
        version: int = VERSION,
        **_of_a_newer_release: Any,
    ) -> None:
        super().__init__()
        self.name = name
        self.namespace = namespace
        self.cluster = cluster if isinstance(cluster, ClusterRef) else ClusterRef(**cluster)
        self.base = base
        self.get_logs = get_logs
        self.container_logs = container_logs
        self.init_container_logs = init_container_logs
        self.prefix = prefix
        self.schedule_timeout = schedule_timeout
        self.startup_timeout = startup_timeout
        self.execution_deadline = execution_deadline
        self.on_finish_action = on_finish_action
        self.on_kill_action = on_kill_action
        self.grace_period = grace_period
        self.xcom_sidecar = xcom_sidecar
        self.skip_on_exit_code = skip_on_exit_code or []
        self.events_on_startup = events_on_startup
        self.events_on_failure = events_on_failure
        self.pod_on_failure = pod_on_failure
        self.ends = ends
        self.redefer_count = redefer_count
        self.uid = uid
        self.attempt = attempt or {}
        self.infrastructure_retries = infrastructure_retries
        self.retry_deleted = retry_deleted
        self.grows = grows
        self.version = version
        self._fired = False
        self._killing: asyncio.Task | None = None
        self._uid = uid
        #: When the pod was last known to be held by Kueue, or may have been; in seconds since the epoch.
        self._held = 0.0
        #: Since when the cluster refuses, and when it was last said that it cannot be asked; by the monotonic clock.
        self._away: float | None = None
        self._said: float | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, all of them JSON."""
        names = (
            "name", "namespace", "base", "get_logs", "container_logs", "init_container_logs", "prefix",
            "schedule_timeout", "startup_timeout", "execution_deadline", "on_finish_action", "on_kill_action",
            "grace_period", "xcom_sidecar", "skip_on_exit_code", "events_on_startup", "events_on_failure",
            "pod_on_failure", "ends", "redefer_count", "uid", "attempt", "infrastructure_retries", "retry_deleted",
            "grows", "version",
        )  # fmt: skip
        arguments = {name: getattr(self, name) for name in names}
        return f"{__name__}.PodTrigger", {**arguments, "cluster": asdict(self.cluster)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: the task's end, or what the launcher is to do."""
        self._held = time.time()
        try:
            event = await self._follow()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception(f"The trigger of pod {self.name} failed: {error}")
            message = f"The trigger of pod {self.name} failed: {error}"
            event = self._resume("error", message, outage=self._away is not None)
        self._fired = True
        await handed_on()
        yield event

    async def on_kill(self) -> None:
        """Delete the pod where a person has ended the task.

        Airflow also calls this on a triggerer that was late and whose triggers another has taken over
        (airflow.jobs.triggerer_job_runner, ``update_triggers``). The task is still deferred then, or has ended by what
        the other one saw, and the pod stays.

        Where a person has, Airflow cancels this as well, in each of its rounds until the trigger is gone: so it is done
        apart, once, and goes on.
        """
        if self._fired:
            return
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill())
            _kills.add(self._killing)
            self._killing.add_done_callback(_kills.discard)
        await asyncio.shield(self._killing)

    async def _kill(self) -> None:
        states = await finisher.states([self.task_instance])
        state = states.get(finisher.key(self.task_instance), "unknown")
        cluster = await Cluster.get(self.cluster)
        pod = await self._read(cluster)
        if (
            state in ("deferred", "unknown")
            or pod is None
            or pod["metadata"]["uid"] != (self._uid or pod["metadata"]["uid"])
            or pod_status.ended(pod, self.base, self.xcom_sidecar)
        ):
            log.info(f"Pod {self.name} is left alone here: unless somebody has ended this try, {HANDED_OVER}")
            return
        if self.on_kill_action == "keep_pod":
            log.info(f"The task was set to {state}; its pod {self.name} is kept (on_kill_action)")
            return
        log.info(f"The task was set to {state}: deleting its pod {self.name}")
        await finisher.delete(cluster, pod, self.grace_period)

    async def _follow(self) -> TriggerEvent:
        cluster = await self._find_cluster()
        watch = await PodWatch.get(cluster, self.namespace)
        finisher.look_after(watch)
        masks = Masks(cluster, self.namespace, self.name)
        async with watch.follow(self.name, self.uid) as feed, self._pod_log(cluster, masks) as pod_log:
            known = Evidence(cluster, self.namespace, self.base, masks.shown)
            with waits.noted(self):
                return await self._to_the_end(_Followed(cluster, pod_log, known, masks), feed)

    async def _find_cluster(self) -> Cluster:
        """The cluster; it has been found before, as the pod was created there."""
        while True:
            try:
                return await Cluster.get(self.cluster)
            except Exception as error:
                await self._sit_out(error)

    async def _sit_out(self, error: Exception) -> None:
        """Wait a moment where the cluster refuses or is not found, from which nothing follows for the pod.

        Raises:
            Exception: the same, once that has lasted for `_OUTAGE` seconds.
        """
        self._away = self._away or time.monotonic()
        if time.monotonic() - self._away >= _OUTAGE:
            raise error
        await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        """Wait until the cluster may be asked again, and say why, about once a minute."""
        if self._said is None or time.monotonic() - self._said >= _TICK:
            self._said = time.monotonic()
            log.warning(f"Pod {self.name} cannot be looked at now, and is left alone; it is tried again. {error}")
        await asyncio.sleep(_PAUSE)

    async def _to_the_end(self, at: _Followed, feed: Feed) -> TriggerEvent:
        pod: dict[str, Any] | None = None
        trouble: Verdict | None = None
        told = Told()
        known, pod_log = at.evidence, at.log
        while True:
            due = known.events.due(pod) if pod is not None else None
            try:
                newer = await feed.next(timeout=self._seconds_left(pod, due, trouble))
            except ApiError as error:
                if event := await self._late(at, pod):
                    return event
                await self._sit_out(error)
                continue
            except TimeoutError:
                self._away = None
                if due is not None and due <= time.time():
                    await known.gather(pod)
                    if self.events_on_startup:
                        known.events.say()
                if event := await self._late(at, pod):
                    return event
                if pod is None:
                    continue
            else:
                self._away = None
                if not self._is_own(newer or feed.last):
                    if await self._is_there(at.cluster):
                        continue  # the watch is about to say more
                    return await self._gone(at, pod)
                if newer is None:
                    return await self._gone(at, feed.last)
                if pod_status.held(newer if pod is None else pod):
                    self._held = time.time()  # until now: of what does not change, nothing is said
                pod = newer
                self._uid = pod["metadata"]["uid"]
            if pod_status.deleted_before_it_ran(pod):
                continue  # it is created again once it is gone
            if pod_status.ended(pod, self.base, self.xcom_sidecar):
                if self._is_being_taken(known.diagnose(pod), pod):
                    continue  # it has not stopped yet
                if why := await at.masks.learn(pod, _LOG_END):
                    log.warning(f"The log of pod {self.name} is not shown, as what of it is secret is not known: {why}")
                pod = at.masks.masked(pod)
                pod_log.follow(pod)
                await pod_log.finish(_LOG_END)
                return await self._ended(at, pod)
            await known.look_around(pod)
            await at.masks.learn(pod)
            shown = at.masks.masked(pod)
            trouble = known.diagnose(shown)
            waits.note(self, trouble.cause if trouble else None)
            if trouble is None:
                told = Told()
            elif told.is_news((trouble.cause, trouble.object, trouble.final), trouble.sentence, trouble.since):
                log.info(trouble.sentence)
            # One whose container has ended is about to end by itself, and its log is to be read.
            if trouble and trouble.final and trouble.exit_code is None and pod_status.phase(pod) == "Pending":
                await known.gather(pod)
                return await self._failed(at, shown, trouble.sentence, trouble, status="stopped", stop=True)
            pod_log.follow(pod)

    def _is_own(self, pod: dict[str, Any] | None) -> bool:
        """Whether that is the pod of this launch, and not one of its name that was before."""
        return self.uid is None or pod is None or pod["metadata"]["uid"] == self.uid

    async def _is_there(self, cluster: Cluster) -> bool:
        """Whether the API server has the pod; what the watch has said is of another one."""
        while True:
            try:
                return await self._read(cluster) is not None
            except _NO_ANSWER as error:
                await self._pause(error)

    def _is_being_taken(self, verdict: Verdict | None, pod: dict[str, Any]) -> bool:
        """Whether the infrastructure takes a pod that has yet to stop: a sidecar is still at work."""
        return (
            verdict is not None
            and verdict.cause in retry.TAKEN
            and pod_status.phase(pod) == "Running"
            and pod["metadata"].get("deletionTimestamp") is not None
            and not pod_status.succeeded(pod, self.base, self.xcom_sidecar)
        )

    def _pod_log(self, cluster: Cluster, masks: Masks) -> PodLog:
        return PodLog(
            cluster,
            self.namespace,
            self.name,
            base=self.base,
            containers=(self.container_logs or self.base) if self.get_logs else [],
            init_containers=self.init_container_logs,
            prefix=self.prefix,
            masks=masks,
        )

    def _seconds_left(self, pod: dict[str, Any] | None, due: float | None, trouble: Verdict | None) -> float:
        times = [deadline for deadline, _ in self._deadlines(pod)] + ([] if due is None else [due])
        if trouble and trouble.since and not trouble.final and trouble.since + LASTING > time.time():
            times.append(trouble.since + LASTING)
        works = pod and pod_status.phase(pod) == "Running" and pod_status.exit_code(pod, self.base) is None
        return max(0.1, min([_TICK if works else _LOOK_AGAIN, *(one - time.time() for one in times)]))

    def _deadlines(self, pod: dict[str, Any] | None) -> list[tuple[float, str]]:
        """When the task is late, in seconds since the epoch, and what is said then."""
        deadlines = []
        if self.execution_deadline is not None:
            deadlines.append((self.execution_deadline, "execution_timeout has passed"))
        if pod is not None and pod_status.phase(pod) == "Pending":
            scheduled = pod_status.scheduled_at(pod)
            if scheduled is None:
                if pod_status.held(pod):
                    return deadlines  # for room in a quota is waited without end
                created = pod_status.created_at(pod)
                if pod_status.queued(pod):
                    created = max(created, self._held)
                why = f"the pod had no node within {self.schedule_timeout} s (schedule_timeout_seconds)"
                deadlines.append((created + self.schedule_timeout, why))
            else:
                why = f"the pod did not start within {self.startup_timeout} s (startup_timeout_seconds)"
                deadlines.append((scheduled + self.startup_timeout, why))
        return deadlines

    async def _late(self, at: _Followed, pod: dict[str, Any] | None) -> TriggerEvent | None:
        """The event of a deadline that has passed, judged by the pod as it is now and not as it was last seen."""
        if not any(deadline <= time.time() for deadline, _ in self._deadlines(pod)):
            return None
        try:
            pod = await self._read(at.cluster)
        except _NO_ANSWER as error:
            await self._pause(error)
            return None
        if pod is not None:
            pod = masked(pod)
        over = pod is None or pod_status.ended(pod, self.base, self.xcom_sidecar)
        for deadline, why in [] if over else self._deadlines(pod):
            if deadline <= time.time():
                await at.evidence.gather(pod)
                trouble = at.evidence.diagnose(pod)
                message = f"Pod {self.name}: {why}{f': {trouble.sentence}' if trouble else '.'}"
                verdict = trouble or out_of_time(message, self.task_instance.task_id)
                await at.log.finish(1, at_most=_RUNS_ON)
                return await self._failed(at, pod, message, verdict, status="timeout", stop=True)
        # The watch is about to say what was just read.
        await asyncio.sleep(1)
        return None

    async def _gone(self, at: _Followed, pod: dict[str, Any] | None) -> TriggerEvent:
        await at.log.finish(1, at_most=_RUNS_ON)
        if pod is not None:
            pod = at.masks.masked(pod)
            if self._has_done_well(pod):
                return await self._ended(at, pod)  # its end and its removal came together
            await at.evidence.gather(pod)
        verdict = at.evidence.diagnose(pod, deleted=True)
        if pod is not None and (event := self._again(verdict, pod, gone=True)):
            return event
        message = verdict.sentence if verdict else f"Pod {self.name} is gone."
        self._save(at, pod, verdict, message)
        log.error(message)
        return self._fails(at, "gone", message, verdict)

    def _has_done_well(self, pod: dict[str, Any]) -> bool:
        """Whether a pod that was last seen so had ended, with the task's success or as one that is skipped."""
        ended = pod_status.ended(pod, self.base, self.xcom_sidecar)
        skips = pod_status.exit_code(pod, self.base) in self.skip_on_exit_code
        return ended and (skips or pod_status.succeeded(pod, self.base, self.xcom_sidecar))

    async def _ended(self, at: _Followed, pod: dict[str, Any]) -> TriggerEvent:
        code = pod_status.exit_code(pod, self.base)
        if pod_status.succeeded(pod, self.base, self.xcom_sidecar):
            if not self.ends:
                return self._resume("success", "")
            if self.on_finish_action in ("keep_pod", "delete_active_pod"):
                await self._check(at.cluster, pod)
            self._finish(at.cluster, pod)
            return TaskSuccessEvent()
        if code is not None and code in self.skip_on_exit_code and self.ends:
            log.info(f"Container {self.base} ended with exit code {code}: the task is skipped")
            await self._check(at.cluster, pod)
            self._finish(at.cluster, pod)
            return TaskSkippedEvent()
        await at.evidence.gather(pod)
        verdict = at.evidence.diagnose(pod)
        if (code is None or code not in self.skip_on_exit_code) and (event := self._again(verdict, pod)):
            return event
        return await self._failed(at, pod, verdict.sentence if verdict else f"Pod {self.name} failed.", verdict)

    def _again(self, verdict: Verdict | None, pod: dict[str, Any], *, gone: bool = False) -> TriggerEvent | None:
        """Have the try started again, where its pod was taken away and it may be; the launcher frees the pod's name."""
        # One that never ran has done nothing that could be done twice.
        unborn = gone and pod_status.deleted_before_it_ran(pod)
        limit = max(self.infrastructure_retries, _NEVER_RAN) if unborn else self.infrastructure_retries
        if not unborn and not retry.costs_no_retry(verdict, pod, gone=gone, deleted_too=self.retry_deleted):
            return None
        why = verdict.what if verdict else f"Pod {self.name} was deleted before it ran"
        before = Attempt.of(self.attempt)
        if before.again >= limit:
            if limit:
                log.warning(f"It was started again {limit} times, and is not once more.")
            return None
        log.warning(f"{why}: the task is started again ({before.again + 1} of {limit}), and no retry is spent.")
        return self._resume("relaunch", why, before.after(pod["metadata"]["uid"]))

    async def _failed(
        self,
        at: _Followed,
        pod: dict[str, Any],
        reason: str,
        verdict: Verdict | None,
        *,
        status: str = "failed",
        stop: bool = False,
    ) -> TriggerEvent:
        if self.ends or stop:
            if self.events_on_failure:
                at.evidence.events.say()
            await self._check(at.cluster, pod)
        if self.pod_on_failure:
            log.info(f"Pod {self.name} as it was: {json.dumps(pod_status.described(pod))}")
        self._save(at, pod, verdict, reason)
        if self.ends and self._deletes(pod) and (until := finisher.kept_until(pod)):
            log.info(f"Pod {self.name} is kept until {until:%Y-%m-%d %H:%M:%S} UTC (tasks.keepFailedPods)")
        # The last line: what a person looks for.
        log.error(reason)
        # Whatever is to become of finished pods: one that runs, or may yet, has no task any more.
        if stop and not await finisher.delete(at.cluster, pod, self.grace_period):
            finisher.delete_when_stored(at.cluster, pod, self.task_instance, self.grace_period)
        if self.ends:
            self._finish(at.cluster, pod)
        return self._fails(at, status, reason, verdict)

    def _fails(self, at: _Followed, status: str, message: str, verdict: Verdict | None) -> TriggerEvent:
        """The end of the task, or what the launcher needs to end it; with the verdict, which the REST API has then.

        Its sentence is the log's last line: one on the pod alone would not say that the task's time is over.
        """
        told = replace(verdict, sentence=message).as_dict() if verdict else None
        if self.ends:
            return TaskFailedEvent(xcoms={VERDICT: told} if told else None)
        return self._resume(status, message, verdict=told, last_lines=list(at.log.last))

    def _save(self, at: _Followed, pod: dict[str, Any] | None, verdict: Verdict | None, reason: str) -> None:
        """Keep the evidence of a failure, before the pod may go."""
        evidence.keep(str(self.task_instance.id), at.evidence.of(pod, verdict, at.log.last, reason))

    def _finish(self, cluster: Cluster, pod: dict[str, Any]) -> None:
        """Have the pod deleted, where it is not to stay, once the task's end is stored."""
        needed = self.grows and memory.is_remembered(pod, self.base)
        if self._deletes(pod) and not needed and finisher.kept_until(pod) is None:
            finisher.delete_when_stored(cluster, pod, self.task_instance, self.grace_period)

    def _deletes(self, pod: dict[str, Any]) -> bool:
        """Whether ``on_finish_action`` says that the pod goes."""
        return {
            "delete_pod": True,
            "delete_succeeded_pod": pod_status.succeeded(pod, self.base, self.xcom_sidecar),
            "delete_active_pod": pod_status.phase(pod) in ("Pending", "Running"),
            "keep_pod": False,
        }[self.on_finish_action]

    async def _check(self, cluster: Cluster, pod: dict[str, Any]) -> None:
        """Mark the pod as one whose try has ended, so that no later try takes it over."""
        patch = {"metadata": {"labels": {"already_checked": "True"}}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        for seconds in (1, 5, 0):
            try:
                await cluster.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
                return
            except _NO_ANSWER as error:
                if isinstance(error, ApiError) and error.status == 404:
                    return
                log.warning(f"Pod {self.name} could not be marked as checked: {error}")
            await asyncio.sleep(seconds)

    async def _read(self, cluster: Cluster) -> dict[str, Any] | None:
        try:
            pod = await cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{self.name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return pod if self._is_own(pod) else None

    def _resume(self, status: str, message: str, attempt: Attempt | None = None, **more: Any) -> TriggerEvent:
        return TriggerEvent(
            {
                **more,
                "status": status,
                "name": self.name,
                "namespace": self.namespace,
                "message": message,
                "_redefer_count": self.redefer_count,
                "attempt": attempt.as_dict() if attempt else self.attempt,
                "time": datetime.now(timezone.utc).isoformat(),
            }
        )


def out_of_time(reason: str, task_id: str) -> Verdict:
    """The verdict on a task whose time is over, where nothing is known to have kept it; ``reason`` is the sentence."""
    return Verdict(cause="timed-out", kind="user", sentence=reason, object_kind="task", object=task_id, final=True)
