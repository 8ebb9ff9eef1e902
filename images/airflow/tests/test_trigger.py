import asyncio
import contextlib
import dataclasses
import json
import time

import pytest
import structlog
from airflow.models.trigger import Trigger
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent
from api_server import asynchronous
from task_server import ago, ask, instance, serve, until

from airflow_platform import crowd, evidence, finisher, masks, pod_events, told, trigger, waits
from airflow_platform.attempt import Attempt
from airflow_platform.cluster import ApiError, Cluster, ClusterRef
from airflow_platform.pod_log import HANDED_OVER
from airflow_platform.trigger import PodTrigger
from airflow_platform.watch import PodWatch

RUNNING = ("dag", "run", "task")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(finisher, "_PERIOD", 0.05)
    monkeypatch.setattr(finisher, "_REST", 0)
    monkeypatch.setattr(finisher, "_pending", [])
    monkeypatch.setattr(trigger, "_TICK", 0.5)
    monkeypatch.setattr(trigger, "_PAUSE", 0.05)


@pytest.fixture
def airflow(monkeypatch):
    """Airflow, where the task is deferred."""
    airflow = ask(monkeypatch)
    airflow.states[RUNNING] = "deferred"
    return airflow


@pytest.fixture
def lines():
    """What the task's log says."""
    with structlog.testing.capture_logs() as entries:
        yield lambda: [entry["event"] for entry in entries]


@pytest.fixture
def follow(tmp_path, airflow):
    """An API server with the pod ``p``, and the trigger that follows it: (api, trigger, its event as a task)."""

    @contextlib.asynccontextmanager
    async def follow(pod=True, **arguments):
        async with serve(tmp_path) as (api, ref):
            if pod:
                await api.run("p", "Pending")
            one = PodTrigger(name="p", namespace="team", cluster=ref, **arguments)
            one.task_instance = instance()
            event = asyncio.ensure_future(anext(one.run()))
            try:
                await api.until(lambda: api.watches)
                yield api, one, event
            finally:
                event.cancel()
                await asyncio.wait([event])
                for task in (finisher._task, finisher._sweeper):
                    if task:
                        task.cancel()

    return follow


async def result(event):
    return await asyncio.wait_for(event, 15)


def payload(event):
    return event.payload["status"], event.payload["message"]


def asks_for(api):
    return api.count(r"^GET .*/pods/p$")


@asynchronous
async def test_a_pod_that_succeeds_ends_the_task_and_goes_once_that_is_stored(follow, airflow):
    async with follow(ends=True) as (api, _, event):
        await api.run("p", "Running")
        await api.run("p", "Succeeded", 0)
        assert await result(event) == TaskSuccessEvent()
        assert asks_for(api) == 0
        asked = len(airflow.asked)
        await until(lambda: len(airflow.asked) > asked + 1)
        assert api.deleted == []
        airflow.states[RUNNING] = "success"
        await api.until(lambda: api.deleted)


@asynchronous
async def test_a_pod_that_fails_ends_the_task_and_no_later_try_takes_it(follow, lines):
    async with follow(ends=True) as (api, _, event):
        await api.run("p", "Failed", 3)
        found = await result(event)
        assert isinstance(found, TaskFailedEvent)
        assert found.xcoms["platform_verdict"]["cause"] == "exit-code"
        assert api.pods["p"]["metadata"]["labels"]["already_checked"] == "True"
        assert "Container base of pod p ended with exit code 3; its log says why." in lines()


@asynchronous
async def test_a_node_that_falls_silent_is_told_while_the_pod_may_still_run(follow, lines):
    async with follow(ends=True) as (api, _, event):
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": ago(1)}
        spec = {"nodeName": "n", "containers": [{"name": "base"}]}
        await api.run("p", "Running", spec=spec, conditions=[unready])
        await until(lambda: any("Node n, where pod p is, does not answer any more" in line for line in lines()))
        await api.run("p", "Running", spec=spec, conditions=[{**unready, "status": "True"}])
        await api.run("p", "Succeeded", 0, spec=spec)
        assert await result(event) == TaskSuccessEvent()


@asynchronous
async def test_a_failure_leaves_evidence_with_its_last_lines(follow, monkeypatch):
    saved = {}
    monkeypatch.setattr(evidence, "save", saved.__setitem__)
    async with follow(ends=True) as (api, _, event):
        api.log = [b"2026-01-01T00:00:01.000000000Z the last words"]
        await api.run("p", "Failed", 3)
        await result(event)
    (found,) = saved.values()
    assert found["verdict"]["cause"] == "exit-code"
    assert found["last_lines"] == ["[base] the last words"]


