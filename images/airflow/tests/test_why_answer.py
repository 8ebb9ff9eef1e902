"""For every way to wait and to end: the whole sentence that a person reads."""

import json
from dataclasses import replace

import pytest

from airflow_platform.why.answer import _BY_STATE, Answer, answer
from airflow_platform.why.facts import (
    Dag,
    End,
    Executor,
    Facts,
    Instance,
    Pod,
    Pool,
    Process,
    Run,
    Trigger,
    Upstream,
)

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
DAG = Dag(id="d", file="team/d.py")
RUN = Run(id="r", state="running", run_after=NOW - 600)
FAILED_RUN = replace(RUN, state="failed")
DEAD = Process(alive=False, heartbeat=NOW - 240)
POOL = Pool(name="gpu", slots=4)
LAUNCHER = Executor(name="launcher", kind="local", room=24, slots=6)
POD = Pod(name="t-1", namespace="team", phase="Running", node="n1", since=NOW - 90)
VERDICT = {
    "cause": "image-not-found",
    "kind": "user",
    "sentence": "Image i:7 does not exist in registry r. Push it, or correct its name or tag.",
    "object_kind": "image",
    "object": "i:7",
    "certain": True,
}
NO_ROOM = {
    "cause": "no-room",
    "kind": "capacity",
    "sentence": "Pod t-1 waits for 2 CPU on pool gpu (free 0.5 of 4 CPU); it starts when other pods have ended.",
    "object_kind": "pod",
    "object": "t-1",
    "certain": True,
}
NO_NODE = "Pod t-1: the pod had no node within 120 s (schedule_timeout_seconds)"
FULL = {
    **NO_ROOM, "cause": "quota-full", "object_kind": "quota", "object": "q",
    "sentence": "Quota q of namespace team is full; the task waits until pods that it counts have ended.",
}  # fmt: skip
OUT_OF_TIME = {
    **NO_ROOM, "cause": "timed-out", "kind": "user", "object_kind": "task", "object": "t",
    "sentence": "Pod t-1: execution_timeout has passed.",
}  # fmt: skip


def known(state=None, *, run=RUN, dag=DAG, instance=None, **more):
    """Facts of an instance in a state; ``instance`` are more of its fields, or False where there is none."""
    made = None if instance is False else Instance(state=state, **(instance or {}))
    return Facts(**{"now": NOW, "dag": dag, "task_id": "t", "run": run, "instance": made, "pool": POOL, **more})


def scheduled(**more):
    return known("scheduled", **{"executor": LAUNCHER, **more})


def queued(executor=LAUNCHER, since=NOW - 5, **more):
    return known("queued", executor=executor, instance={"since": since}, **more)


def deferred(trigger, **more):
    return known("deferred", instance={"trigger": trigger, "started": NOW - 300}, **more)


def failed(state="failed", end=None, **more):
    instance = {"try_number": 1, "tries": 3, "ended": NOW - 60, **more.pop("instance", {})}
    return known(state, instance=instance, end=end or End(), **more)


def skipped(upstream=None, *, ended=NOW - 60, try_number=0, **more):
    before = [Upstream(task_id=task_id, states={state: 1}) for task_id, state in (upstream or {}).items()]
    return known("skipped", instance={"ended": ended, "try_number": try_number}, upstream=before, **more)


def no_run(**dag):
    return known(run=None, instance=False, dag=replace(DAG, **dag))


OF_POD = Trigger(name="PodTrigger", kind="pod", created=NOW - 300)

