"""One queue that holds one pod: who waits is told why, and who is more urgent goes first."""

import itertools
import time

import pytest
from local.cluster import releases, settings
from local.cluster.console import wait_for
from tests.causes import logs
from tests.semantics.run import gone

#: Seconds from a pod that is held to the line that says why.
SOON = 15


@pytest.fixture
def held(airflow):
    """Wait until the log of a run's task says why it is held; the line, and how long after its pod that was written."""

    def held(run):
        def said():
            lines = logs.read(airflow, run.instance("task")) if run.pods() else []
            return next((line for line in lines if "queue airflow-gpu of namespace support" in line.text), None)

        line = wait_for("why the task is held", said, seconds=60, every=0.5)
        return line.text, line.time - run.pods()[0].first_seen

    return held


def never_two_at_once(pods):
    """No pod was created before the one before it had stopped."""
    for before, after in itertools.pairwise(pods):
        assert before.terminated <= after.first_seen


def test_helm_test_finds_every_queue_at_work(installed):
    said = releases.helm("test", settings.RELEASE, "--namespace", settings.NAMESPACE, "--logs", "--timeout=120s")
    assert "Pool gpu: 1 node ready, with " in said
    assert "queue" not in said


def test_a_task_that_is_held_says_why_and_goes_with_its_pod_when_a_person_ends_it(start, held, airflow, kubectl):
    first = start("plain", 600)
    first.running_pod("task")
    second = start("plain", 5)
    text, after = held(second)
    assert "waits in queue airflow-gpu of namespace support, which is full: it lacks 0.1 CPU" in text
    assert "(1 admitted)" in text
    assert after <= SOON
    in_api_server = ("exec", "-n", settings.NAMESPACE, "deploy/airflow-api-server", "-c", "api-server", "--")
    why = kubectl(*in_api_server, "airflow-platform", "why", second.dag_id, "task", second.run_id)
    assert "waits in queue airflow-gpu of namespace support, which is full" in " ".join(why.split())
    (pod,) = second.pods()
    wait_for("more than its schedule_timeout_seconds", lambda: time.time() - pod.first_seen > 25, seconds=40)
    assert second.states() == {"task": "deferred"}
    assert pod.manifest["spec"]["schedulingGates"]
    airflow.call("PATCH", f"{second.path}/taskInstances/task", new_state="failed")
    gone(pod)
    airflow.call("PATCH", first.path, state="failed")
    gone(first.pods()[0], seconds=60)


def test_a_task_of_higher_priority_takes_the_place_of_another_which_goes_on_at_no_cost_of_a_retry(start):
    low = start("low", 20)
    first = low.running_pod("task")
    high = start("high", 5)
    assert high.ended() == "success"
    assert low.ended() == "success"
    assert [one["try_number"] for one in (*low.instances(), *high.instances())] == [1, 1]
    pods = low.pods()
    assert len(pods) == 2
    assert pods[0].uid == first.uid
    never_two_at_once(pods)
    log = low.log("task")
    assert any("was stopped by Kueue to make room in its queue for a pod of higher priority" in line for line in log)
    assert any("no retry is spent" in line for line in log)


def test_a_task_that_its_queue_can_never_hold_fails_and_says_so(start, held):
    run = start("too_big", 5)
    text, after = held(run)
    assert "asks for 0.2 CPU, and queue airflow-gpu of namespace support allows 0.1 CPU in all" in text
    assert after <= SOON
    instance = run.ended_task("task", seconds=90)
    assert (instance["state"], instance["try_number"]) == ("failed", 1)
    gone(run.pods()[0])
