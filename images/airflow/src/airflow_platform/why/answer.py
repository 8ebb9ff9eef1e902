"""From what is known of a task instance to one sentence: why it does not run, or how it ended.

A pure function, as `airflow_platform.diagnosis` is one for pods, whose verdicts it passes on. For each state of a task
instance there are rules, in the order in which they hold it up; the first that says something holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from airflow_platform.diagnosis.verdict import Kind, quoted
from airflow_platform.release.plan import NOT_SCHEDULED, UP_TO
from airflow_platform.terminal import plain
from airflow_platform.why.facts import Facts, Pod, Process

#: Seconds for which a task that is queued, and has a slot, may be on its way to it.
_ON_ITS_WAY = 60
#: Seconds without a heartbeat after which that is worth a word; there is one every few seconds.
_SILENT = 60
#: Names that a sentence has at most.
_NAMES = 3

#: By which trigger rules a task is skipped once all before it have ended, none of them so; or where one has ended so.
_SKIP_WITHOUT = {"one_failed": {"failed", "upstream_failed"}, "one_done": {"failed", "success"}}
_SKIP_WITH = {"all_failed": {"success", "skipped"}, "all_skipped": {"success", "failed", "upstream_failed"}}
#: By which others it is skipped only where all before it were.
_SKIP_WITH_ALL = {"one_success", "none_failed_min_one_success"}

#: States of a task instance that it leaves by itself.
UNFINISHED = {
    None, "scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule", "deferred",
    "awaiting_input",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Why a task does not run, or how it ended. All fields are JSON.

    Args:
        dag_id, task_id, run_id, map_index, try_number, state: of what it speaks; the run is None where there is none,
            the state where the task has none yet.
        cause: a stable short id, as "pool-full"; of a pod, its verdict's.
        kind: whose turn it is, as a verdict's; None where nothing is wrong.
        sentence: for a person: what, which object, what to do.
        object_kind, object: what it is about, as "pool" and its name.
        since: when the task came into its state, in seconds since the epoch.
        certain: whether Airflow or Kubernetes itself says so; else it is the likely reading of what they say.
        details: more, as (name, value).
        events: the pod's, a line each. last_lines: the last of the log.
    """

    dag_id: str
    task_id: str
    run_id: str | None
    map_index: int
    try_number: int
    state: str | None
    cause: str
    kind: Kind | None
    sentence: str
    object_kind: str
    object: str
    since: float | None
    certain: bool = True
    details: Sequence[tuple[str, str]] = ()
    events: Sequence[str] = ()
    last_lines: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Said:
    cause: str
    kind: Kind | None
    sentence: str
    of: tuple[str, str]
    certain: bool = True


def answer(facts: Facts) -> Answer:
    """The first rule that knows the case."""
    said = next(found for rule in _rules(facts) if (found := rule(facts)) is not None)
    instance, evidence = facts.instance, facts.end.evidence or {}
    return Answer(
        dag_id=facts.dag.id,
        task_id=facts.task_id,
        run_id=facts.run.id if facts.run else None,
        map_index=instance.map_index if instance else -1,
        try_number=instance.try_number if instance else 0,
        state=instance.state if instance else None,
        cause=said.cause,
        kind=said.kind,
        sentence=plain(said.sentence),
        object_kind=said.of[0],
        object=said.of[1],
        since=instance.since if instance else None,
        certain=said.certain,
        details=tuple((name, plain(value)) for name, value in _details(facts)),
        events=tuple(plain(_event(one)) for one in (facts.pod.events if facts.pod else evidence.get("events") or ())),
        last_lines=tuple(plain(line) for line in evidence.get("last_lines") or ()),
    )


def _rules(facts: Facts) -> list[Callable[[Facts], _Said | None]]:
    if facts.run is None:
        return [_file, _paused, _scheduler, _no_run]
    state = facts.instance.state if facts.instance else None
    if state in _BY_STATE and not (state == "up_for_retry" and _is_due(facts)):
        return _BY_STATE[state]
    if facts.run.state in ("success", "failed"):
        return [_not_in_run if facts.instance is None else _run_over]
    if facts.run.state == "queued":
        return [_file, _paused, _scheduler, _run_later, _backfill_paused, _runs_full, _run_next]
    if facts.instance is None:
        return [_not_in_run]
    if state == "scheduled":
        return [_paused, _scheduler, _pool, _limits, _executor_full, _next]
    return [_file, _paused, _scheduler, _upstream, _unmet, _next]


