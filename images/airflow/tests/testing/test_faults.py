"""Each fault is what it says, the platform's own code meets it, and a DAG that does not recover is found out."""

import pytest

from airflow_platform import pod_status, retry
from airflow_platform.testing import every_transient_fault
from airflow_platform.testing.dag import Run, TaskInstance, most_at_once
from airflow_platform.trigger import PodTrigger

#: What the log of the task says of each.
SAID = {
    "node drained": "is being emptied",
    "preempted": "to make room",
    "evicted": "ran out of ephemeral-storage",
    "node lost": "has said nothing",
    "node lost for good": "no longer part of the cluster",
    "node shut down": "was shut down or restarted",
    "deleted while it worked": "was deleted while it ran",
    "deleted before it started": "was deleted before it ran",
    "no node": "waits for",
    "registry away": "cannot reach registry",
    "API server busy": "ServiceUnavailable",
    "quota full": "Quota full of namespace team is full",
    "watch lost": "",
    "triggerer lost": "",
    "failed try": "ended with exit code 1",
}


def test_every_fault_is_known():
    assert {fault.name for fault in every_transient_fault} == set(SAID)


@pytest.mark.parametrize("fault", every_transient_fault, ids=lambda fault: fault.name)
def test_a_fault_shows_and_the_task_recovers(load_dag, cluster, fault):
    fault.befalls(cluster.pod("first"))
    run = load_dag("line").run()
    assert run.state == "success"
    assert run.twice() == []
    assert run["first"].completed == 1
    assert len(run["first"].pods) == (2 if fault.ends else 1)
    assert any(SAID[fault.name] in line for line in run["first"].log)


def test_a_pod_that_is_out_of_memory_fails(load_dag, cluster):
    cluster.pod("only").out_of_memory()
    run = load_dag("no_retry").run()
    assert run.state == "failed"
    assert any("memory" in line for line in run["only"].log)


def test_an_image_that_cannot_be_pulled_fails_its_task(load_dag, cluster):
    cluster.every_pod("only").cannot_pull()
    run = load_dag("no_retry").run()
    assert run.state == "failed"
    assert run["only"].pod.started is None
    assert any("does not exist" in line or "not found" in line for line in run["only"].log)


def test_a_pod_for_which_there_is_no_node_waits_until_its_task_fails(load_dag):
    run = load_dag("nowhere").run()
    assert run["work"].state == "failed"
    assert any("gpu=a100" in line for line in run["work"].log)


def test_a_dag_recovers_from_every_transient_fault(load_dag):
    load_dag("line").recovers_from(every_transient_fault)


def test_an_xcom_of_a_pod_that_was_taken_is_that_of_the_next(load_dag, cluster):
    cluster.every_pod("given").returns_xcom(21)
    load_dag("values").recovers_from(every_transient_fault[:2])


def test_a_full_quota_is_of_one_task_and_one_time(load_dag):
    (full,) = (fault for fault in every_transient_fault if fault.name == "quota full")
    dag = load_dag("no_retry")
    dag.recovers_from([full])
    assert not any("Quota" in line for line in dag.run()["only"].log)


def test_a_dag_without_a_retry_does_not_recover_from_a_failed_try(load_dag):
    (failed,) = (fault for fault in every_transient_fault if fault.name == "failed try")
    with pytest.raises(
        AssertionError, match=r"no_retry does not recover from:\n- failed try at only: the run is failed"
    ):
        load_dag("no_retry").recovers_from([failed])


def test_of_several_faults_in_a_run_the_report_names_the_one_that_is_not_survived(load_dag):
    drained, failed = every_transient_fault[0], every_transient_fault[-1]
    with pytest.raises(AssertionError) as raised:
        load_dag("half_safe").recovers_from([drained, failed])
    found = [line.split(": ")[0] for line in str(raised.value).splitlines() if line.startswith("- ")]
    assert found == ["- failed try at second"]


def test_it_is_the_platforms_own_code_that_recovers(load_dag, monkeypatch):
    drained = every_transient_fault[0]
    load_dag("no_retry").recovers_from([drained])
    monkeypatch.setattr(retry, "costs_no_retry", lambda *_, **__: False)
    with pytest.raises(AssertionError, match="node drained at only: the run is failed"):
        load_dag("no_retry").recovers_from([drained])


def test_a_second_pod_beside_one_on_a_silent_node_is_found_out(load_dag, monkeypatch):
    lost = next(fault for fault in every_transient_fault if fault.name == "node lost")

    def gives_up(self, at, pod):
        """As a trigger that takes a pod for lost whose node is silent."""
        silent = pod and pod_status.node_given_up_at(pod, self.base)
        return self._fails(at, "failed", "given up", None) if silent else None

    async def late(self, at, pod):
        return gives_up(self, at, pod)

    monkeypatch.setattr(PodTrigger, "_late", late)
    with pytest.raises(AssertionError, match="node lost at first: first: two of its pods were at work at once"):
        load_dag("line").recovers_from([lost])


def test_a_dag_that_does_not_succeed_without_a_fault_proves_nothing(load_dag, cluster):
    cluster.every_pod("only").exits(1)
    with pytest.raises(AssertionError, match="Without any fault, it does not succeed"):
        load_dag("no_retry").recovers_from(every_transient_fault)


class _Pod:
    def __init__(self, started, stopped, completed):
        self.started, self.stopped, self.completed = started, stopped, completed


@pytest.mark.parametrize(
    ("pods", "found"),
    [
        ([_Pod(0, 5, False), _Pod(5, 9, True)], []),
        ([_Pod(0, 6, False), _Pod(5, 9, True)], ["two of its pods were at work at once"]),
        ([_Pod(0, None, False), _Pod(5, 9, True)], ["two of its pods were at work at once"]),
        ([_Pod(0, 4, True), _Pod(5, 9, True)], ["2 of its pods did the work to its end"]),
    ],
)
def test_what_is_done_twice_is_seen(pods, found):
    one = TaskInstance("work", -1, "success", 1, "p", pods, [], {}, None, None)
    assert [sentence.split(": ")[1] for sentence in Run("d", "r", "success", [one]).twice()] == found


def test_pods_that_never_ran_are_not_at_work():
    assert most_at_once([_Pod(None, None, False), _Pod(1, 2, True)]) == 1
