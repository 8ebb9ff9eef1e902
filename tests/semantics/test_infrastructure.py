"""Pods that the cluster takes away, or has no room for: their tasks succeed, and no retry is spent."""

import re

import pytest
from kubernetes.client import ApiException, V1Eviction, V1ObjectMeta
from local.cluster import settings
from tests.causes import fillers
from tests.semantics.run import gone, never_two_at_once

pytestmark = pytest.mark.beyond_stock("the task fails")


@pytest.fixture
def evict(core):
    """Have a pod go as a drain does; whether it was there."""

    def evict(pod):
        eviction = V1Eviction(metadata=V1ObjectMeta(name=pod.name, namespace=settings.TASK_NAMESPACE))
        try:
            core.create_namespaced_pod_eviction(pod.name, settings.TASK_NAMESPACE, eviction)
        except ApiException as error:
            if error.status != 404:
                raise
            return False
        return True

    return evict


# Those below have runs of their own: their pods are to run when the test takes them away.
def test_tasks_of_drained_nodes_succeed_without_a_retry(start, evict):
    run, pods = start("semantics_drained"), {}
    for task_id in run.states():
        pods[task_id] = run.running_pod(task_id)
        assert evict(pods[task_id])
    assert run.ended() == "success"
    for one in run.instances():
        assert (one["state"], one["try_number"]) == ("success", 1)
        first, second = run.pods(one["task_id"])
        assert (first.uid, first.name) == (pods[one["task_id"]].uid, second.name)
        never_two_at_once([first, second])
    log = "\n".join(run.log("task_0"))
    assert "is being emptied" in log
    assert "the task is started again (1 of 5), and no retry is spent." in log


@pytest.fixture(scope="module")
def often(start):
    return start("semantics_drained_often")


@pytest.mark.parametrize(
    ("task_id", "times", "state"), [("resumed", 1, "success"), ("once", 2, "failed"), ("never", 1, "failed")]
)
def test_a_task_is_started_again_as_often_as_it_may_be(often, evict, task_id, times, state):
    for _ in range(times):
        pod = often.running_pod(task_id, seconds=120)
        assert evict(pod)
        gone(pod, seconds=60)
    instance = often.ended_task(task_id, seconds=180)
    assert (instance["state"], instance["try_number"]) == (state, 1)
    never_two_at_once(often.pods(task_id))
    assert len(often.pods(task_id)) == (times if state == "failed" else times + 1)
    if state == "failed":
        # Behind it, Airflow says that the trigger has ended.
        assert any("is being emptied" in line and "try again" in line for line in often.log(task_id)[-4:])


def test_a_task_that_is_preempted_succeeds_without_a_retry(start, priorities, core):
    run = start("semantics_preempted")
    first = run.running_pod("task")
    node = first.manifest["spec"]["nodeName"]
    with fillers.room_taken(core, node, "semantics-higher", but=50, without=[first.uid]):
        gone(first, seconds=60)
    instance = run.ended_task("task")
    assert (instance["state"], instance["try_number"]) == ("success", 1)
    assert len(run.pods("task")) == 2
    never_two_at_once(run.pods("task"))
    assert any("to make room" in line and "no retry is spent" in line for line in run.log("task"))


@pytest.mark.runs("semantics_out_of_memory")
@pytest.mark.parametrize("task_id", ["task", "resumed"])
def test_8722_a_retry_has_more_memory_where_the_try_before_ran_out_of_it(run, task_id):
    instance = run.ended_task(task_id)
    assert (instance["state"], instance["try_number"]) == ("success", 2)
    pods = run.pods(task_id)
    assert [pod.container()["state"]["terminated"]["reason"] for pod in pods] == ["OOMKilled", "Completed"]
    resources = [pod.manifest["spec"]["containers"][0]["resources"] for pod in pods]
    assert [(one["requests"]["memory"], one["limits"]["memory"]) for one in resources] == [
        ("16Mi", "64Mi"),
        ("32Mi", "128Mi"),
    ]
    assert any("may use 128Mi now, and not 64Mi" in line for line in run.log(task_id))
    for pod in pods:
        gone(pod)


@pytest.mark.runs("semantics_many")
@pytest.mark.needs("room_for_five")
def test_40_tasks_wait_for_a_quota_of_5_pods(run, record, room_for_five, refused_pods):
    assert run.ended() == "success"
    assert {(one["state"], one["try_number"]) for one in run.instances()} == {("success", 1)}
    assert len(run.pods()) == 40
    assert record.most_at_once(run_id=run.run_id) == 5
    logs = [run.log(task_id) for task_id in run.states()]
    waited = [log for log in logs if any("Quota semantics-many" in line for line in log)]
    assert len(waited) >= 30
    # Who uses the quota is said, and how many wait before; not with every try.
    told = re.compile(
        r"^Quota semantics-many of namespace support is full \(5 of 5 pods used by semantics_many \(5\), 1 asked for\);"
        r" the task waits until pods that it counts have ended, and (no|\d+) tasks? waits? before it\.$"
    )
    assert any(told.match(line) for log in waited for line in log)
    assert all(len([line for line in log if "Quota semantics-many" in line]) <= 8 for log in waited)
    # Those that begin while others wait do not try: a few at first at once, then one at a time.
    assert refused_pods() - room_for_five <= 15