#: cause, kind, facts, sentence
CASES = [
    # There is no run.
    ("import-error", "user", no_run(import_error="ModuleNotFoundError: No module named 'x'"),
     "DAG d cannot be read: its file team/d.py has an error, ModuleNotFoundError: No module named 'x'. Mend the file "
     "and push it."),
    ("dag-paused", "user", no_run(paused=True), "DAG d is paused, so task t does not go on. Unpause the DAG."),
    ("no-run", "user", no_run(next_run=NOW + 3600, schedule="@hourly"),
     "DAG d has no run in which task t could be; the next begins by itself in 60 min, at 2027-01-15 09:00:00 UTC."),
    ("no-run", "user", no_run(schedule="Asset"),
     "DAG d has no run in which task t could be; the next begins by its schedule (Asset)."),
    ("no-run", "user", no_run(schedule="not scheduled"),
     "DAG d has no run in which task t could be; it is a release that is not scheduled: promote it, or trigger a run."),
    ("no-run", "user", no_run(schedule="0 6 * * * up to 2026-11-24 06:00"),
     "DAG d has no run in which task t could be; it is a release that is not scheduled: promote it, or trigger a run."),
    ("no-run", "user", no_run(schedule="0 6 * * * up to 2027-01-15 08:00", next_run=NOW),
     "DAG d has no run in which task t could be; the next begins by its schedule (0 6 * * * up to 2027-01-15 08:00)."),
    ("no-run", "user", no_run(), "DAG d has no run in which task t could be; it has no schedule: trigger one."),
    # The run does not run.
    ("run-later", None, known(run=Run(id="r", state="queued", run_after=NOW + 30)),
     "Run r of DAG d begins in 30 s, at 2027-01-15 08:00:30 UTC."),
    ("dag-paused", "user", known(run=replace(RUN, state="queued"), dag=replace(DAG, paused=True)),
     "DAG d is paused, so task t does not go on. Unpause the DAG."),
    ("backfill-paused", "user", known(run=replace(RUN, state="queued", backfill=3, backfill_paused=True)),
     "Run r is of backfill 3, which is paused. Unpause the backfill."),
    ("max-active-runs", "capacity", known(run=replace(RUN, state="queued", max_active=1, running=["r0"])),
     "Run r waits: 1 of 1 runs of DAG d are running (max_active_runs), r0. It begins when one of them has ended, or "
     "with a higher limit."),
    ("max-active-runs", "capacity",
     known(run=replace(RUN, state="queued", backfill=3, max_active=4, running=["a", "b", "c", "d"])),
     "Run r waits: 4 of 4 runs of backfill 3 are running (max_active_runs), a, b, c and 1 more. It begins when one of "
     "them has ended, or with a higher limit."),
    ("run-next", None, known(run=replace(RUN, state="queued", max_active=2, running=["r0"])),
     "Run r is queued; the scheduler starts it at one of its next looks."),
    ("run-over", "user", known(run=replace(RUN, state="failed")),
     "Task t did not run: run r had ended (failed) before its turn came. Clear the task to run it."),
    ("not-in-run", "user", known(instance=False),
     "Run r has no task t: it came into DAG d after the run began. It is in the next run, or in this one if you clear "
     "the run with its latest version."),
    # It has no state.
    ("dag-gone", "user", known(dag=replace(DAG, stale=True)),
     "DAG d is not in its file team/d.py any more, so nothing of it is scheduled. Push it again."),
    ("dag-processor-down", "platform", known(dag=replace(DAG, stale=True), dag_processor=DEAD),
     "No dag-processor is alive (the last heartbeat was 4 min ago). No file is parsed until one is back: look at the "
     "pods of the dag-processor."),
    ("scheduler-down", "platform", known(scheduler=DEAD),
     "No scheduler is alive (the last heartbeat was 4 min ago). Task t does not go on until one is back: look at the "
     "pods of the scheduler."),
    ("scheduler-down", "platform", known(scheduler=Process(alive=False)),
     "No scheduler is alive (none has ever run). Task t does not go on until one is back: look at the pods of the "
     "scheduler."),
    ("upstream-not-done", None,
     known(upstream=[Upstream(task_id="a", states={"running": 1}), Upstream(task_id="b", states={"success": 1})]),
     "Task t waits for what comes before it: a (running). Ask why of that one."),
    ("upstream-not-done", None,
     known(
         trigger_rule="one_success",
         upstream=[Upstream(task_id="a", states={"failed": 2, "up_for_retry": 1}), Upstream(task_id="b", states={})],
     ),
     "Task t waits for what comes before it (trigger rule one_success): a (2 failed, 1 up for retry) and b (not "
     "scheduled yet). Ask why of those."),
    ("airflow-dependency", "user", known(unmet=["depends_on_past is true, and the previous one has not succeeded."]),
     "Task t waits; Airflow says: depends_on_past is true, and the previous one has not succeeded."),
    ("next", None, known(upstream=[Upstream(task_id="a", states={"success": 1})]),
     "Task t is ready; the scheduler takes it at one of its next looks."),
    # It is scheduled.
    ("pool-missing", "user", scheduled(pool=None, known_pools=["default_pool", "gpu"], instance={"pool": "gqu"}),
     "Task t names pool gqu, which does not exist. Name one of default_pool, gpu, or add it under nodePools, or "
     "under declared.pools where it stands for no nodes, in the values of the platform's chart."),
    ("pool-too-small", "user", scheduled(instance={"pool_slots": 5}),
     "Task t asks for 5 slots of pool gpu, which has 4: it will never run. Lower its pool_slots, or give the pool "
     "more."),
    ("pool-full", "capacity",
     scheduled(
         instance={"map_index": 7},
         pool=Pool(name="gpu", slots=4, used=4, holders=[("d", "train", 3), ("e", "score", 1)], ahead=1),
     ),
     "Task t[7] waits for a slot of pool gpu: 4 of 4 are taken, by d.train (3) and e.score (1); 1 task is ahead of it. "
     "It goes on when others end, or when the pool gets more slots."),
    ("pool-full", "capacity",
     scheduled(
         instance={"pool_slots": 2},
         pool=Pool(name="gpu", slots=4, used=3, holders=[("d", "t", 2), ("", "", 1)], ahead=0),
     ),
     "Task t waits for 2 slots of pool gpu: 3 of 4 are taken, by d.t (2) and tasks of other teams (1). It goes on when "
     "others end, or when the pool gets more slots."),
    ("pool-full", "capacity", scheduled(pool=Pool(name="gpu", slots=4, used=2, ahead=2)),
     "Task t waits for a slot of pool gpu: 2 of 4 are taken; 2 tasks are ahead of it. It goes on when others end, or "
     "when the pool gets more slots."),
    ("max-active-tasks", "capacity", scheduled(run=replace(RUN, active_tasks=16)),
     "Task t waits: 16 of 16 tasks of run r are at work (max_active_tasks). It goes on when one of them has ended, or "
     "with a higher limit in the DAG's file."),
    ("max-active-tis-per-dag", "capacity", scheduled(instance={"max_active_in_dag": 2, "active_in_dag": 2}),
     "Task t waits: 2 of 2 instances of task t in all runs are at work (max_active_tis_per_dag). It goes on when one "
     "of them has ended, or with a higher limit in the DAG's file."),
    ("max-active-tis-per-dagrun", "capacity", scheduled(instance={"max_active_in_run": 1, "active_in_run": 1}),
     "Task t waits: 1 of 1 instances of task t in run r are at work (max_active_tis_per_dagrun). It goes on when one "
     "of them has ended, or with a higher limit in the DAG's file."),
    ("executor-full", "capacity", scheduled(executor=replace(LAUNCHER, queued=18, running=6)),
     "Task t waits for executor launcher, which has its 24 tasks: 18 queued, 6 running. It goes on when they do; more "
     "room: launcher.slots in the chart's values."),
    ("next", None, scheduled(pool=Pool(name="gpu", slots=None, used=100)),
     "Task t is ready; the scheduler takes it at one of its next looks."),
    # It is queued.
    ("scheduler-down", "platform", queued(scheduler=DEAD),
     "No scheduler is alive (the last heartbeat was 4 min ago). Task t does not go on until one is back: look at the "
     "pods of the scheduler."),
    ("image-not-found", "user", queued(pod=replace(POD, worker=True, verdict=VERDICT)),
     "Task t, in its worker pod: Image i:7 does not exist in registry r. Push it, or correct its name or tag."),
    ("pod-starts", None, queued(pod=replace(POD, worker=True, phase="Pending")),
     "Worker pod t-1 of task t is starting on node n1."),
    ("launcher-busy", "capacity", queued(replace(LAUNCHER, running=6, before=3)),
     "Task t waits for a process of the launcher: all 6 are at work, and 3 tasks were queued before it. It goes on by "
     "itself; more processes: launcher.slots in the chart's values."),
    ("not-taken-up", "platform", queued(Executor(name="launcher", kind="celery", room=32), NOW - 180),
     "Task t is queued for 3 min, and launcher has not begun it, though it has room: look at the launcher's pods and "
     "the broker."),
    ("on-its-way", None, queued(), "Task t is handed to launcher, which begins it in a moment."),
    # It runs.
    ("no-heartbeat", "infrastructure", known("running", instance={"heartbeat": NOW - 100}),
     "Task t has sent no heartbeat for 100 s: its process may be lost. Airflow ends the try once that lasts for 5 "
     "min."),
    ("image-not-found", "user", known("running", pod=replace(POD, phase="Pending", verdict=VERDICT)),
     "Image i:7 does not exist in registry r. Push it, or correct its name or tag."),
    ("running", None,
     known("running", instance={"started": NOW - 7300, "hostname": "10.0.0.7", "try_number": 2, "tries": 3}),
     "Task t runs for 2 h 1 min at 10.0.0.7 (try 2 of 3)."),
    # It is deferred.
    ("triggerer-down", "platform", deferred(OF_POD, triggerer=DEAD),
     "No triggerer is alive (the last heartbeat was 4 min ago). The pod of task t runs on, but nobody follows it until "
     "one is back: look at the pods of the triggerer."),
    ("trigger-not-taken-up", "platform", deferred(replace(OF_POD, taken=False)),
     "No triggerer has taken up task t for 5 min: those that run are full, or slow. Give triggerer.replicas in the "
     "chart's values more."),
    ("image-not-found", "user", deferred(OF_POD, pod=replace(POD, phase="Pending", verdict=VERDICT)),
     "Image i:7 does not exist in registry r. Push it, or correct its name or tag."),
    ("launched-again", "capacity",
     deferred(Trigger(name="WaitTrigger", kind="again", reason="Namespace team does not exist in this cluster.")),
     "Namespace team does not exist in this cluster. The launch of task t is tried again by itself."),
    ("quota-full", "capacity",
     deferred(Trigger(name="WaitTrigger", kind="again", reason="Quota q of namespace team is full.", quota="q")),
     "Quota q of namespace team is full. The launch of task t is tried again by itself."),
    ("pod-starts", None, deferred(OF_POD, pod=replace(POD, phase="Pending")),
     "Pod t-1 of task t is starting on node n1."),
    ("running", None, deferred(OF_POD, pod=POD), "Task t runs for 90 s in pod t-1 on node n1."),
    ("pod-ended", None, deferred(OF_POD, pod=replace(POD, phase="Succeeded")),
     "Pod t-1 of task t has ended (Succeeded); its log and the task's end follow."),
    ("pod-gone", "infrastructure", deferred(OF_POD, pod=replace(POD, gone=True)),
     "Pod t-1 of task t is gone; the triggerer ends the try, or creates it again."),
    ("pod-unreadable", None, deferred(OF_POD, pod=replace(POD, unreadable="403 Forbidden: no")),
     "Task t waits for its pod t-1, which cannot be read from here (403 Forbidden: no). The task's log says what the "
     "pod does."),
    ("deferred", None, deferred(Trigger(name="TimeDeltaTrigger", times_out=NOW + 200)),
     "Task t waits in the triggerer for TimeDeltaTrigger; it fails in 3 min, at 2027-01-15 08:03:20 UTC."),
    # A later look.
    ("rescheduled", None, known("up_for_reschedule", instance={"next_try": NOW + 45}),
     "Task t is a sensor whose condition does not hold yet; it looks again in 45 s, at 2027-01-15 08:00:45 UTC."),
    ("awaits-input", "user", known("awaiting_input"),
     "Task t waits for a person's answer: Required Actions in the UI."),
    ("restarting", None, known("restarting"), "Task t was cleared while it ran: it is stopped, and then begins anew."),
    ("image-not-found", "user",
     failed("up_for_retry", End(evidence={"verdict": VERDICT}), instance={"next_try": NOW + 90}),
     "Try 1 of 3 of task t failed. Image i:7 does not exist in registry r. Push it, or correct its name or tag. Try 2 "
     "begins in 90 s, at 2027-01-15 08:01:30 UTC."),
    ("next", None, failed("up_for_retry", instance={"next_try": NOW - 1}),
     "Task t is ready; the scheduler takes it at one of its next looks."),
    # It has ended.
    ("image-not-found", "user", failed(end=End(evidence={"verdict": VERDICT})),
     "Task t failed (try 1 of 3). Image i:7 does not exist in registry r. Push it, or correct its name or tag."),
    ("image-not-found", "user", failed(end=End(evidence={"verdict": VERDICT, "reason": VERDICT["sentence"]})),
     "Task t failed (try 1 of 3). Image i:7 does not exist in registry r. Push it, or correct its name or tag."),
    ("no-room", "capacity",
     failed(end=End(evidence={"verdict": NO_ROOM, "reason": f"{NO_NODE}: {NO_ROOM['sentence']}"})),
     f"Task t failed (try 1 of 3). {NO_NODE}. Until then: {NO_ROOM['sentence']}"),
    ("quota-full", "capacity",
     failed(
         "up_for_retry", instance={"next_try": NOW + 90},
         end=End(evidence={"verdict": FULL, "reason": f"execution_timeout has passed. {FULL['sentence']} And more."}),
     ),
     "Try 1 of 3 of task t failed. execution_timeout has passed. Until then: Quota q of namespace team is full; the "
     "task waits until pods that it counts have ended. Try 2 begins in 90 s, at 2027-01-15 08:01:30 UTC."),
    ("timed-out", "user", failed(end=End(evidence={"verdict": OUT_OF_TIME, "reason": OUT_OF_TIME["sentence"]})),
     "Task t failed (try 1 of 3). Pod t-1: execution_timeout has passed."),
    ("timed-out", "user",
     failed(end=End(evidence={"verdict": None, "reason": "Pod t-1: execution_timeout has passed"})),
     "Task t failed (try 1 of 3). Pod t-1: execution_timeout has passed."),
    ("unknown", "user", failed(end=End(evidence={"verdict": None, "reason": "Pod t-1 failed."})),
     "Task t failed (try 1 of 3). Pod t-1 failed."),
    ("marked", "user", failed(end=End(marked_by="alice", evidence={"verdict": VERDICT})),
     "Task t failed (try 1 of 3). alice set it to failed by hand."),
    ("ended-by-scheduler", "infrastructure",
     failed(end=End(scheduler_said="Task did not emit heartbeat within time limit (300 seconds)", error="x")),
     "Task t failed (try 1 of 3). The scheduler says: Task did not emit heartbeat within time limit (300 seconds)."),
    ("error-in-log", "user", failed(end=End(error="ValueError: no")),
     "Task t failed (try 1 of 3). The last error in its log: ValueError: no."),
    ("unknown", "user", failed(instance={"tries": 1}), "Task t failed. Its log says why."),
    ("upstream-failed", "user", known("upstream_failed", failed_before=["a"]),
     "Task t did not run, as a failed. Ask why of it, mend that, and clear it."),
    ("upstream-failed", "user", known("upstream_failed", failed_before=["a", "b"]),
     "Task t did not run, as a and b failed. Ask why of them, mend that, and clear them."),
    ("upstream-failed", "user", known("upstream_failed"),
     "Task t did not run, as a task before it failed. Ask why of it, mend that, and clear it."),
    ("skipped", None, skipped({"a": "skipped"}), "Task t was skipped: a before it was skipped."),
    ("skipped", None, skipped({"a": "skipped", "b": "success"}, trigger_rule="none_skipped"),
     "Task t was skipped: a before it was skipped."),
    ("skipped", None, skipped({"a": "skipped"}, trigger_rule="one_success"),
     "Task t was skipped: a before it was skipped."),
    ("skipped", None, skipped({"a": "skipped", "b": "success"}, trigger_rule="none_failed_min_one_success"),
     "Task t was skipped: a task before it skipped it, as a branch does."),
    ("skipped", None, skipped({"a": "success", "b": "skipped"}, trigger_rule="one_failed"),
     "Task t was skipped: what comes before it does not meet its trigger rule, one_failed: "
     "a (success) and b (skipped)."),
    ("skipped", None, skipped({"a": "success", "b": "failed"}, trigger_rule="all_failed"),
     "Task t was skipped: what comes before it does not meet its trigger rule, all_failed: "
     "a (success) and b (failed)."),
    ("skipped", None, skipped({"a": "success", "b": "failed"}, trigger_rule="one_failed"),
     "Task t was skipped: a task before it skipped it, as a branch does."),
    ("skipped", None, skipped({"a": "success", "b": "running"}, trigger_rule="one_failed"),
     "Task t was skipped: a task before it skipped it, as a branch does."),
    ("skipped", None, skipped({"a": "success"}), "Task t was skipped: a task before it skipped it, as a branch does."),
    ("skipped", None, skipped({"a": "success"}, run=FAILED_RUN),
     "Task t was skipped: a task before it skipped it, as a branch does, or its run was ended before its turn came (a "
     "timeout, fail_fast, or by hand)."),
    ("skipped", None, skipped(run=FAILED_RUN),
     "Task t was skipped: its run was ended before its turn came (a timeout, fail_fast, or by hand)."),
    ("skipped", None, skipped(run=FAILED_RUN, ended=None),
     "Task t was skipped: its run was ended before its turn came, by dagrun_timeout."),
    ("skipped", None, skipped(run=FAILED_RUN, ended=None, try_number=1),
     "Task t was skipped: its run was ended before it was done, by dagrun_timeout."),
    ("skipped", None, skipped({"a": "success"}, ended=None, expands=True),
     "Task t was skipped: the list over which it is expanded is empty."),
    ("skipped", None, skipped(try_number=1), "Task t was skipped: it skipped itself; its log says why."),
    ("skipped", None, skipped({"a": "skipped"}, try_number=1, trigger_rule="all_done"),
     "Task t was skipped: it skipped itself; its log says why."),
    ("skipped", None, skipped(run=FAILED_RUN, try_number=1),
     "Task t was skipped: it skipped itself, or its run was ended before its next try; its log says why."),
    ("skipped", None, skipped(), "Task t was skipped: Airflow keeps no reason."),
    ("skipped", None, skipped(end=End(scheduler_said="Skipping task due to dag's `fail_fast` setting.")),
     "Task t was skipped: another task of its run failed, and the DAG has fail_fast."),
    ("skipped", None, skipped(end=End(marked_by="bob")), "Task t was skipped: bob set it to skipped by hand."),
    ("skipped", None, skipped(end=End(marked_by="bob", marked_run=True)),
     "Task t was skipped: bob ended its run by hand."),
    ("succeeded", None, known("success", instance={"started": NOW - 100, "ended": NOW - 60, "try_number": 1}),
     "Task t succeeded 60 s ago after 40 s."),
    ("succeeded", None, known("success", end=End(marked_by="bob")),
     "Task t succeeded. bob set it to success by hand."),
    ("removed", "user", known("removed"), "Task t is not in DAG d any more, so it did not run in this run."),
]  # fmt: skip

