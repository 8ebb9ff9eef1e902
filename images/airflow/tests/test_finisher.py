import asyncio
import contextlib
import hashlib
import json
import logging

import pytest
from api_server import asynchronous
from task_server import ago, ask, instance, serve, until

from airflow_platform import finisher, metrics
from airflow_platform.cluster import Cluster
from airflow_platform.watch import PodWatch

TASK = ("dag", "run", "task")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(finisher, "_PERIOD", 0.02)
    monkeypatch.setattr(finisher, "_REST", 0)
    monkeypatch.setattr(finisher, "_SWEEP", 0.02)
    monkeypatch.setattr(finisher, "_pending", [])


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """What tells this Airflow from others, as a pod has it."""
    monkeypatch.setattr(finisher, "_ACCOUNT", tmp_path)
    (tmp_path / "namespace").write_text("airflow")
    (tmp_path / "ca.crt").write_text("authority")
    return tmp_path


@pytest.fixture
def airflow(monkeypatch):
    airflow = ask(monkeypatch)
    airflow.states[TASK] = "deferred"
    return airflow


@pytest.fixture
def cluster(tmp_path):
    @contextlib.asynccontextmanager
    async def cluster():
        async with serve(tmp_path) as (api, ref):
            try:
                yield api, await Cluster.get(ref)
            finally:
                for task in (finisher._task, finisher._sweeper):
                    if task:
                        task.cancel()

    return cluster


async def looks(airflow, times=3):
    """Airflow is asked so many times more."""
    until_now = len(airflow.asked)
    await until(lambda: len(airflow.asked) >= until_now + times)


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "up_for_retry", "queued", None])
@asynchronous
async def test_a_pod_goes_when_the_end_of_its_task_is_stored(cluster, airflow, state):
    async with cluster() as (api, there):
        pod = await api.run("p", "Succeeded", 0)
        finisher.delete_when_stored(there, pod, instance(), 5)
        await looks(airflow)
        assert api.deleted == []
        airflow.states[TASK] = state
        await until(lambda: api.deleted)
        uid = pod["metadata"]["uid"]
        assert api.deleted == [(uid, {"preconditions": {"uid": uid}, "gracePeriodSeconds": 5})]
        await until(lambda: not finisher._pending)


@asynchronous
async def test_a_pod_that_did_well_stays_for_a_moment_and_one_that_failed_does_not(cluster, airflow, monkeypatch):
    monkeypatch.setattr(finisher, "_REST", 3600)
    airflow.states[TASK] = "success"
    async with cluster() as (api, there):
        finisher.delete_when_stored(there, await api.run("well", "Succeeded", 0), instance(), None)
        finisher.delete_when_stored(there, await api.run("failed", "Failed", 1), instance(), None)
        await until(lambda: "failed" not in api.pods)
        assert "well" in api.pods
        assert len(finisher._pending) == 1


@asynchronous
async def test_a_pod_goes_when_its_run_was_deleted(cluster, airflow):
    async with cluster() as (api, there):
        finisher.delete_when_stored(there, await api.run("p", "Succeeded", 0), instance(), None)
        airflow.states.clear()
        await until(lambda: api.deleted)


@asynchronous
async def test_while_airflow_does_not_answer_the_pod_stays(cluster, airflow):
    async with cluster() as (api, there):
        airflow.failure = ConnectionError("away")
        airflow.states[TASK] = "success"
        finisher.delete_when_stored(there, await api.run("p", "Succeeded", 0), instance(), None)
        await looks(airflow)
        assert api.deleted == []
        airflow.failure = None
        await until(lambda: api.deleted)


@asynchronous
async def test_a_task_whose_end_is_never_stored_keeps_its_pod(cluster, airflow, monkeypatch):
    monkeypatch.setattr(finisher, "_PATIENCE", 0)
    async with cluster() as (api, there):
        finisher.delete_when_stored(there, await api.run("p", "Succeeded", 0), instance(), None)
        await finisher._task
        assert (api.deleted, finisher._pending) == ([], [])


@asynchronous
async def test_a_deletion_that_fails_is_tried_again(cluster, airflow):
    async with cluster() as (api, there):
        airflow.states[TASK] = "success"
        api.refuse["/pods/p$"] = 503
        finisher.delete_when_stored(there, await api.run("p", "Succeeded", 0), instance(), None)
        await until(lambda: api.count("^DELETE") > 1)
        api.refuse.clear()
        await until(lambda: api.deleted)