# Nothing of the DAG goes on.


def _file(facts: Facts) -> _Said | None:
    dag = facts.dag
    if not dag.stale and not (dag.import_error and facts.run is None):
        return None
    if dag.import_error:
        sentence = (
            f"DAG {dag.id} cannot be read: its file {dag.file} has an error, {quoted(dag.import_error)}. "
            "Mend the file and push it."
        )
        return _Said(cause="import-error", kind="user", sentence=sentence, of=("file", dag.file))
    if not facts.dag_processor.alive:
        return _down("dag-processor", facts.dag_processor, facts.now, "No file is parsed until one is back")
    sentence = f"DAG {dag.id} is not in its file {dag.file} any more, so nothing of it is scheduled. Push it again."
    return _Said(cause="dag-gone", kind="user", sentence=sentence, of=("dag", dag.id))


def _paused(facts: Facts) -> _Said | None:
    if not facts.dag.paused:
        return None
    sentence = f"DAG {facts.dag.id} is paused, so {_what(facts)} does not go on. Unpause the DAG."
    return _Said(cause="dag-paused", kind="user", sentence=sentence, of=("dag", facts.dag.id))


def _scheduler(facts: Facts) -> _Said | None:
    if facts.scheduler.alive:
        return None
    return _down("scheduler", facts.scheduler, facts.now, f"{_initial(_what(facts))} does not go on until one is back")


def _down(name: str, process: Process, now: float, so: str) -> _Said:
    last = f"the last heartbeat was {_span(now - process.heartbeat)} ago" if process.heartbeat else "none has ever run"
    sentence = f"No {name} is alive ({last}). {so}: look at the pods of the {name}."
    return _Said(cause=f"{name}-down", kind="platform", sentence=sentence, of=("component", name))


# There is no run, or it does not run.


def _no_run(facts: Facts) -> _Said:
    dag = facts.dag
    if dag.next_run is not None and dag.next_run > facts.now:
        begins = f"the next begins by itself {_at(dag.next_run, facts.now)}"
    elif dag.next_run is None and (dag.schedule == NOT_SCHEDULED or UP_TO in dag.schedule):
        begins = "it is a release that is not scheduled: promote it, or trigger a run"
    elif dag.schedule and dag.schedule not in ("None", "Never, external triggers only"):
        begins = f"the next begins by its schedule ({dag.schedule})"
    else:
        begins = "it has no schedule: trigger one"
    sentence = f"DAG {dag.id} has no run in which task {facts.task_id} could be; {begins}."
    return _Said(cause="no-run", kind="user", sentence=sentence, of=("dag", dag.id))


def _run_later(facts: Facts) -> _Said | None:
    if facts.run.run_after <= facts.now:
        return None
    sentence = f"Run {facts.run.id} of DAG {facts.dag.id} begins {_at(facts.run.run_after, facts.now)}."
    return _Said(cause="run-later", kind=None, sentence=sentence, of=("run", facts.run.id))


def _backfill_paused(facts: Facts) -> _Said | None:
    if not facts.run.backfill_paused:
        return None
    sentence = f"Run {facts.run.id} is of backfill {facts.run.backfill}, which is paused. Unpause the backfill."
    return _Said(cause="backfill-paused", kind="user", sentence=sentence, of=("backfill", str(facts.run.backfill)))


def _runs_full(facts: Facts) -> _Said | None:
    run = facts.run
    if len(run.running) < run.max_active:
        return None
    whose = f"backfill {run.backfill}" if run.backfill is not None else f"DAG {facts.dag.id}"
    sentence = (
        f"Run {run.id} waits: {len(run.running)} of {run.max_active} runs of {whose} are running (max_active_runs), "
        f"{_list(run.running)}. It begins when one of them has ended, or with a higher limit."
    )
    return _Said(cause="max-active-runs", kind="capacity", sentence=sentence, of=("dag", facts.dag.id))