@asynchronous
async def test_evidence_that_cannot_be_saved_changes_nothing(follow, lines, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(evidence, "save", full)
    async with follow(ends=True) as (api, _, event):
        await api.run("p", "Failed", 3)
        assert isinstance(await result(event), TaskFailedEvent)
        assert "The evidence of pod p could not be saved: No space left on device" in lines()


@asynchronous
async def test_an_exit_code_may_skip_the_task(follow):
    async with follow(ends=True, skip_on_exit_code=[99]) as (api, _, event):
        await api.run("p", "Failed", 99)
        assert await result(event) == TaskSkippedEvent()


@pytest.mark.parametrize(("phase", "code", "status"), [("Succeeded", 0, "success"), ("Failed", 99, "failed")])
@asynchronous
async def test_a_task_that_needs_a_phase_is_resumed_with_its_pod_as_it_is(follow, airflow, phase, code, status):
    async with follow(skip_on_exit_code=[99]) as (api, _, event):
        await api.run("p", phase, code)
        found = (await result(event)).payload
        assert (found["status"], found["name"], found["namespace"]) == (status, "p", "team")
        assert not finisher._pending
        assert "already_checked" not in api.pods["p"]["metadata"]["labels"]


@asynchronous
async def test_a_sidecar_does_not_hold_up_the_end(follow):
    async with follow(xcom_sidecar=True) as (api, _, event):
        base = {"name": "base", "image": "i", "state": {"terminated": {"exitCode": 0}}}
        sidecar = {"name": "airflow-xcom-sidecar", "image": "i", "state": {"running": {}}}
        await api.run("p", "Running", containerStatuses=[base, sidecar])
        assert payload(await result(event)) == ("success", "")


@pytest.mark.parametrize(
    ("action", "code", "goes", "checked"),
    [
        ("delete_pod", 0, True, False),
        ("delete_pod", 1, True, True),
        ("keep_pod", 0, False, True),
        ("keep_pod", 1, False, True),
        ("delete_succeeded_pod", 0, True, False),
        ("delete_succeeded_pod", 1, False, True),
        ("delete_active_pod", 0, False, True),
    ],
)
@asynchronous
async def test_what_becomes_of_the_pod(follow, action, code, goes, checked):
    async with follow(ends=True, on_finish_action=action) as (api, _, event):
        await api.run("p", "Failed" if code else "Succeeded", code)
        await result(event)
        assert bool(finisher._pending) is goes
        assert ("already_checked" in api.pods["p"]["metadata"]["labels"]) is checked


@asynchronous
async def test_the_pods_log_is_the_tasks_line_by_line_while_it_runs(follow, lines):
    async with follow(ends=True) as (api, _, event):
        api.log = [b"2026-01-01T00:00:01.000000000Z one", b"2026-01-01T00:00:02.000000000Z ERROR: two"]
        await api.run("p", "Running")
        await until(lambda: "[base] ERROR: two" in lines())
        assert not event.done()
        await api.run("p", "Succeeded", 0)
        await result(event)
        assert [line for line in lines() if line.startswith("[base]")] == ["[base] one", "[base] ERROR: two"]


@pytest.fixture
def secret(monkeypatch):
    """A pod with a secret in its environment, which only the API server's own answer shows: (metadata, spec)."""
    value = "postgres://etl:hunter22@warehouse"
    spec = {"containers": [{"name": "base", "image": "i", "env": [{"name": "URL", "value": value}]}]}
    return {"annotations": {masks.ANNOTATION: json.dumps([["base", "env", "URL", 15, 23]])}}, spec


@asynchronous
async def test_what_a_pod_prints_of_a_secret_that_a_template_put_into_it_is_masked(follow, lines, secret, monkeypatch):
    saved = {}
    monkeypatch.setattr(evidence, "save", saved.__setitem__)
    metadata, spec = secret
    async with follow(pod=False, ends=True, pod_on_failure=True, events_on_failure=True) as (api, _, event):
        api.log = [b"2026-01-01T00:00:01.000000000Z cannot log in by hunter22"]
        state = {"terminated": {"exitCode": 3, "reason": "Error", "message": "hunter22 is wrong"}}
        statuses = [{"name": "base", "image": "i", "state": state}]
        api.events = [{"reason": "Failed", "message": 'exec: "psql postgres://etl:hunter22@warehouse": not found'}]
        await api.run("p", "Failed", metadata=metadata, spec=spec, containerStatuses=statuses)
        found = await result(event)
    assert "[base] cannot log in by ***" in lines()
    assert any("psql postgres://etl:***@warehouse" in line for line in lines())
    assert "*** is wrong" in lines()[-1]
    for text in (*lines(), json.dumps([*saved.values()]), json.dumps(found.xcoms)):
        assert "hunter22" not in text


@asynchronous
async def test_a_log_waits_until_it_is_known_what_of_it_is_secret(follow, lines, secret):
    metadata, spec = secret
    async with follow(pod=False, ends=True) as (api, _, event):
        api.log = [b"2026-01-01T00:00:01.000000000Z hunter22"]
        api.refuse["/pods/p$"] = 500
        await api.run("p", "Running", metadata=metadata, spec=spec)
        await until(lambda: api.count("/pods/p") >= 2)
        assert api.count("/log") == 0
        api.refuse.clear()
        await until(lambda: "[base] ***" in lines())
        await api.run("p", "Succeeded", 0, metadata=metadata, spec=spec)
        await result(event)


@asynchronous
async def test_a_log_is_left_out_where_it_stays_unknown_what_of_it_is_secret(follow, lines, secret, monkeypatch):
    monkeypatch.setattr(trigger, "_LOG_END", 0.1)
    metadata, spec = secret
    async with follow(pod=False, ends=True) as (api, _, event):
        api.log = [b"2026-01-01T00:00:01.000000000Z hunter22"]
        api.refuse["/pods/p$"] = 500
        state = {"terminated": {"exitCode": 3, "reason": "Error", "message": "hunter22 is wrong"}}
        statuses = [{"name": "base", "image": "i", "state": state}]
        await api.run("p", "Failed", metadata=metadata, spec=spec, containerStatuses=statuses)
        await result(event)
    assert any("is not shown, as what of it is secret is not known" in line for line in lines())
    assert not any("hunter22" in line for line in lines())


@asynchronous
async def test_no_log_is_read_where_none_is_wanted(follow):
    async with follow(ends=True, get_logs=False) as (api, _, event):
        await api.run("p", "Succeeded", 0)
        await result(event)
        assert api.count("/log") == 0


@asynchronous
async def test_a_pod_that_is_deleted_before_it_ran_is_launched_again(follow):
    async with follow(ends=True) as (api, one, event):
        await until(lambda: one._uid)
        uid = one._uid
        await api.delete("p")
        assert again(await result(event)) == Attempt(again=1, over=uid)


@asynchronous
async def test_a_pod_that_never_runs_is_not_launched_for_ever(follow, lines):
    async with follow(ends=True, attempt={"again": 5}) as (api, one, event):
        await until(lambda: one._uid)
        await api.delete("p")
        assert isinstance(await result(event), TaskFailedEvent)
        assert lines()[-1].startswith("Pod p was deleted before it ran")


def again(event):
    """What the next launch is told."""
    assert event.payload["status"] == "relaunch"
    return Attempt.of(event.payload["attempt"])


DRAINED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "lastTransitionTime": ago(1),
}
LOST = {**DRAINED, "reason": "DeletionByTaintManager"}
REMOVED = {**DRAINED, "reason": "DeletionByPodGC"}
PREEMPTED = {**DRAINED, "reason": "PreemptionByScheduler"}
BY_KUEUE = {**DRAINED, "type": "TerminationTarget", "reason": "WorkloadEvictedDueToPreempted"}
ON_NODE = {"nodeName": "n1", "containers": [{"name": "base", "image": "i"}]}
#: Kubelet's end of a container that it was asked to stop.
KILLED = [
    {
        "name": "base",
        "image": "i",
        "containerID": "containerd://1",
        "state": {"terminated": {"exitCode": 143, "reason": "Error", "finishedAt": ago(0)}},
    }
]


