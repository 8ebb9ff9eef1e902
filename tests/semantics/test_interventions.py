"""Tasks that something ends: a timeout, a person, a node, a quota."""

import json
from datetime import datetime, timezone
from functools import partial
from types import SimpleNamespace

import pytest
from kubernetes.client import V1Eviction, V1ObjectMeta
from local.cluster import settings
from local.cluster.console import wait_for
from tests.semantics.run import gone


def _seconds(of_a_try):
    return (
        datetime.fromisoformat(of_a_try["end_date"]) - datetime.fromisoformat(of_a_try["start_date"])
    ).total_seconds()


@pytest.mark.runs("semantics_timeout")
def test_67227_execution_timeout_ends_the_try_and_its_pod(run):
    instance = run.ended_task("too_long")
    assert (instance["state"], instance["try_number"]) == ("failed", 2)
    first, second = run.tries("too_long")
    for one in (first, second):
        assert 29 <= _seconds(one) <= 35
    pods = run.pods("too_long")
    assert [pod.labels["try_number"] for pod in pods] == ["1", "2"]
    for pod, one in zip(pods, (first, second), strict=True):
        assert gone(pod) - datetime.fromisoformat(one["end_date"]).timestamp() <= 30


@pytest.mark.runs("semantics_timeout")
def test_49466_no_pod_runs_on_after_a_timeout_even_where_pods_are_kept(run):
    run.ended_task("kept")
    (pod,) = run.pods("kept")
    wait_for("the pod's end", lambda: pod.terminated, seconds=30)


@pytest.mark.runs("semantics_startup_timeout")
def test_a_pod_that_cannot_start_fails_in_time_and_goes(run):
    instance = run.ended_task("no_such_node")
    assert instance["state"] == "failed"
    assert 19 <= _seconds(instance) <= 40
    (pod,) = run.pods("no_such_node")
    gone(pod)


@pytest.mark.runs("semantics_cleared")
def test_a_task_that_is_cleared_while_it_runs_starts_anew(run, airflow):
    pod = run.running_pod("task")
    body = {"dry_run": False, "dag_run_id": run.run_id, "task_ids": ["task"], "only_failed": False}
    airflow.call("POST", f"dags/{run.dag_id}/clearTaskInstances", **body)
    gone(pod, seconds=30)
    assert run.ended() == "success"
    assert [one.labels["try_number"] for one in run.pods()] == ["1", "2"]


@pytest.mark.runs("semantics_marked")
@pytest.mark.parametrize("state", ["failed", "success"])
def test_62398_a_task_that_is_marked_while_it_runs_stops(run, airflow, state):
    pod = run.running_pod(state)
    airflow.call("PATCH", f"{run.path}/taskInstances/{state}", new_state=state)
    gone(pod, seconds=30)
    # It was told to stop, not shot.
    assert pod.container().get("state", {}).get("terminated", {}).get("exitCode", 143) == 143
    instance = run.ended_task(state)
    assert (instance["state"], instance["try_number"]) == (state, 1)
    assert len(run.pods(state)) == 1


@pytest.fixture
def right(kubectl, tmp_path):
    """Take the launcher's right over task pods, and give it back; as Helm, whose object it stays."""
    name = ("rolebinding", f"{settings.RELEASE}-worker", "-n", settings.TASK_NAMESPACE)
    found = json.loads(kubectl("get", *name, "-o", "json"))
    metadata = {key: found["metadata"][key] for key in ("name", "namespace", "labels")}
    binding = {**{key: found[key] for key in ("apiVersion", "kind", "roleRef")}, "metadata": metadata}

    def put(subjects):
        (tmp_path / "binding.json").write_text(json.dumps({**binding, "subjects": subjects}))
        words = ("--server-side", "--field-manager=helm", "--force-conflicts")
        kubectl("apply", *words, "-f", str(tmp_path / "binding.json"))

    yield SimpleNamespace(take=partial(put, []), give_back=partial(put, found["subjects"]))
    put(found["subjects"])