def _run_next(facts: Facts) -> _Said:
    sentence = f"Run {facts.run.id} is queued; the scheduler starts it at one of its next looks."
    return _Said(cause="run-next", kind=None, sentence=sentence, of=("run", facts.run.id))


def _run_over(facts: Facts) -> _Said:
    run = facts.run
    sentence = (
        f"{_initial(_what(facts))} did not run: run {run.id} had ended ({run.state}) before its turn came. Clear the "
        "task to run it."
    )
    return _Said(cause="run-over", kind="user", sentence=sentence, of=("run", run.id))


def _not_in_run(facts: Facts) -> _Said:
    sentence = (
        f"Run {facts.run.id} has no task {facts.task_id}: it came into DAG {facts.dag.id} after the run began. "
        "It is in the next run, or in this one if you clear the run with its latest version."
    )
    return _Said(cause="not-in-run", kind="user", sentence=sentence, of=("task", facts.task_id))


# The task has no state yet.


def _upstream(facts: Facts) -> _Said | None:
    waiting = [one for one in facts.upstream if any(state in UNFINISHED for state in one.states) or not one.states]
    if not waiting:
        return None
    names = _list([f"{one.task_id} ({_states(one.states)})" for one in waiting])
    rule = "" if facts.trigger_rule == "all_success" else f" (trigger rule {facts.trigger_rule})"
    sentence = (
        f"{_initial(_what(facts))} waits for what comes before it{rule}: {names}. Ask why of "
        f"{'that one' if len(waiting) == 1 else 'those'}."
    )
    return _Said(cause="upstream-not-done", kind=None, sentence=sentence, of=("task", waiting[0].task_id))


def _unmet(facts: Facts) -> _Said | None:
    if not facts.unmet:
        return None
    sentence = f"{_initial(_what(facts))} waits; Airflow says: {quoted(facts.unmet[0])}."
    return _Said(cause="airflow-dependency", kind="user", sentence=sentence, of=("task", facts.task_id), certain=False)


def _next(facts: Facts) -> _Said:
    sentence = f"{_initial(_what(facts))} is ready; the scheduler takes it at one of its next looks."
    return _Said(cause="next", kind=None, sentence=sentence, of=("task", facts.task_id))


# It is scheduled, and waits for room.


def _pool(facts: Facts) -> _Said | None:
    instance, pool = facts.instance, facts.pool
    if pool is None:
        sentence = (
            f"{_initial(_what(facts))} names pool {instance.pool}, which does not exist. Name one of "
            f"{', '.join(facts.known_pools)}, or add it under nodePools, or under declared.pools where it stands for "
            "no nodes, in the values of the platform's chart."
        )
        return _Said(cause="pool-missing", kind="user", sentence=sentence, of=("pool", instance.pool))
    if pool.slots is None:
        return None
    if instance.pool_slots > pool.slots:
        sentence = (
            f"{_initial(_what(facts))} asks for {_count(instance.pool_slots, 'slot')} of pool {pool.name}, which has "
            f"{pool.slots}: it will never run. Lower its pool_slots, or give the pool more."
        )
        return _Said(cause="pool-too-small", kind="user", sentence=sentence, of=("pool", pool.name))
    free = max(0, pool.slots - pool.used)
    if free >= instance.pool_slots and pool.ahead < free:
        return None
    asked = "a slot" if instance.pool_slots == 1 else f"{instance.pool_slots} slots"
    ahead = f"; {_count(pool.ahead, 'task')} {'is' if pool.ahead == 1 else 'are'} ahead of it" if pool.ahead else ""
    sentence = (
        f"{_initial(_what(facts))} waits for {asked} of pool {pool.name}: {pool.used} of {pool.slots} are taken"
        f"{_held(pool.holders)}{ahead}. It goes on when others end, or when the pool gets more slots."
    )
    return _Said(cause="pool-full", kind="capacity", sentence=sentence, of=("pool", pool.name))