@asynchronous
async def test_a_connection_that_breaks_is_no_end_of_the_work(cluster, airflow, monkeypatch):
    import aiohttp

    async with cluster() as (api, there):
        airflow.states[TASK] = "success"
        request, broken = there.request, [1]

        async def breaks(*words, **more):
            if broken:
                raise aiohttp.ServerDisconnectedError(broken.pop())
            return await request(*words, **more)

        monkeypatch.setattr(there, "request", breaks)
        finisher.delete_when_stored(there, await api.run("p", "Succeeded", 0), instance(), None)
        await until(lambda: api.deleted)


@asynchronous
async def test_a_pod_that_has_the_name_by_now_stays(cluster, airflow):
    async with cluster() as (api, there):
        pod = await api.run("p", "Succeeded", 0)
        await api.delete("p")
        await api.run("p", "Running")
        assert await finisher.delete(there, pod) is True
        assert api.deleted == []


@asynchronous
async def test_tasks_of_one_dag_are_asked_for_at_once(airflow):
    mapped = [instance("mapped", map_index=number) for number in (0, 1)]
    airflow.states |= {
        ("dag", "run", "mapped_0"): "success",
        ("dag", "run", "mapped_1"): "deferred",
        ("dag", "other", "task"): None,
    }
    found = await finisher.states([instance(), *mapped, instance(run_id="other"), instance("gone")])
    assert found == {
        ("dag", "run", "task", -1): "deferred",
        ("dag", "run", "mapped", 0): "success",
        ("dag", "run", "mapped", 1): "deferred",
        ("dag", "other", "task", -1): "none",
        ("dag", "run", "gone", -1): "gone",
    }
    assert len(airflow.asked) == 2, "mapped ones apart"


@asynchronous
async def test_many_are_asked_for_in_parts_that_fit_into_a_url(airflow, monkeypatch):
    monkeypatch.setattr(finisher, "_AT_ONCE", 2)
    airflow.states |= {("dag", f"run-{number}", "task"): "success" for number in range(5)}
    found = await finisher.states([instance(run_id=f"run-{number}") for number in range(5)])
    assert set(found.values()) == {"success"}
    assert [len(one.run_ids) for one in airflow.asked] == [2, 2, 1]


@asynchronous
async def test_of_one_mapped_instance_its_siblings_are_not_asked_for(airflow):
    airflow.states[("dag", "run", "mapped_7")] = "failed"
    assert await finisher.states([instance("mapped", map_index=7)]) == {("dag", "run", "mapped", 7): "failed"}
    (asked,) = airflow.asked
    assert asked.map_index == 7


@asynchronous
async def test_a_mapped_task_is_not_taken_for_another_that_is_named_as_airflow_names_it(airflow):
    """Its answer has one name for both: what it says is of the one that it was asked for."""

    async def answer(message, ask=airflow.asend):
        found = await ask(message)
        if "load" in message.task_ids:
            found.task_states = {"run": {"load_1": "success" if "load_1" in message.task_ids else "deferred"}}
        return found

    airflow.states[("dag", "run", "load_1")] = "success"
    airflow.asend = answer
    found = await finisher.states([instance("load", map_index=1), instance("load_1")])
    assert found == {("dag", "run", "load", 1): "deferred", ("dag", "run", "load_1", -1): "success"}


@asynchronous
async def test_what_cannot_be_asked_is_left_out(airflow):
    airflow.failure = ConnectionError("away")
    assert await finisher.states([instance()]) == {}


#: With what `home` has.
HOME = f"@{hashlib.sha256(b'authority').hexdigest()[:12]}"


def left(on_finish="delete_pod", on_kill="delete_pod", age=600, of="airflow", at=HOME, **metadata):
    owner = finisher.Owner("dag", "run", "task", -1, of, "base", on_finish, on_kill)
    annotations = {finisher.OWNER: json.dumps(owner._asdict())} | ({finisher.HOME: at} if at else {})
    return {"creationTimestamp": ago(age), "annotations": annotations, **metadata}