@pytest.mark.beyond_stock("the task fails")
def test_a_task_whose_pod_cannot_be_read_at_its_end_is_finished_later(start, right):
    run = start("semantics_unread")

    def trigger():
        return ((run.instance("task")["trigger"] or {}).get("classpath") or "").rpartition(".")[2]

    wait_for("the trigger of the pod", lambda: trigger() == "PodTrigger", seconds=120, every=0.2)
    right.take()
    wait_for("a task that waits for its pod", lambda: trigger() == "WaitTrigger", seconds=120, every=0.5)
    right.give_back()
    instance = run.ended_task("task", seconds=120)
    assert (instance["state"], instance["try_number"]) == ("success", 1)
    assert any("cannot be read now, and its task is finished once it can" in line for line in run.log("task"))
    assert len(run.pods("task")) == 1


@pytest.fixture
def later(kubectl):
    """Make the ConfigMap that pods of ``semantics_unborn`` wait for."""
    name = ("configmap", "semantics-later", "-n", settings.TASK_NAMESPACE)
    kubectl("delete", "--ignore-not-found", *name)
    yield lambda: kubectl("create", *name, "--from-literal=word=later")
    kubectl("delete", "--ignore-not-found", *name)


def _waiting_pod(run, task_id):
    """The task's pod, once its container cannot start."""

    def found():
        for pod in run.pods(task_id):
            if pod.container().get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError":
                return pod
        return None

    return wait_for(f"the waiting pod of {task_id}", found, seconds=300, every=0.2)


@pytest.mark.beyond_stock("the task fails")
@pytest.mark.parametrize("how", ["pending", "drained"], ids=["59626_deleted", "69052_drained"])
def test_a_pod_lost_before_it_ran_is_made_again_and_uses_no_try(start, core, later, how):
    # Of its own: half a minute without the ConfigMap is the task's end.
    run = start("semantics_unborn")
    pod = _waiting_pod(run, how)
    if how == "pending":
        core.delete_namespaced_pod(pod.name, settings.TASK_NAMESPACE)
    else:
        eviction = V1Eviction(metadata=V1ObjectMeta(name=pod.name, namespace=settings.TASK_NAMESPACE))
        core.create_namespaced_pod_eviction(pod.name, settings.TASK_NAMESPACE, eviction)
    gone(pod, seconds=60)
    later()
    instance = run.ended_task(how)
    assert (instance["state"], instance["try_number"]) == ("success", 1)
    assert len(run.pods(how)) == 2


@pytest.mark.beyond_stock("the log does not say why")
@pytest.mark.runs("semantics_deleted")
def test_59626_a_pod_deleted_while_it_ran_fails_the_task_and_the_log_says_why(run, core):
    pod = run.running_pod("running")
    core.delete_namespaced_pod(pod.name, settings.TASK_NAMESPACE)
    instance = run.ended_task("running", seconds=120)
    assert instance["state"] == "failed"
    assert any(pod.name in line and "delet" in line for line in run.log("running")[-8:])
    assert len(run.pods("running")) == 1


@pytest.mark.beyond_stock("a full quota fails the task")
@pytest.mark.runs("semantics_quota")
@pytest.mark.needs("quota")
def test_63944_tasks_wait_for_quota(run, record):
    assert run.ended() == "success"
    assert {(one["state"], one["try_number"]) for one in run.instances()} == {("success", 1)}
    assert len(run.pods()) == 5
    assert record.most_at_once(run_id=run.run_id) == 2
    said = [task_id for task_id in run.states() if any("quota" in line.lower() for line in run.log(task_id))]
    assert len(said) >= 3


def test_69187_a_task_whose_pod_has_ended_keeps_its_slot_until_it_has_ended_too(start):
    # Of its own: it is over soon, and the second has to come while it runs.
    run = start("semantics_slot_first")
    pod = run.running_pod("first")
    second = start("semantics_slot_second")
    ended = datetime.fromisoformat(run.ended_task("first")["end_date"])
    assert second.ended() == "success"
    (later,) = second.pods()
    assert later.created >= ended.replace(microsecond=0)
    assert (ended - pod.finished()).total_seconds() <= 10
    assert ended.astimezone(timezone.utc) >= pod.finished()
