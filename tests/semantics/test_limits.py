"""Airflow's limits hold for pods: whatever a task's state is called meanwhile, its pod counts."""

from urllib.parse import quote

import pytest


def _all_succeeded_at_once(run, pods):
    """Each task has succeeded with its first try, and had one pod."""
    assert run.ended() == "success"
    instances = run.instances()
    assert {(one["state"], one["try_number"]) for one in instances} == {("success", 1)}
    assert len(run.pods()) == len(instances) == pods


@pytest.mark.runs("semantics_pool")
def test_a_pool_is_never_exceeded(run, record):
    _all_succeeded_at_once(run, 20)
    # More than one: the test would pass if everything were serial.
    assert record.most_at_once(run_id=run.run_id) == 2


@pytest.mark.runs("semantics_max_active_tasks")
def test_40528_max_active_tasks_is_never_exceeded(run, record):
    _all_succeeded_at_once(run, 20)
    assert 1 < record.most_at_once(run_id=run.run_id) <= 3


@pytest.mark.runs("semantics_max_active_tis_per_dag", times=3)
def test_61700_max_active_tis_per_dag_is_never_exceeded(runs, record):
    for run in runs:
        _all_succeeded_at_once(run, 1)
    assert record.most_at_once(dag_id=run.dag_id) == 1


@pytest.mark.runs("semantics_max_active_tis_per_dagrun", times=2)
def test_max_active_tis_per_dagrun_is_never_exceeded(runs, record):
    for run in runs:
        _all_succeeded_at_once(run, 3)
        assert record.most_at_once(run_id=run.run_id) == 1


@pytest.mark.runs("semantics_max_active_runs", times=2)
def test_max_active_runs_is_never_exceeded(runs, record):
    for run in runs:
        _all_succeeded_at_once(run, 1)
    assert record.most_at_once(dag_id=run.dag_id) == 1


@pytest.mark.runs("semantics_priority")
def test_the_heavier_task_gets_its_pod_first(run, record):
    _all_succeeded_at_once(run, 5)
    assert [pod.labels["task_id"] for pod in run.pods()] == [f"weight_{weight}" for weight in (5, 4, 3, 2, 1)]
    assert record.most_at_once(run_id=run.run_id) == 1


@pytest.mark.runs("semantics_mapped")
def test_a_task_mapped_over_50_has_a_pod_for_each(run):
    _all_succeeded_at_once(run, 50)
    given = {pod.labels["map_index"]: pod.manifest["spec"]["containers"][0]["args"] for pod in run.pods()}
    assert given == {str(number): ["number", str(number)] for number in range(50)}


def test_71580_none_of_500_tasks_that_end_at_once_is_failed_for_its_state(start, airflow):
    run = start("semantics_end_at_once")
    _all_succeeded_at_once(run, 500)

    def events(name):
        path = f"eventLogs?dag_id={run.dag_id}&run_id={quote(run.run_id)}&event={quote(name)}"
        return airflow.call("GET", path)["total_entries"]

    assert events("running") >= 500, "the run's events are found"
    # Where the scheduler writes what it has found (airflow.jobs.scheduler_job_runner, process_executor_events).
    assert events("state mismatch") == 0