@pytest.fixture
def sweep(cluster, airflow):
    """A pod that somebody left over, seen by a watch and looked for again and again."""

    @contextlib.asynccontextmanager
    async def sweep(phase="Succeeded", code=0, state="success", metadata=None, follow="another"):
        async with cluster() as (api, there):
            airflow.states[TASK] = state
            await api.run("p", phase, code, metadata=left() if metadata is None else metadata)
            # One that is always left over: when it goes, the pod has been looked at too.
            await api.run("sign", "Failed", 1, metadata=left())
            airflow.states[("dag", "run", "task")] = state
            watch = PodWatch(there, "team")
            async with watch.follow(follow):
                await until(lambda: watch.in_sync)
                finisher.look_after(watch)
                yield api, watch
                finisher._watches.discard(watch)
                watch._stop()

    return sweep


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
@asynchronous
async def test_a_pod_that_was_left_over_goes(sweep, state):
    async with sweep(state=state) as (api, _):
        await until(lambda: "p" not in api.pods)


@pytest.mark.parametrize("state", ["deferred", "running", "queued", "scheduled", "up_for_retry", "restarting", None])
@asynchronous
async def test_the_pod_of_a_task_that_goes_on_stays(sweep, airflow, state):
    async with sweep(state=state) as (api, _):
        await looks(airflow)
        assert api.deleted == []


@pytest.mark.parametrize(
    ("phase", "code", "metadata"),
    [
        ("Succeeded", 0, left("keep_pod")),
        ("Failed", 1, left("keep_pod")),
        ("Failed", 1, left("delete_succeeded_pod")),
        ("Succeeded", 0, left("delete_active_pod")),
        ("Running", None, left(on_kill="keep_pod")),
        # It was made just now, by a clock that is ahead of ours.
        ("Succeeded", 0, left(age=-3600)),
        # Of another Airflow, whose tasks have the same names.
        ("Succeeded", 0, left(of="airflow-staging")),
        ("Succeeded", 0, left(at="@0123456789ab")),
        ("Succeeded", 0, left(at=f"second{HOME}")),
        # Of another release, or not ours.
        ("Succeeded", 0, {"creationTimestamp": ago(600)}),
        ("Succeeded", 0, {"creationTimestamp": ago(600), "annotations": {finisher.OWNER: '{"of": "another release"}'}}),
        ("Succeeded", 0, left(deletionTimestamp=ago(1))),
    ],
)
@asynchronous
async def test_a_pod_that_is_to_stay_stays(sweep, phase, code, metadata):
    async with sweep(phase, code, metadata=metadata) as (api, _):
        await until(lambda: "sign" not in api.pods)
        assert "p" in api.pods


@asynchronous
async def test_a_pod_that_its_triggerer_is_about_to_delete_is_not_left_over(sweep, monkeypatch):
    monkeypatch.setattr(finisher, "_REST", 3600)
    async with sweep() as (api, _):
        await until(lambda: "sign" not in api.pods)
        assert "p" in api.pods


@pytest.mark.parametrize(
    ("phase", "code", "metadata"),
    [
        # A person ended the task while the cluster did not answer.
        ("Running", None, left("keep_pod")),
        ("Pending", None, left("delete_succeeded_pod")),
        ("Failed", 1, left()),
        # The launcher never came to read the XCom: its sidecar would run for ever.
        ("Running", 0, left()),
        ("Running", 0, left("delete_active_pod")),
        ("Running", 0, left("delete_succeeded_pod")),
    ],
)
@asynchronous
async def test_a_pod_that_nobody_waits_for_goes(sweep, phase, code, metadata):
    async with sweep(phase, code, state="failed", metadata=metadata) as (api, _):
        await until(lambda: "p" not in api.pods)


@asynchronous
async def test_an_airflow_without_a_name_leaves_all_pods(sweep, home, airflow, monkeypatch):
    (home / "namespace").unlink()
    looked = []
    async with sweep(metadata=left(of="")) as (api, _):
        monkeypatch.setattr(finisher, "_sweep", _counted(finisher._sweep, looked))
        await until(lambda: len(looked) > 2)
        assert api.deleted == []


def _counted(function, calls):
    async def counted(*words):
        await function(*words)
        calls.append(words)

    return counted


