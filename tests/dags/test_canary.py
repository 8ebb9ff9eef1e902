"""The DAG of the canary, and how it runs."""

import json
from datetime import UTC, datetime

import pytest

from airflow_platform import canary, monitor

DAY = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def log(monkeypatch):
    """What S3 has of the log: simulated pods print the test's words, and there is no S3."""
    at = datetime(2026, 1, 31, 0, 10, 5, tzinfo=UTC)
    line = json.dumps({"timestamp": at.isoformat(), "event": f"[base] canary {at.timestamp() + 2:.3f}"})
    monkeypatch.setattr(canary, "_stored_log", lambda prefix: canary.Log([line], at.timestamp() + 3))


def test_it_is_the_dag_that_the_monitor_looks_for(dagbag):
    assert monitor.CANARY in dagbag.dags


def test_it_runs_what_prints_the_time(dagbag):
    pod = dagbag.dags[monitor.CANARY].get_task("pod")
    assert pod.cmds == canary.COMMAND
    assert pod.downstream_task_ids == {"measure"}


def test_that_of_no_git_sync_has_no_commit(dagbag):
    assert dagbag.dags[monitor.CANARY].get_task("measure").op_kwargs == {"commit": None, "of": "pod"}


def test_it_measures_what_its_pod_has_left(load_dag, log):
    run = load_dag(monitor.CANARY).run(logical_date=DAY)
    assert run.state == "success"
    took = run["measure"].xcoms["return_value"]
    assert (took["started"], took["logged"]) == (2.0, 1.0)


def test_a_pod_that_is_drained_is_no_late_canary(load_dag, cluster, log):
    cluster.pod("pod").is_drained()
    run = load_dag(monitor.CANARY).run(logical_date=DAY)
    assert run.state == "success"
    assert len(run["pod"].pods) == 2


def test_nothing_is_measured_of_a_pod_that_fails(load_dag, cluster, log):
    cluster.every_pod("pod").exits(1)
    run = load_dag(monitor.CANARY).run(logical_date=DAY)
    assert run.states == {"pod": "failed", "measure": "upstream_failed"}