async def taken(api, condition=DRAINED, phase="Failed", **metadata):
    status = {"containerStatuses": KILLED} if phase == "Failed" else {}
    metadata = {"deletionTimestamp": ago(600), "deletionGracePeriodSeconds": 30, **metadata}
    return await api.run("p", phase, conditions=[condition], spec=ON_NODE, metadata=metadata, **status)


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("condition", [DRAINED, LOST, REMOVED, PREEMPTED, BY_KUEUE])
@asynchronous
async def test_a_pod_that_was_taken_away_is_started_again_without_a_retry(follow, lines, ends, condition):
    async with follow(ends=ends, infrastructure_retries=2, attempt={"again": 1}) as (api, _, event):
        uid = (await taken(api, condition))["metadata"]["uid"]
        assert again(await result(event)) == Attempt(again=2, over=uid)
        assert lines()[-1].endswith(": the task is started again (2 of 2), and no retry is spent.")
        # Until the database has that, the next triggerer is to see the same.
        assert api.deleted == []
        assert "already_checked" not in api.pods["p"]["metadata"]["labels"]


@asynchronous
async def test_the_log_says_what_took_the_pod(follow, lines):
    async with follow(ends=True, infrastructure_retries=5) as (api, _, event):
        await taken(api)
        await result(event)
        assert lines()[-1] == (
            "Node n1 is being emptied, for maintenance or to save it, and pod p had to go: the task is started again "
            "(1 of 5), and no retry is spent."
        )


@pytest.mark.parametrize("limit", [0, 3])
@asynchronous
async def test_a_pod_that_was_taken_too_often_fails_the_try(follow, lines, limit):
    async with follow(ends=True, infrastructure_retries=limit, attempt={"again": limit}) as (api, _, event):
        await taken(api)
        assert isinstance(await result(event), TaskFailedEvent)
        assert lines()[-1].startswith("Node n1 is being emptied")
        assert ("It was started again 3 times, and is not once more." in lines()) is bool(limit)


@asynchronous
async def test_a_pod_on_a_node_that_is_away_is_waited_for_until_it_is_gone(follow, lines):
    """It may still run: not even its deletion is asked for."""
    async with follow(ends=True, infrastructure_retries=5) as (api, _, event):
        pod = await taken(api, LOST, "Running")
        await until(lambda: any("the pod may still run there" in line for line in lines()))
        assert not event.done()
        assert api.deleted == []
        # The node's object was removed: Kubernetes calls the pod failed, and it goes.
        await taken(api, REMOVED)
        assert again(await result(event)).over == pod["metadata"]["uid"]


@asynchronous
async def test_a_pod_whose_object_was_forced_away_is_not_started_again(follow):
    """Nobody has waited for its end."""
    async with follow(infrastructure_retries=5) as (api, _, event):
        await taken(api, DRAINED, "Running", deletionGracePeriodSeconds=0)
        await until(lambda: api.count("/log"))
        await api.delete("p", graceful=False)
        assert (await result(event)).payload["status"] == "gone"


@pytest.mark.parametrize("too", [True, False])
@asynchronous
async def test_a_pod_that_somebody_deleted_is_started_again_where_the_values_say_so(follow, too):
    async with follow(infrastructure_retries=5, retry_deleted=too) as (api, _, event):
        await taken(api, {"type": "Ready", "status": "False"})
        assert (await result(event)).payload["status"] == ("relaunch" if too else "failed")


@asynchronous
async def test_a_task_that_failed_by_itself_before_its_node_was_drained_has_failed(follow):
    async with follow(ends=True, infrastructure_retries=5) as (api, _, event):
        ended = json.loads(json.dumps(KILLED))
        ended[0]["state"]["terminated"] |= {"exitCode": 3, "finishedAt": ago(3600)}
        await api.run("p", "Failed", conditions=[DRAINED], spec=ON_NODE, containerStatuses=ended)
        assert isinstance(await result(event), TaskFailedEvent)


@asynchronous
async def test_a_task_that_did_well_while_its_node_was_drained_has_done_well(follow):
    async with follow(ends=True, infrastructure_retries=5) as (api, _, event):
        await api.run("p", "Succeeded", 0, conditions=[DRAINED], metadata={"deletionTimestamp": ago(-29)})
        assert await result(event) == TaskSuccessEvent()


@asynchronous
async def test_a_sidecar_has_to_stop_too_before_another_pod_is_started(follow):
    async with follow(xcom_sidecar=True, infrastructure_retries=5) as (api, _, event):
        sidecar = {"name": "airflow-xcom-sidecar", "image": "i", "state": {"running": {}}}
        being = {"conditions": [DRAINED], "spec": ON_NODE, "metadata": {"deletionTimestamp": ago(-29)}}
        await api.run("p", "Running", containerStatuses=[*KILLED, sidecar], **being)
        await api.bookmark()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(event), 0.5)
        await api.run("p", "Failed", containerStatuses=KILLED, **being)
        assert again(await result(event)).again == 1