def _held(holders: Sequence[tuple[str, str, int]]) -> str:
    others = sum(slots for dag, _, slots in holders if not dag)
    names = [f"{dag}.{task} ({slots})" for dag, task, slots in holders if dag]
    names += [f"tasks of other teams ({others})"] if others else []
    return f", by {_list(names)}" if names else ""


def _limits(facts: Facts) -> _Said | None:
    run, instance, dag = facts.run, facts.instance, facts.dag
    limits = (
        ("max_active_tasks", dag.max_active_tasks, run.active_tasks, f"tasks of run {run.id}", ("dag", dag.id)),
        (
            "max_active_tis_per_dag",
            instance.max_active_in_dag,
            instance.active_in_dag,
            f"instances of task {facts.task_id} in all runs",
            ("task", facts.task_id),
        ),
        (
            "max_active_tis_per_dagrun",
            instance.max_active_in_run,
            instance.active_in_run,
            f"instances of task {facts.task_id} in run {run.id}",
            ("task", facts.task_id),
        ),
    )
    for name, limit, active, of_what, at in limits:
        if limit is not None and active >= limit:
            sentence = (
                f"{_initial(_what(facts))} waits: {active} of {limit} {of_what} are at work ({name}). It goes on when "
                "one of them has ended, or with a higher limit in the DAG's file."
            )
            return _Said(cause=name.replace("_", "-"), kind="capacity", sentence=sentence, of=at)
    return None


def _executor_full(facts: Facts) -> _Said | None:
    executor = facts.executor
    if executor is None or executor.queued + executor.running < executor.room:
        return None
    sentence = (
        f"{_initial(_what(facts))} waits for executor {executor.name}, which has its {executor.room} tasks: "
        f"{executor.queued} queued, {executor.running} running. It goes on when they do; more room: "
        f"{'launcher.slots' if executor.kind == 'local' else 'config.core.parallelism'} in the chart's values."
    )
    return _Said(cause="executor-full", kind="capacity", sentence=sentence, of=("executor", executor.name))


# It is queued: whoever runs it has it.


def _in_pod(facts: Facts) -> _Said | None:
    """What the pod's verdict says."""
    pod = facts.pod
    if pod is None or pod.verdict is None:
        return None
    verdict, whose = pod.verdict, f"{_initial(_what(facts))}, in its worker pod: " if pod.worker else ""
    return _Said(
        cause=verdict["cause"],
        kind=verdict["kind"],
        sentence=f"{whose}{verdict['sentence']}",
        of=(verdict["object_kind"], verdict["object"]),
        certain=verdict["certain"],
    )


def _worker_starts(facts: Facts) -> _Said | None:
    pod = facts.pod
    if pod is None or pod.gone or pod.phase != "Pending":
        return None
    where = f" on node {pod.node}" if pod.node else ""
    sentence = f"Worker pod {pod.name} of {_what(facts)} is starting{where}."
    return _Said(cause="pod-starts", kind=None, sentence=sentence, of=("pod", pod.name))


def _launcher_busy(facts: Facts) -> _Said | None:
    executor = facts.executor
    if executor is None or executor.slots is None or executor.running < executor.slots:
        return None
    sentence = (
        f"{_initial(_what(facts))} waits for a process of the launcher: all {executor.slots} are at work, and "
        f"{_count(executor.before, 'task')} {'was' if executor.before == 1 else 'were'} queued before it. It goes on "
        "by itself; more processes: launcher.slots in the chart's values."
    )
    return _Said(cause="launcher-busy", kind="capacity", sentence=sentence, of=("executor", executor.name))


def _not_taken(facts: Facts) -> _Said | None:
    executor, since = facts.executor, facts.instance.since
    if executor is None or since is None or facts.now - since < _ON_ITS_WAY:
        return None
    where = {
        "local": "the scheduler's log, where the launcher runs",
        "celery": "the launcher's pods and the broker",
        "kubernetes": "the scheduler's log, and the quota of the release's namespace",
        "other": "the executor's log",
    }[executor.kind]
    sentence = (
        f"{_initial(_what(facts))} is queued for {_span(facts.now - since)}, and {executor.name} has not begun it, "
        f"though it has room: look at {where}."
    )
    return _Said(
        cause="not-taken-up", kind="platform", sentence=sentence, of=("executor", executor.name), certain=False
    )