IDS = [f"{number}-{case[0]}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize(("cause", "kind", "facts", "sentence"), CASES, ids=IDS)
def test_each_way_to_wait_and_to_end_is_told(cause, kind, facts, sentence):
    found = answer(facts)
    assert found.sentence == sentence
    assert (found.cause, found.kind) == (cause, kind)


@pytest.mark.parametrize(("cause", "kind", "facts", "sentence"), CASES, ids=IDS)
def test_each_answer_is_json_and_plain(cause, kind, facts, sentence):
    found = answer(facts)
    again = json.loads(json.dumps(found.as_dict()))
    assert Answer(**again).sentence == sentence
    assert found.object in found.sentence or found.object_kind == "task"
    assert "None" not in found.sentence
    assert ".." not in found.sentence


def test_every_state_of_airflow_is_known():
    from airflow.utils.state import TaskInstanceState

    by_run = {"scheduled"}
    assert {str(state) for state in TaskInstanceState} == set(_BY_STATE) | by_run


@pytest.mark.parametrize("state", [None, *_BY_STATE, "scheduled"])
def test_a_state_of_which_nothing_else_is_known_has_an_answer(state):
    facts = known(state, pool=POOL)
    assert answer(facts).sentence.endswith(".")


def test_what_else_is_known_is_told_beside():
    evidence = {
        "namespace": "team", "name": "t-1", "saved": "2027-01-15T07:59:00+00:00", "verdict": VERDICT,
        "pod": {"spec": {"nodeName": "n1"}},
        "containers": [{"name": "base", "image": "i@sha256:1", "state": "terminated with exit code 3 (Error)"}],
        "events": [{"reason": "Killing", "message": "Stopping", "lastTimestamp": "2027-01-15T07:58:00Z"}],
        "last_lines": ["[base] \x1b[31mone\x1b[0m\x07"],
    }  # fmt: skip
    counts = {"failed": 2, "success": 18}
    found = answer(failed(end=End(evidence=evidence), counts=counts, executor=LAUNCHER))
    assert dict(found.details) == {
        "run": "r (running)",
        "pool": "gpu: 0 of 4 slots taken",
        "executor": "launcher",
        "instances": "2 failed, 18 success",
        "pod": "team/t-1",
        "node": "n1",
        "containers": "base: terminated with exit code 3 (Error); i@sha256:1",
        "saved": "2027-01-15T07:59:00+00:00",
    }
    assert found.events == ("2027-01-15T07:58:00Z Killing: Stopping",)
    assert found.last_lines == ("[base] one",)


def test_a_broken_file_is_named_while_the_version_before_runs_on():
    found = answer(known("running", dag=replace(DAG, import_error="SyntaxError: invalid syntax")))
    assert found.cause == "running"
    assert dict(found.details)["file"] == "team/d.py has an error: SyntaxError: invalid syntax"