@asynchronous
async def test_what_the_watch_says_of_the_pod_before_is_not_heard(follow):
    """It may be behind: the pod of this launch has the name of the one that was taken."""
    async with follow(pod=False, ends=True, uid="new", infrastructure_retries=5) as (api, _, event):
        new = await api.run("p", "Pending", silent=True, metadata={"uid": "new"})
        for version, kind in enumerate(("MODIFIED", "DELETED"), start=1):
            metadata = {"uid": "old", "resourceVersion": str(version), "deletionTimestamp": ago(600)}
            old = {**new, "metadata": {**new["metadata"], **metadata}}
            await api.send(json.dumps({"type": kind, "object": old}).encode() + b"\n")
            await until(lambda asked=version: asks_for(api) == asked)
        assert not event.done()
        await api.run("p", "Running", metadata={"uid": "new"})
        await api.run("p", "Succeeded", 0, metadata={"uid": "new"})
        assert await result(event) == TaskSuccessEvent()


@asynchronous
async def test_a_pod_that_is_gone_behind_one_of_its_name_has_been_lost(follow):
    async with follow(uid="new") as (api, _, event):
        await taken(api, uid="old")
        assert (await result(event)).payload["status"] == "gone"


@asynchronous
async def test_a_pod_whose_name_another_one_takes_between_two_looks_is_gone(follow):
    async with follow(pod=False, uid="own") as (api, _, event):
        await api.run("p", "Running", metadata={"uid": "own"}, spec={"nodeName": "n1"})
        await until(lambda: api.count("/log"))
        await api.delete("p", silent=True)
        await api.run("p", "Running", metadata={"uid": "another"})
        status, message = payload(await result(event))
        assert status == "gone"
        assert "on node n1" in message
        assert api.deleted == []


@pytest.mark.parametrize(
    ("grows", "reason", "annotations", "goes"),
    [
        (True, "OOMKilled", {}, False),
        (True, "Error", {"airflow-platform/memory": "1"}, False),
        (True, "Error", {}, True),
        (False, "OOMKilled", {"airflow-platform/memory": "1"}, True),
    ],
)
@asynchronous
async def test_a_pod_that_says_how_much_memory_the_next_try_needs_stays_for_it(
    follow, grows, reason, annotations, goes
):
    async with follow(ends=True, grows=grows) as (api, _, event):
        state = {"terminated": {"exitCode": 137, "reason": reason}}
        await api.run(
            "p",
            "Failed",
            containerStatuses=[{"name": "base", "image": "i", "state": state}],
            metadata={"annotations": annotations},
        )
        assert isinstance(await result(event), TaskFailedEvent)
        assert bool(finisher._pending) is goes


@asynchronous
async def test_a_pod_that_was_taken_before_its_trigger_began_is_started_again(tmp_path, airflow):
    """The triggerer has seen it come and go."""
    async with serve(tmp_path) as (api, ref):
        watch = await PodWatch.get(await Cluster.get(ref), "team")
        async with watch.follow("another") as other:
            await api.until(lambda: api.watches)
            uid = (await taken(api, phase="Running"))["metadata"]["uid"]
            await taken(api)
            await api.delete("p")
            await api.put("another")
            await other.next(timeout=10)
            one = PodTrigger(name="p", namespace="team", cluster=ref, uid=uid, infrastructure_retries=1)
            one.task_instance = instance()
            event = await asyncio.wait_for(anext(one.run()), 15)
            assert again(event) == Attempt(again=1, over=uid)
        finisher._sweeper.cancel()


@pytest.mark.parametrize(("code", "action", "kept"), [(3, "delete_pod", True), (0, "delete_pod", False)])
@asynchronous
async def test_a_failed_pod_is_kept_where_the_values_say_so(follow, lines, write_config, code, action, kept):
    write_config("tasks: {keepFailedPods: 2h}")
    async with follow(ends=True, on_finish_action=action) as (api, _, event):
        await api.run("p", "Failed" if code else "Succeeded", code)
        await result(event)
        assert bool(finisher._pending) is not kept
        assert any("Pod p is kept until" in line for line in lines()[:-1]) is kept


@asynchronous
async def test_the_launcher_is_told_the_verdict_and_the_last_lines(follow):
    async with follow() as (api, _, event):
        api.log = [b"2026-01-01T00:00:01.000000000Z the last words"]
        await api.run("p", "Failed", 3)
        found = (await result(event)).payload
        assert found["verdict"]["cause"] == "exit-code"
        assert found["last_lines"] == ["[base] the last words"]


@asynchronous
async def test_every_event_says_how_often_the_try_was_started_again(follow):
    async with follow(attempt={"again": 3}) as (api, _, event):
        await api.run("p", "Succeeded", 0)
        assert Attempt.of((await result(event)).payload["attempt"]).again == 3


@asynchronous
async def test_a_pod_whose_end_nobody_saw_is_not_run_again(follow):
    async with follow() as (api, one, event):
        await until(lambda: one._uid)
        await api.delete("p", silent=True)
        await api.compact()
        assert (await result(event)).payload["status"] == "gone"


@pytest.mark.parametrize("ends", [True, False])
@asynchronous
async def test_a_pod_that_is_deleted_while_it_runs_fails_the_task(follow, lines, ends):
    async with follow(ends=ends) as (api, _, event):
        await api.run("p", "Running", spec={"nodeName": "n1"})
        await until(lambda: api.count("/log"))
        await api.delete("p")
        found = await result(event)
        assert isinstance(found, TaskFailedEvent) if ends else payload(found)[0] == "gone"
        assert any(line.startswith("Pod p was deleted while it ran on node n1") for line in lines())


@pytest.mark.parametrize(
    ("code", "ends", "found"),
    [(0, True, TaskSuccessEvent()), (99, True, TaskSkippedEvent()), (0, False, "success")],
)
@asynchronous
async def test_a_pod_whose_end_and_removal_come_together_has_ended(follow, monkeypatch, code, ends, found):
    gate = asyncio.Event()

    async def late(self, pod):
        await gate.wait()

    monkeypatch.setattr(evidence.Evidence, "look_around", late)
    async with follow(ends=ends, skip_on_exit_code=[99]) as (api, one, event):
        await until(lambda: one._uid)
        await api.run("p", "Failed" if code else "Succeeded", code)
        await api.delete("p")
        await until(lambda: not one_watch(api).known("p"))
        gate.set()
        event = await result(event)
        assert (event if ends else event.payload["status"]) == found