def _on_its_way(facts: Facts) -> _Said:
    name = facts.executor.name if facts.executor else "its executor"
    sentence = f"{_initial(_what(facts))} is handed to {name}, which begins it in a moment."
    return _Said(cause="on-its-way", kind=None, sentence=sentence, of=("task", facts.task_id))


# It runs, or its pod does.


def _silent(facts: Facts) -> _Said | None:
    heartbeat = facts.instance.heartbeat
    if heartbeat is None or facts.now - heartbeat < _SILENT:
        return None
    sentence = (
        f"{_initial(_what(facts))} has sent no heartbeat for {_span(facts.now - heartbeat)}: its process may be lost. "
        f"Airflow ends the try once that lasts for {_span(facts.heartbeat_timeout)}."
    )
    return _Said(
        cause="no-heartbeat", kind="infrastructure", sentence=sentence, of=("task", facts.task_id), certain=False
    )


def _running(facts: Facts) -> _Said:
    instance, pod = facts.instance, facts.pod
    since = (pod.since if pod and pod.since else None) or instance.started
    place = f" in pod {pod.name}{f' on node {pod.node}' if pod.node else ''}" if pod and not pod.gone else ""
    if not place and instance.hostname:
        place = f" at {instance.hostname}"
    how_long = f" for {_span(facts.now - since)}" if since else ""
    sentence = f"{_initial(_what(facts))} runs{how_long}{place}{_try(facts)}."
    return _Said(cause="running", kind=None, sentence=sentence, of=("task", facts.task_id))


def _triggerer(facts: Facts) -> _Said | None:
    if facts.triggerer.alive:
        return None
    so = f"{_initial(_what(facts))} does not go on until one is back"
    if facts.instance.trigger and facts.instance.trigger.kind == "pod":
        so = f"The pod of {_what(facts)} runs on, but nobody follows it until one is back"
    return _down("triggerer", facts.triggerer, facts.now, so)


def _trigger_waits(facts: Facts) -> _Said | None:
    trigger = facts.instance.trigger
    if trigger is None or trigger.taken or trigger.created is None or facts.now - trigger.created < _SILENT:
        return None
    sentence = (
        f"No triggerer has taken up {_what(facts)} for {_span(facts.now - trigger.created)}: those that run are full, "
        "or slow. Give triggerer.replicas in the chart's values more."
    )
    return _Said(
        cause="trigger-not-taken-up", kind="platform", sentence=sentence, of=("component", "triggerer"), certain=False
    )


def _launched_again(facts: Facts) -> _Said | None:
    trigger = facts.instance.trigger
    if trigger is None or trigger.kind != "again":
        return None
    why = trigger.reason.rstrip(" .") or "Its pod could not be created yet"
    sentence = f"{why}. The launch of {_what(facts)} is tried again by itself."
    if trigger.quota:
        return _Said(cause="quota-full", kind="capacity", sentence=sentence, of=("quota", trigger.quota))
    return _Said(cause="launched-again", kind="capacity", sentence=sentence, of=("task", facts.task_id))


def _deferred_to_pod(facts: Facts) -> _Said | None:
    trigger, pod = facts.instance.trigger, facts.pod
    if trigger is None or trigger.kind != "pod":
        return None
    if pod is None or pod.unreadable:
        name = f" {pod.name}" if pod else ""
        why = f" ({quoted(pod.unreadable)})" if pod else ""
        sentence = (
            f"{_initial(_what(facts))} waits for its pod{name}, which cannot be read from here{why}. The task's log "
            "says what the pod does."
        )
        return _Said(cause="pod-unreadable", kind=None, sentence=sentence, of=("pod", pod.name if pod else ""))
    if pod.gone:
        sentence = f"Pod {pod.name} of {_what(facts)} is gone; the triggerer ends the try, or creates it again."
        return _Said(cause="pod-gone", kind="infrastructure", sentence=sentence, of=("pod", pod.name), certain=False)
    if pod.phase == "Pending":
        where = f" on node {pod.node}" if pod.node else ""
        sentence = f"Pod {pod.name} of {_what(facts)} is starting{where}."
        return _Said(cause="pod-starts", kind=None, sentence=sentence, of=("pod", pod.name))
    if pod.phase in ("Succeeded", "Failed"):
        sentence = f"Pod {pod.name} of {_what(facts)} has ended ({pod.phase}); its log and the task's end follow."
        return _Said(cause="pod-ended", kind=None, sentence=sentence, of=("pod", pod.name))
    return _running(facts)


