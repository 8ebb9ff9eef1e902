"""Airflow's own rules hold in the simulation, and a run says what happened."""

from datetime import UTC, datetime

import pytest

from airflow_platform.testing.airflow import DagError
from airflow_platform.testing.clock import real_monotonic
from airflow_platform.testing.dag import Stuck


def test_tasks_run_one_after_the_other_with_their_arguments_rendered(load_dag):
    run = load_dag("line").run(logical_date=datetime(2026, 2, 3, tzinfo=UTC))
    assert (run.state, run.order) == ("success", ["first", "second"])
    assert run["second"].pod.arguments == ["2026-02-03"]
    assert run["first"].pod.stopped < run["second"].pod.created + 1
    assert run.most_at_once() == 1


def test_time_is_simulated(load_dag, cluster):
    cluster.pod("only").succeeds(after=5 * 3600)
    before = real_monotonic()
    run = load_dag("no_retry").run()
    assert real_monotonic() - before < 60
    assert (run["only"].ended - run["only"].started).total_seconds() == pytest.approx(5 * 3600, abs=60)


def test_a_run_by_hand_begins_where_it_is_said_and_one_of_a_schedule_at_its_next_date(load_dag):
    dag = load_dag("daily")
    assert [dag.run()["work"].pod.arguments for _ in range(2)] == [["2026-01-01"], ["2026-01-02"]]
    later = dag.run(logical_date=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert later["work"].pod.arguments == ["2026-03-02"]
    with pytest.raises(DagError, match="has run at"):
        dag.run(logical_date=datetime(2026, 3, 2, tzinfo=UTC))


def test_a_run_that_is_yet_to_come_is_refused(load_dag):
    with pytest.raises(DagError, match="yet to come"):
        load_dag("daily").run(logical_date=datetime(2200, 1, 1, tzinfo=UTC))


def test_a_retry_waits_for_its_delay_and_counts(load_dag, cluster):
    cluster.pod("first").exits(3)
    run = load_dag("line").run()
    assert (run.state, run["first"].tries) == ("success", 2)
    first, second = run["first"].pods
    assert (first.exit_code, second.exit_code) == (3, 0)
    assert second.created - first.stopped >= 300


def test_what_is_said_is_of_the_next_pod_in_turn(load_dag, cluster):
    cluster.pod("work").exits(3)
    cluster.pod("work").succeeds()
    cluster.pod("work").exits(5)
    dag = load_dag("daily")
    assert [[pod.exit_code for pod in dag.run()["work"].pods] for _ in range(3)] == [[3, 0], [5, 0], [0]]


def test_what_is_said_may_be_of_one_try_or_of_every_pod(load_dag, cluster):
    cluster.pod("work", try_number=2).exits(5)
    cluster.every_pod("work").exits(6)
    dag = load_dag("daily")
    assert [[pod.exit_code for pod in dag.run()["work"].pods] for _ in range(2)] == [[6, 5], [6, 6]]


def test_limits_of_dag_and_pool_hold(load_dag):
    assert load_dag("wide").run().most_at_once() == 2
    assert load_dag("pooled").run().most_at_once(pool="narrow") == 1


def test_trigger_rules_hold(load_dag, cluster):
    cluster.pod("broken").exits(1)
    run = load_dag("rules").run()
    assert run.states == {"broken": "failed", "after": "upstream_failed", "whatever": "success"}
    assert run["broken"].tries == 1
    with pytest.raises(AssertionError, match="after had no pod"):
        run["after"].pod  # noqa: B018


def test_an_xcom_comes_from_a_pod_and_a_python_task_takes_it(load_dag, cluster):
    cluster.pod("given").returns_xcom(21)
    run = load_dag("values").run()
    assert run.state == "success"
    assert run["given"].xcoms["return_value"] == 21
    assert run["double"].xcoms["return_value"] == 42


def test_the_log_of_a_pod_is_that_of_its_task(load_dag, cluster):
    cluster.pod("only").prints("one", "two").exits(1)
    run = load_dag("no_retry").run()
    assert [line for line in run["only"].log if line.startswith("[base]")] == ["[base] one", "[base] two"]
    assert any("ended with exit code 1" in line for line in run["only"].log)
    assert run["only"].pod.log == ["one", "two"]


def test_an_instance_of_a_mapped_task_has_a_pod_of_its_own(load_dag, cluster):
    cluster.pod("each", map_index=1).exits(1)
    run = load_dag("mapped").run()
    assert (run["each", 0].tries, run["each", 1].tries) == (1, 2)
    assert [one.pod.arguments for one in run.all("each")] == [["a"], ["b"]]
    with pytest.raises(KeyError, match="2 task instances"):
        run["each"]


def test_a_dag_that_is_not_there_is_named_with_those_that_are(load_dag):
    with pytest.raises(DagError, match="no DAG 'lime'.*line"):
        load_dag("lime")


def test_a_run_that_does_not_end_says_so(load_dag, cluster):
    cluster.every_pod("only").runs_forever()
    with pytest.raises(Stuck, match=r"does not end: .*'only': 'deferred'"):
        load_dag("no_retry").run()


def test_nothing_of_a_test_is_left_for_the_next(load_dag, cluster):
    assert cluster.pods == []
    assert load_dag("no_retry").run().state == "success"