def one_watch(api):
    """The watch of the one namespace that is watched."""
    return next(one for one in finisher._watches if one.in_sync)


def no_image(seconds_ago):
    """The status of a pod whose image could not be pulled since then."""
    message = 'failed to pull and unpack image "i:1": failed to resolve reference "i:1": i:1: not found'
    state = {"waiting": {"reason": "ErrImagePull", "message": message}}
    return {"startTime": ago(seconds_ago), "containerStatuses": [{"name": "base", "image": "i:1", "state": state}]}


@asynchronous
async def test_an_image_that_will_never_come_fails_the_task_and_the_pod_goes(follow):
    async with follow(on_finish_action="keep_pod") as (api, _, event):
        await api.run("p", "Pending", **no_image(31))
        status, message = payload(await result(event))
        # Not "failed": the stock operator would then wait for the end of a pod that never begins.
        assert status == "stopped"
        assert "does not exist in registry" in message
        assert len(api.deleted) == 1


@pytest.mark.parametrize("ends", [False, True])
@asynchronous
async def test_a_pod_that_must_go_is_deleted_later_where_the_cluster_refuses_it_now(follow, airflow, ends):
    async with follow(ends=ends, on_finish_action="keep_pod") as (api, _, event):
        api.refuse["/pods/p$"] = 429
        await api.run("p", "Pending", **no_image(31))
        await result(event)
        assert api.deleted == []
        airflow.states[RUNNING] = "up_for_retry"
        api.refuse.clear()
        await api.until(lambda: api.deleted)


@asynchronous
async def test_a_pod_that_ends_before_it_was_seen_to_run_has_not_been_kept_from_starting(follow, lines):
    """For a moment it is still pending, with a container that has ended: its log is read, and the pod stays."""
    async with follow(ends=True, on_finish_action="keep_pod") as (api, _, event):
        api.log = [b"2026-01-01T00:00:01.000000000Z the last words"]
        await api.run("p", "Pending", 3)
        await until(lambda: any("exit code 3" in line for line in lines()))
        assert not event.done()
        await api.run("p", "Failed", 3)
        assert isinstance(await result(event), TaskFailedEvent)
        assert "[base] the last words" in lines()
        assert api.deleted == []


@asynchronous
async def test_an_image_that_may_still_come_is_waited_for_and_looked_at_again(follow, lines, monkeypatch):
    """Nothing of the pod changes; that it lasts is what makes it final."""
    monkeypatch.setattr(trigger, "_LOOK_AGAIN", 0.1)
    async with follow() as (api, _, event):
        await api.run("p", "Pending", **no_image(28))
        await until(lambda: any("does not exist in registry" in line for line in lines()))
        assert not event.done()
        assert payload(await result(event))[0] == "stopped"


@asynchronous
async def test_what_lasts_is_final_as_soon_as_it_has_lasted(follow, monkeypatch):
    monkeypatch.setattr(trigger, "_LOOK_AGAIN", 60)
    async with follow() as (api, _, event):
        await api.run("p", "Pending", **no_image(28))
        assert payload(await result(event))[0] == "stopped"


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        (
            [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}],
            "schedule_timeout_seconds): No node can take pod p now",
        ),
        ([{"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(60)}], "startup_timeout_seconds)"),
    ],
)
@asynchronous
async def test_a_pod_that_does_not_start_in_time_fails_the_task_and_goes(follow, lines, conditions, word):
    async with follow(ends=True, schedule_timeout=5, startup_timeout=5, on_finish_action="keep_pod") as (api, _, event):
        await api.run("p", "Pending", conditions=conditions, metadata={"creationTimestamp": ago(60)})
        found = await result(event)
        assert isinstance(found, TaskFailedEvent)
        assert word in lines()[-1]
        # Whoever has the verdict reads that line, and not what a pod waits for that is gone.
        assert found.xcoms["platform_verdict"]["sentence"] == lines()[-1]
        assert len(api.deleted) == 1


HELD = {
    "spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]},
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
}
QUEUED = {"kubernetes_pod_operator": "True", "kueue.x-k8s.io/managed": "true"}


@asynchronous
async def test_a_pod_that_kueue_holds_is_waited_for_however_long_and_why_is_said(follow, lines, monkeypatch):
    monkeypatch.setattr(trigger, "_LOOK_AGAIN", 0.2)
    async with follow(ends=True, pod=False, schedule_timeout=1) as (api, _, event):
        metadata = {"creationTimestamp": ago(3600), "labels": QUEUED, "uid": "u"}
        api.workloads = [
            {
                "metadata": {"creationTimestamp": ago(60), "ownerReferences": [{"uid": "u"}]},
                "spec": {"queueName": "airflow-gpu"},
                "status": {
                    "conditions": [
                        {
                            "type": "QuotaReserved",
                            "status": "False",
                            "message": "insufficient unused quota for cpu in flavor f, 2 more needed",
                            "lastTransitionTime": ago(60),
                        }
                    ]
                },
            }
        ]
        await api.run("p", "Pending", metadata=metadata, **HELD)
        why = "in queue airflow-gpu of namespace team, which is full: it lacks 2 CPU"
        await until(lambda: any(why in line for line in lines()))
        # Once it is let go, however long that took, the time until it must have a node begins.
        let_go = time.time() + 1.2
        await until(lambda: time.time() > let_go)
        waits = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}
        await api.run("p", "Pending", metadata=metadata, **waits)
        before = time.time()
        assert isinstance(await result(event), TaskFailedEvent)
        assert time.time() - before > 0.8
        assert any("had no node within 1 s" in line for line in lines())