def _deferred(facts: Facts) -> _Said:
    trigger = facts.instance.trigger
    name = trigger.name if trigger else "its trigger"
    until = f"; it fails {_at(trigger.times_out, facts.now)}" if trigger and trigger.times_out else ""
    sentence = f"{_initial(_what(facts))} waits in the triggerer for {name}{until}."
    return _Said(cause="deferred", kind=None, sentence=sentence, of=("trigger", name))


def _rescheduled(facts: Facts) -> _Said:
    when = facts.instance.next_try
    again = _at(when, facts.now) if when is not None and when > facts.now else "at one of the scheduler's next looks"
    sentence = f"{_initial(_what(facts))} is a sensor whose condition does not hold yet; it looks again {again}."
    return _Said(cause="rescheduled", kind=None, sentence=sentence, of=("task", facts.task_id))


def _awaits_input(facts: Facts) -> _Said:
    sentence = f"{_initial(_what(facts))} waits for a person's answer: Required Actions in the UI."
    return _Said(cause="awaits-input", kind="user", sentence=sentence, of=("task", facts.task_id))


def _restarting(facts: Facts) -> _Said:
    sentence = f"{_initial(_what(facts))} was cleared while it ran: it is stopped, and then begins anew."
    return _Said(cause="restarting", kind=None, sentence=sentence, of=("task", facts.task_id))


# A try has ended.


def _is_due(facts: Facts) -> bool:
    return facts.instance.next_try is not None and facts.instance.next_try <= facts.now


def _retries(facts: Facts) -> _Said:
    instance, why = facts.instance, _why_it_failed(facts)
    when = _at(instance.next_try, facts.now) if instance.next_try else "soon"
    sentence = f"Try {instance.try_number} of {instance.tries} of {_what(facts)} failed. {why.sentence} Try "
    sentence += f"{instance.try_number + 1} begins {when}."
    return _Said(cause=why.cause, kind=why.kind, sentence=sentence, of=why.of, certain=why.certain)


def _failed(facts: Facts) -> _Said:
    why = _why_it_failed(facts)
    sentence = f"{_initial(_what(facts))} failed{_try(facts)}. {why.sentence}"
    return _Said(cause=why.cause, kind=why.kind, sentence=sentence, of=why.of, certain=why.certain)


def _why_it_failed(facts: Facts) -> _Said:
    end, task = facts.end, ("task", facts.task_id)
    if end.marked_by:
        sentence = f"{end.marked_by} set it to failed by hand."
        return _Said(cause="marked", kind="user", sentence=sentence, of=task)
    evidence = end.evidence or {}
    reason = evidence.get("reason") or ""
    if verdict := evidence.get("verdict"):
        return _Said(
            cause=verdict["cause"],
            kind=verdict["kind"],
            sentence=_last_line(reason, verdict["sentence"]),
            of=(verdict["object_kind"], verdict["object"]),
            certain=verdict["certain"],
        )
    if reason:
        # Of a release before, a timeout has no verdict where its pod did well.
        cause = "timed-out" if "_timeout" in reason else "unknown"
        return _Said(cause=cause, kind="user", sentence=f"{reason.rstrip('.')}.", of=task)
    if end.scheduler_said:
        sentence = f"The scheduler says: {quoted(end.scheduler_said)}."
        return _Said(cause="ended-by-scheduler", kind="infrastructure", sentence=sentence, of=task, certain=False)
    if end.error:
        sentence = f"The last error in its log: {quoted(end.error)}."
        return _Said(cause="error-in-log", kind="user", sentence=sentence, of=task, certain=False)
    return _Said(cause="unknown", kind="user", sentence="Its log says why.", of=task)