@asynchronous
async def test_the_pod_of_a_run_that_was_deleted_goes(sweep, airflow):
    async with sweep("Running", None, state="deferred") as (api, _):
        airflow.states.clear()
        await until(lambda: "p" not in api.pods)


@asynchronous
async def test_a_pod_of_before_goes_by_the_name_of_the_namespace(sweep):
    async with sweep(metadata=left(at=None)) as (api, _):
        await until(lambda: "p" not in api.pods)


@asynchronous
async def test_a_pod_is_known_while_the_authority_of_the_cluster_is_replaced(sweep, home):
    (home / "ca.crt").write_text("new-----END CERTIFICATE-----\nauthority-----END CERTIFICATE-----\n")
    async with sweep() as (api, _):
        await until(lambda: "p" not in api.pods)


@asynchronous
async def test_such_a_pod_of_a_task_that_this_airflow_does_not_know_stays(cluster, airflow):
    """It may be that of another cluster."""
    airflow.states.clear()
    async with cluster() as (api, there):
        await api.run("p", "Succeeded", 0, metadata=left(at=None))
        watch = PodWatch(there, "team")
        async with watch.follow("another"):
            await until(lambda: watch.unfollowed())
            assert await finisher._sweep(watch, {"p"}) == set()
            watch._stop()
        assert (api.deleted, len(airflow.asked)) == ([], 1)


@asynchronous
async def test_a_pod_goes_at_the_second_look(cluster, airflow):
    """Another triggerer, which has just ended the task, deletes it before that."""
    airflow.states[TASK] = "success"
    async with cluster() as (api, there):
        await api.run("p", "Succeeded", 0, metadata=left())
        watch = PodWatch(there, "team")
        async with watch.follow("another"):
            await until(lambda: watch.unfollowed())
            over = await finisher._sweep(watch, set())
            assert (over, api.deleted) == ({api.pods["p"]["metadata"]["uid"]}, [])
            await finisher._sweep(watch, over)
            watch._stop()
        assert "p" not in api.pods


@asynchronous
async def test_a_task_that_was_ended_before_its_trigger_began_leaves_no_pod(cluster, airflow, monkeypatch):
    """Nobody follows a pod in its namespace; and the cluster is not to be had at first."""
    airflow.states[TASK] = "failed"
    async with cluster() as (api, there):
        tries = []

        async def get(ref):
            tries.append(ref)
            if len(tries) == 1:
                raise OSError("not yet")
            return there

        monkeypatch.setattr(finisher.Cluster, "get", get)
        await api.run("p", "Running", metadata=left())
        finisher.look_after_home(["team"])
        await until(lambda: "p" not in api.pods)
        assert set(tries) == {finisher.ClusterRef("kubernetes_default")}
        (watch,) = there.watches.values()
        finisher._watches.discard(watch)
        watch._stop()


def checked(**more):
    return left(labels={"kubernetes_pod_operator": "True", "already_checked": "True"}, **more)


def ended(seconds_ago, reason="Error"):
    end = {"exitCode": 1, "reason": reason, "finishedAt": ago(seconds_ago)}
    return {"containerStatuses": [{"name": "base", "image": "i", "state": {"terminated": end}}]}


@pytest.fixture
def look(cluster, airflow, monkeypatch):
    """Looks at pods, given as (phase, metadata, status), whose task is in a state; what went, and what was counted."""
    counted = []
    monkeypatch.setattr(finisher.stats, "incr", lambda name, **words: counted.append((name, words["tags"])))

    async def look(state, **pods):
        airflow.states[TASK] = state
        async with cluster() as (api, there):
            for name, (phase, metadata, status) in pods.items():
                await api.put(name, phase, metadata=metadata, **status)
            watch = PodWatch(there, "team")
            async with watch.follow("another"):
                await until(lambda: len(watch.unfollowed()) == len(pods))
                over = await finisher._sweep(watch, set())
                for _ in range(2):
                    over = await finisher._sweep(watch, over)
                watch._stop()
            return set(pods) - set(api.pods), counted

    return look