@asynchronous
async def test_a_running_pod_is_not_late_however_long_it_took_to_start(follow):
    async with follow(ends=True, schedule_timeout=1, startup_timeout=1) as (api, _, event):
        await api.run("p", "Running", metadata={"creationTimestamp": ago(60)})
        await until(lambda: api.count("/log"))
        await api.run("p", "Succeeded", 0)
        assert await result(event) == TaskSuccessEvent()
        assert api.deleted == []


@asynchronous
async def test_a_deadline_is_judged_by_the_pod_as_it_is_and_not_as_it_was_seen(follow):
    async with follow(ends=True, execution_deadline=time.time() + 1.2) as (api, _, event):
        await api.run("p", "Running")
        await until(lambda: api.count("/log"))
        # It ends in time, and the watch does not say so.
        await api.put("p", "Succeeded", silent=True, metadata={"creationTimestamp": ago(1)})
        await until(lambda: asks_for(api))
        assert api.deleted == []
        assert not event.done()
        await api.run("p", "Succeeded", 0)
        assert await result(event) == TaskSuccessEvent()


@pytest.mark.parametrize("action", ["delete_pod", "keep_pod"])
@asynchronous
async def test_a_task_that_runs_out_of_time_fails_and_its_pod_goes(follow, action):
    async with follow(execution_deadline=time.time() + 0.2, on_finish_action=action, grace_period=7) as (api, _, event):
        uid = (await api.run("p", "Running"))["metadata"]["uid"]
        status, message = payload(await result(event))
        assert (status, message) == ("timeout", "Pod p: execution_timeout has passed.")
        assert api.deleted == [(uid, {"preconditions": {"uid": uid}, "gracePeriodSeconds": 7})]


@asynchronous
async def test_a_task_that_runs_out_of_time_while_its_pod_does_well_has_a_verdict(follow, monkeypatch):
    saved = {}
    monkeypatch.setattr(evidence, "save", saved.__setitem__)
    async with follow(ends=True, execution_deadline=time.time() + 0.2) as (api, _, event):
        await api.run("p", "Running")
        told = (await result(event)).xcoms["platform_verdict"]
    (found,) = saved.values()
    assert told == found["verdict"]
    assert (told["cause"], told["kind"], told["object"]) == ("timed-out", "user", "task")
    assert told["sentence"] == found["reason"] == "Pod p: execution_timeout has passed."


@asynchronous
async def test_a_cluster_that_does_not_answer_ends_nothing(follow, monkeypatch):
    async with follow(ends=True, execution_deadline=time.time() + 0.2) as (api, _, event):
        await api.run("p", "Running")
        api.refuse["/pods/p$"] = 503
        await until(lambda: asks_for(api) > 1)
        assert not event.done()
        api.refuse.clear()
        assert isinstance(await result(event), TaskFailedEvent)


@asynchronous
async def test_events_of_a_failed_pod_are_logged_where_that_is_wanted(follow, lines):
    async with follow(ends=True, events_on_failure=True) as (api, _, event):
        api.events = [{"reason": "BackOff", "message": "again"}]
        await api.run("p", "Failed", 1)
        await result(event)
        assert "Pod event: BackOff: again" in lines()


@asynchronous
async def test_a_failed_pod_is_described_where_that_is_wanted_and_the_last_line_says_why(follow, lines):
    async with follow(ends=True, events_on_failure=True, pod_on_failure=True) as (api, _, event):
        api.events = [{"reason": "BackOff", "message": "again"}]
        await api.run("p", "Failed", 1)
        await result(event)
        *_, described, why = lines()
        assert why == "Container base of pod p ended with exit code 1; its log says why."
        said, _, pod = described.partition(": ")
        assert said == "Pod p as it was"
        assert json.loads(pod)["status"]["phase"] == "Failed"


@asynchronous
async def test_events_of_a_pod_that_is_slow_to_start_are_each_said_once(follow, lines, monkeypatch):
    monkeypatch.setattr(pod_events, "_SLOW", 0.1)
    async with follow(ends=True, events_on_startup=True) as (api, _, event):
        api.events = [{"reason": "FailedMount", "message": "no such claim", "type": "Warning"}]
        await until(lambda: api.count(r"^GET .*/events") > 1)
        api.events.append({"reason": "Pulled", "message": "at last"})
        await until(lambda: "Pod event: Pulled: at last" in lines())
        assert lines().count("Pod event: FailedMount: no such claim") == 1
        asked = api.count(r"^GET .*/events")
        await api.run("p", "Running")
        await api.run("p", "Succeeded", 0)
        await result(event)
        assert api.count(r"^GET .*/events") == asked


@asynchronous
async def test_events_of_a_pod_that_waited_long_for_its_node_are_read_soon_once_it_has_one():
    node = {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(0)}
    pod = {"metadata": {"creationTimestamp": ago(600)}, "status": {"phase": "Pending", "conditions": []}}
    events = pod_events.PodEvents(None, "team")
    events._pause, events._looked = 300, time.time()
    assert events.due(pod) - time.time() > 200
    pod["status"]["conditions"] = [node]
    assert 0 < events.due(pod) - time.time() < 11


@asynchronous
async def test_events_of_a_pod_that_is_slow_to_start_are_read_and_not_said_where_nobody_wants_them(
    follow, lines, monkeypatch
):
    monkeypatch.setattr(pod_events, "_SLOW", 0.1)
    async with follow(ends=True) as (api, _, event):
        api.events = [{"reason": "FailedMount", "message": "no such claim"}]
        await until(lambda: api.count(r"^GET .*/events"))
        await api.run("p", "Succeeded", 0)
        await result(event)
        assert not any("Pod event" in line for line in lines())


@asynchronous
async def test_a_task_that_does_well_costs_no_look_at_events(follow):
    async with follow(ends=True) as (api, _, event):
        await api.run("p", "Running")
        await api.run("p", "Succeeded", 0)
        await result(event)
        assert api.count(r"^GET .*/events") == 0