def _last_line(reason: str, verdict: str) -> str:
    """Why a task failed: the verdict; behind its timeout, if there is one, as that has ended what the verdict is on."""
    timeout = reason.partition(verdict)[0].rstrip(" .:")
    return f"{timeout}. Until then: {verdict}" if timeout else verdict


def _upstream_failed(facts: Facts) -> _Said:
    names = _list(facts.failed_before) or "a task before it"
    one = "them" if len(facts.failed_before) > 1 else "it"
    sentence = f"{_initial(_what(facts))} did not run, as {names} failed. Ask why of {one}, mend that, and clear {one}."
    of = ("task", facts.failed_before[0] if facts.failed_before else facts.task_id)
    return _Said(cause="upstream-failed", kind="user", sentence=sentence, of=of)


def _skipped(facts: Facts) -> _Said:
    sentence = f"{_initial(_what(facts))} was skipped: {_why_it_was_skipped(facts)}."
    return _Said(cause="skipped", kind=None, sentence=sentence, of=("task", facts.task_id))


def _why_it_was_skipped(facts: Facts) -> str:
    end, instance, ran = facts.end, facts.instance, facts.instance.try_number > 0
    if end.marked_by:
        return f"{end.marked_by} {'ended its run' if end.marked_run else 'set it to skipped'} by hand"
    if "fail_fast" in end.scheduler_said:
        return "another task of its run failed, and the DAG has fail_fast"
    reasons = []
    if instance.ended is None:
        # What Airflow skips in these cases, and only that, has no end.
        if facts.run.state == "failed":
            reasons.append(f"its run was ended before {'it was done' if ran else 'its turn came'}, by dagrun_timeout")
        if facts.expands and not ran:
            reasons.append("the list over which it is expanded is empty")
    elif by_rule := _skipped_by_rule(facts):
        return by_rule
    elif ran:
        over = ", or its run was ended before its next try" if facts.run.state == "failed" else ""
        return f"it skipped itself{over}; its log says why"
    else:
        if facts.upstream:
            reasons.append("a task before it skipped it, as a branch does")
        if facts.run.state == "failed":
            reasons.append("its run was ended before its turn came (a timeout, fail_fast, or by hand)")
    return ", or ".join(reasons) or "Airflow keeps no reason"


def _skipped_by_rule(facts: Facts) -> str | None:
    """How its trigger rule has skipped a task, if what comes before it ended so that it does."""
    rule, states = facts.trigger_rule, {state for one in facts.upstream for state in one.states}
    if rule in _SKIP_WITHOUT or rule in _SKIP_WITH:
        is_over = all(one.states for one in facts.upstream) and not states & UNFINISHED
        without = rule in _SKIP_WITHOUT and is_over and not states & _SKIP_WITHOUT[rule]
        if not facts.upstream or facts.instance.try_number or not (without or states & _SKIP_WITH.get(rule, set())):
            return None
        names = _list([f"{one.task_id} ({_states(one.states)})" for one in facts.upstream])
        return f"what comes before it does not meet its trigger rule, {rule}: {names}"
    if (rule != "all_success" and facts.instance.try_number) or (rule in _SKIP_WITH_ALL and states != {"skipped"}):
        return None
    skipped = [one.task_id for one in facts.upstream if "skipped" in one.states]
    return f"{_list(skipped)} before it was skipped" if skipped else None


def _succeeded(facts: Facts) -> _Said:
    instance = facts.instance
    took = f" after {_span(instance.ended - instance.started)}" if instance.started and instance.ended else ""
    ago = f" {_span(facts.now - instance.ended)} ago" if instance.ended else ""
    by = f" {facts.end.marked_by} set it to success by hand." if facts.end.marked_by else ""
    sentence = f"{_initial(_what(facts))} succeeded{ago}{took}{_try(facts)}.{by}"
    return _Said(cause="succeeded", kind=None, sentence=sentence, of=("task", facts.task_id))


def _removed(facts: Facts) -> _Said:
    sentence = f"{_initial(_what(facts))} is not in DAG {facts.dag.id} any more, so it did not run in this run."
    return _Said(cause="removed", kind="user", sentence=sentence, of=("task", facts.task_id))