@asynchronous
async def test_a_pod_that_failed_stays_for_as_long_as_it_is_to_be_kept(look, write_config):
    write_config("tasks: {keepFailedPods: 1h}")
    gone, counted = await look(
        "failed",
        young=("Failed", checked(age=9000), ended(3000)),
        old=("Failed", checked(age=9000), ended(4000)),
        fine=("Succeeded", checked(), {}),
        # Nothing of it has run: its time begins with its own.
        evicted=("Failed", checked(age=4000), {}),
        running=("Running", left(), {}),
        own=("Failed", checked(on_finish="keep_pod"), ended(4000)),
    )
    assert gone == {"old", "fine", "evicted", "running"}
    assert {name for name, _ in counted} == {metrics.REAPED}
    assert sorted(tags["reason"] for _, tags in counted) == ["kept", "kept", "left_over", "left_over"]
    assert counted[0][1] == {"namespace": "team", "reason": counted[0][1]["reason"], "dry_run": "false"}


@asynchronous
async def test_pods_that_are_kept_are_counted_where_the_values_keep_any(look, write_config, monkeypatch):
    told = []
    monkeypatch.setattr(finisher.stats, "gauge", lambda name, value, tags: told.append((name, value, tags)))
    pods = {
        "young": ("Failed", checked(age=9000), ended(3000)),
        "old": ("Failed", checked(age=9000), ended(4000)),
        "running": ("Running", left(), {}),
    }
    await look("failed", **pods)
    assert told == []
    write_config("tasks: {keepFailedPods: 1h}")
    await look("failed", **pods)
    assert told
    assert {(name, value, tags["namespace"]) for name, value, tags in told} == {(metrics.KEPT, 1, "team")}


@asynchronous
async def test_a_kept_pod_of_an_earlier_try_goes_while_the_task_goes_on(look, write_config):
    write_config("tasks: {keepFailedPods: 1h}")
    gone, _ = await look(
        "deferred",
        old=("Failed", checked(age=9000), ended(4000)),
        # By it, the next try has more memory.
        needed=("Failed", checked(age=9000), ended(4000, "OOMKilled")),
        # Of this try, which its trigger sees to.
        own=("Failed", left(age=9000), ended(4000)),
    )
    assert gone == {"old"}


@asynchronous
async def test_pods_of_earlier_tries_are_others_work_where_none_are_kept(look):
    assert (await look("deferred", old=("Failed", checked(age=9000), ended(4000)))) == (set(), [])


@asynchronous
async def test_a_reaper_that_only_says_deletes_nothing(look, write_config, caplog):
    write_config("tasks: {reaper: {dryRun: true}}")
    with caplog.at_level(logging.INFO):
        gone, counted = await look("success", p=("Succeeded", left(), {}))
    assert gone == set()
    # Once, at however many looks.
    assert counted == [(metrics.REAPED, {"namespace": "team", "reason": "left_over", "dry_run": "true"})]
    assert "Pod p would be (tasks.reaper.dryRun) deleted: it was left over, its task is over" in caplog.text


@asynchronous
async def test_a_pod_that_is_followed_here_stays(sweep):
    async with sweep(follow="p") as (api, _):
        await until(lambda: "sign" not in api.pods)
        assert "p" in api.pods


@asynchronous
async def test_a_look_that_fails_is_not_the_last(sweep, monkeypatch, caplog):
    failing = [1, 2]

    async with sweep(state="deferred") as (_, watch):
        unfollowed = watch.unfollowed

        def fails():
            if failing:
                raise RuntimeError(failing.pop())
            return unfollowed()

        monkeypatch.setattr(watch, "unfollowed", fails)
        with caplog.at_level(logging.ERROR):
            await until(lambda: not failing)
        assert not finisher._sweeper.done()


def test_whose_a_pod_is_is_written_in_full():
    long = instance("t" * 250, "manual__2026-01-01T00:00:00+00:00", 7)
    found = json.loads(finisher.owner(long, "base", "keep_pod", "delete_pod"))
    assert (found["task_id"], found["run_id"], found["map_index"]) == (long.task_id, long.run_id, 7)
    assert found["airflow"] == "airflow"


@asynchronous
async def test_there_is_one_sweeper_a_process(sweep):
    async with sweep(state="deferred") as (_, watch):
        first = finisher._sweeper
        finisher.look_after(watch)
        assert finisher._sweeper is first
        assert len([task for task in asyncio.all_tasks() if task.get_name() == "sweeper of pods"]) == 1