@asynchronous
async def test_what_a_pod_waits_for_is_said_once(follow, lines):
    def said():
        return [line for line in lines() if "waits for" in line]

    async with follow(ends=True) as (api, _, event):
        for number in (1, 2, 3):
            message = f"0/{number} nodes are available: {number} Insufficient cpu."
            unschedulable = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
            await api.run("p", "Pending", conditions=unschedulable)
            await until(said)
        await api.run("p", "Succeeded", 0)
        await result(event)
        assert len(said()) == 1
        assert said()[0].startswith("Pod p waits for cpu on a node")


@asynchronous
async def test_what_a_pod_waits_for_is_counted_while_it_waits(follow):
    def causes():
        return sorted(waits._causes.values())

    async with follow(ends=True) as (api, _, event):
        message = "0/1 nodes are available: 1 Insufficient cpu."
        unschedulable = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
        await api.run("p", "Pending", conditions=unschedulable)
        await until(lambda: causes() == ["no-room"])
        await api.run("p", "Running")
        await until(lambda: causes() == [])
        await api.run("p", "Pending", conditions=unschedulable)
        await until(causes)
        event.cancel()
        await asyncio.wait([event])
        assert causes() == []


@asynchronous
async def test_what_a_pod_waits_for_is_said_again_when_it_has_changed(follow, lines, monkeypatch):
    monkeypatch.setattr(told, "_SOONEST", 0.2)
    monkeypatch.setattr(trigger, "_LOOK_AGAIN", 0.1)
    monkeypatch.setattr(crowd, "_KEEP", 0)

    def said():
        return [line for line in lines() if "waits for" in line]

    async def waits(name, age):
        message = "0/1 nodes are available: 1 Insufficient cpu."
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        condition["lastTransitionTime"] = ago(0)
        await api.run(name, "Pending", conditions=[condition], metadata={"creationTimestamp": ago(age)})

    async with follow(ends=True) as (api, _, _):
        await waits("p", 0)
        await until(said)
        assert "no task ahead" in said()[0]
        for name in ("older", "another"):
            await api.put(name, metadata={"creationTimestamp": ago(60)})
            await waits(name, 60)
        await until(lambda: "(2 tasks ahead)" in said()[-1])
        number = len(said())
        await asyncio.sleep(0.5)
        assert len(said()) == number <= 3


@asynchronous
async def test_a_pod_that_no_node_takes_is_told_with_the_nodes_from_the_first_line(follow, lines):
    """Without them, several reasons at once could be anything."""
    async with follow(ends=True) as (api, _, _):
        api.nodes = [
            {"metadata": {"name": "a", "labels": {"gpu": "t4"}}, "spec": {}, "status": {"allocatable": {"cpu": "2"}}},
            {
                "metadata": {"name": "b"},
                "spec": {"taints": [{"key": "team", "effect": "NoSchedule"}]},
                "status": {"allocatable": {"cpu": "2"}},
            },
        ]
        message = (
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated "
            "taint(s)."
        )
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        await api.run("p", "Pending", conditions=[condition], spec={"nodeSelector": {"gpu": "a100"}, "tolerations": []})
        await until(lambda: [line for line in lines() if "node" in line])
        (line,) = (line for line in lines() if "node" in line)
        assert line.startswith("No node has the label gpu=a100 that pod p asks for (gpu is t4 on the nodes)")
        assert api.count("/events") == 0


@asynchronous
async def test_a_trigger_that_fails_hands_the_task_back_and_counts(monkeypatch, airflow):
    async def found(ref):
        pass

    async def refused(cluster, namespace):
        raise ApiError(403, "Forbidden", "no")

    monkeypatch.setattr(trigger.Cluster, "get", found)
    monkeypatch.setattr(trigger.PodWatch, "get", refused)
    one = PodTrigger("p", "team", ClusterRef(None), redefer_count=2)
    one.task_instance = instance()
    found = (await anext(one.run())).payload
    assert (found["status"], found["_redefer_count"], found["outage"]) == ("error", 2, False)
    assert "403 Forbidden: no" in found["message"]


@asynchronous
async def test_a_cluster_that_is_not_found_is_looked_for_again(tmp_path, airflow, lines, monkeypatch):
    found, answers = Cluster.get, [ApiError(403, "Forbidden", "no"), ValueError("no plugin"), ValueError("no plugin")]

    async def get(ref):
        if answers:
            raise answers.pop()
        return await found(ref)

    monkeypatch.setattr(trigger.Cluster, "get", get)
    async with serve(tmp_path) as (api, ref):
        await api.run("p", "Succeeded", 0)
        one = PodTrigger("p", "team", ref, ends=True)
        one.task_instance = instance()
        assert await result(anext(one.run())) == TaskSuccessEvent()
        assert [line for line in lines() if "no plugin" in line] == [
            "Pod p cannot be looked at now, and is left alone; it is tried again. no plugin"
        ]
        finisher._task.cancel()
        finisher._sweeper.cancel()


@pytest.fixture
def refuse():
    """Have the watch that a trigger follows be refused, and its trigger be told soon."""

    async def refuse(api, one):
        watch = await PodWatch.get(await Cluster.get(one.cluster), "team")
        watch.timing = dataclasses.replace(watch.timing, patience=0, pause=0.05)
        api.refuse["watch=true"] = 403
        await api.drop_watches()
        await api.until(lambda: watch.refusal)

    return refuse


@asynchronous
async def test_a_watch_that_is_refused_for_minutes_ends_nothing_and_the_log_says_so(follow, lines, refuse):
    def said():
        return [line for line in lines() if "get, list and watch pods in the namespace team" in line]

    async with follow(ends=True) as (api, one, event):
        await api.run("p", "Running")
        await until(lambda: api.count("/log"))
        began = time.monotonic()
        await refuse(api, one)
        await until(lambda: len(said()) == 2)
        assert time.monotonic() - began >= trigger._TICK
        assert not event.done()
        api.refuse.clear()
        await api.run("p", "Succeeded", 0)
        assert await result(event) == TaskSuccessEvent()
        assert api.deleted == []