_BY_STATE: Mapping[str | None, list[Callable[[Facts], _Said | None]]] = {
    "queued": [_scheduler, _in_pod, _worker_starts, _launcher_busy, _not_taken, _on_its_way],
    "running": [_silent, _in_pod, _running],
    "deferred": [_triggerer, _trigger_waits, _in_pod, _launched_again, _deferred_to_pod, _deferred],
    "up_for_retry": [_paused, _scheduler, _retries],
    "up_for_reschedule": [_paused, _scheduler, _rescheduled],
    "awaiting_input": [_awaits_input],
    "restarting": [_restarting],
    "failed": [_failed],
    "upstream_failed": [_upstream_failed],
    "skipped": [_skipped],
    "success": [_succeeded],
    "removed": [_removed],
}


# What else is known.


def _details(facts: Facts) -> list[tuple[str, str]]:
    found: dict[str, str | None] = {}
    if facts.run:
        found["run"] = f"{facts.run.id} ({facts.run.state})"
    if facts.instance and facts.run:
        found["pool"] = _pool_detail(facts)
        found["executor"] = facts.executor.name if facts.executor else None
    if facts.counts and sum(facts.counts.values()) > 1:
        found["instances"] = _states(facts.counts)
    if facts.pod:
        found.update(_pod_details(facts.pod))
    if evidence := facts.end.evidence:
        found.update(_evidence_details(evidence))
    if facts.dag.import_error:
        found["file"] = f"{facts.dag.file} has an error: {quoted(facts.dag.import_error)}"
    return [(name, value) for name, value in found.items() if value]


def _pool_detail(facts: Facts) -> str | None:
    pool = facts.pool
    return f"{pool.name}: {pool.used} of {'∞' if pool.slots is None else pool.slots} slots taken" if pool else None


def _pod_details(pod: Pod) -> dict[str, str]:
    kind = "worker pod" if pod.worker else "pod"
    state = "gone" if pod.gone else pod.phase or "not readable"
    return {kind: f"{pod.namespace}/{pod.name} ({state})", "node": pod.node}


def _evidence_details(evidence: Mapping[str, Any]) -> dict[str, str | None]:
    pod = evidence.get("pod") or {}
    containers = [f"{one['name']}: {one['state']}; {one['image']}" for one in evidence.get("containers") or ()]
    return {
        "pod": f"{evidence['namespace']}/{evidence['name']}" if evidence.get("name") else None,
        "node": (pod.get("spec") or {}).get("nodeName"),
        "containers": " · ".join(containers),
        "saved": evidence.get("saved"),
    }


def _event(event: Mapping[str, Any]) -> str:
    when = event.get("lastTimestamp") or event.get("eventTime") or ""
    return f"{when} {event.get('reason')}: {event.get('message')}".strip()


# Words.


def _what(facts: Facts) -> str:
    index = facts.instance.map_index if facts.instance else -1
    return f"task {facts.task_id}{f'[{index}]' if index >= 0 else ''}"


def _initial(text: str) -> str:
    return text[:1].upper() + text[1:]


def _try(facts: Facts) -> str:
    instance = facts.instance
    return f" (try {instance.try_number} of {instance.tries})" if instance.tries > 1 and instance.try_number else ""


def _states(states: Mapping[str | None, int]) -> str:
    if sum(states.values()) == 1:
        return next(_word(state) for state in states)
    return ", ".join(f"{count} {_word(state)}" for state, count in states.items()) or _word(None)


def _word(state: str | None) -> str:
    return state.replace("_", " ") if state else "not scheduled yet"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _list(names: Sequence[str]) -> str:
    shown = [*names[:_NAMES], *([f"{len(names) - _NAMES} more"] if len(names) > _NAMES else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def _at(when: float, now: float) -> str:
    at = datetime.fromtimestamp(when, timezone.utc)
    return f"in {_span(when - now)}, at {at:%Y-%m-%d %H:%M:%S} UTC" if when > now else "now"


def _span(seconds: float) -> str:
    seconds = max(0, round(seconds))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} days"