@asynchronous
async def test_a_watch_that_is_refused_for_too_long_fails_the_trigger_and_leaves_the_pod(follow, refuse, monkeypatch):
    monkeypatch.setattr(trigger, "_OUTAGE", 0.3)
    async with follow(ends=True) as (api, one, event):
        await api.run("p", "Running")
        await refuse(api, one)
        found = (await result(event)).payload
        assert (found["status"], found["outage"]) == ("error", True)
        assert api.deleted == []


@asynchronous
async def test_a_task_runs_out_of_time_while_its_watch_is_refused_too(follow, refuse):
    async with follow(execution_deadline=time.time() + 1) as (api, one, event):
        await api.run("p", "Running")
        await refuse(api, one)
        assert payload(await result(event)) == ("timeout", "Pod p: execution_timeout has passed.")
        assert len(api.deleted) == 1


async def killed(one, event):
    event.cancel()
    await asyncio.wait([event])
    await one.on_kill()


@pytest.mark.parametrize("state", ["failed", "success", "skipped", None, "scheduled", "queued", "running"])
@asynchronous
async def test_a_person_who_ends_the_task_ends_the_pod(follow, airflow, state):
    async with follow(grace_period=3) as (api, one, event):
        uid = (await api.run("p", "Running"))["metadata"]["uid"]
        await until(lambda: one._uid)
        airflow.states[RUNNING] = state
        await killed(one, event)
        assert api.deleted == [(uid, {"preconditions": {"uid": uid}, "gracePeriodSeconds": 3})]


@asynchronous
async def test_a_pod_goes_however_often_airflow_cancels_its_deletion(follow, airflow):
    """It does in each round, until the trigger is gone (``TriggerRunner.cancel_triggers``)."""
    async with follow() as (api, one, event):
        await api.run("p", "Running")
        await until(lambda: one._uid)
        airflow.states[RUNNING] = "failed"
        event.cancel()
        await asyncio.wait([event])
        for _ in range(3):
            ending = asyncio.ensure_future(one.on_kill())
            await asyncio.sleep(0)
            ending.cancel()
            await asyncio.wait([ending])
            assert ending.cancelled()
        await until(lambda: api.deleted)
        await until(lambda: not trigger._kills)
        assert len(api.deleted) == 1


@asynchronous
async def test_the_pod_of_a_deleted_run_goes(follow, airflow):
    async with follow() as (api, one, event):
        await api.run("p", "Running")
        await until(lambda: one._uid)
        airflow.states.clear()
        await killed(one, event)
        assert len(api.deleted) == 1


@asynchronous
async def test_a_pod_may_outlive_its_task(follow, airflow):
    async with follow(on_kill_action="keep_pod") as (api, one, event):
        await api.run("p", "Running")
        await until(lambda: one._uid)
        airflow.states[RUNNING] = "failed"
        await killed(one, event)
        assert api.deleted == []


@pytest.mark.parametrize("code", [None, 0])
@asynchronous
async def test_a_triggerer_that_was_late_leaves_the_pod_to_the_one_that_has_it_now(follow, airflow, lines, code):
    """Still deferred; or over, by what the other triggerer saw."""
    async with follow() as (api, one, event):
        await api.run("p", "Running")
        await until(lambda: one._uid)
        event.cancel()
        await asyncio.wait([event])
        if code is not None:
            await api.run("p", "Succeeded", code)
            airflow.states[RUNNING] = "success"
        await one.on_kill()
        assert api.deleted == []
        assert HANDED_OVER in lines()[-1]


@asynchronous
async def test_a_triggerer_that_was_late_leaves_the_pod_that_was_launched_since(follow, airflow):
    async with follow() as (api, one, event):
        await until(lambda: one._uid)
        event.cancel()
        await asyncio.wait([event])
        await api.delete("p")
        await api.run("p", "Running")
        airflow.states[RUNNING] = "running"
        await one.on_kill()
        assert api.deleted == []


@asynchronous
async def test_where_airflow_does_not_say_that_the_task_is_over_the_pod_stays(follow, airflow):
    async with follow() as (api, one, event):
        await api.run("p", "Running")
        await until(lambda: one._uid)
        airflow.failure = ConnectionError("away")
        await killed(one, event)
        assert api.deleted == []


@asynchronous
async def test_a_trigger_that_stops_leaves_the_pod(follow):
    async with follow() as (api, one, event):
        await api.run("p", "Running")
        await until(lambda: one._uid)
        event.cancel()
        await asyncio.wait([event])
        await one.cleanup()
        assert api.deleted == []


def stored(one):
    """The trigger as it comes out of Airflow's database."""
    path, arguments = one.serialize()
    assert path == f"{type(one).__module__}.{type(one).__qualname__}"
    return type(one)(**Trigger._decrypt_kwargs(Trigger.encrypt_kwargs(arguments)))


def test_a_stored_trigger_is_the_same():
    one = PodTrigger(
        "p", "team", ClusterRef("other", in_cluster=False, context="c"), base="main", get_logs=False,
        container_logs=["a", "b"], init_container_logs=True, prefix=False, schedule_timeout=1, startup_timeout=2,
        execution_deadline=3.5, on_finish_action="keep_pod", on_kill_action="keep_pod", grace_period=4,
        xcom_sidecar=True, skip_on_exit_code=[5], events_on_startup=True, events_on_failure=True,
        pod_on_failure=True, ends=True, redefer_count=6, uid="u", attempt={"again": 7},
        infrastructure_retries=8, retry_deleted=True, grows=True,
    )  # fmt: skip
    again = stored(one)
    assert again.serialize() == one.serialize()
    assert again.cluster == one.cluster


def test_a_trigger_of_another_release_can_be_read():
    older = PodTrigger(name="p", namespace="team", cluster={"conn_id": None})
    assert (older.base, older.on_finish_action, older.ends) == ("base", "delete_pod", False)
    newer = PodTrigger(**{**older.serialize()[1], "of_a_newer_release": 1})
    assert newer.serialize() == older.serialize()
