"""Where runs come from."""

import pytest
from local.cluster.console import wait_for
from tests.semantics.run import Run


def _days(runs):
    return [run["logical_date"][:10] for run in runs]


def _of(airflow, dag_id, run_type):
    found = airflow.call("GET", f"dags/{dag_id}/dagRuns?order_by=logical_date&limit=100")["dag_runs"]
    return [one for one in found if one["run_type"] == run_type]


def test_a_backfill_runs_each_day_once(airflow, record, parsed):
    dag_id = "semantics_backfill"
    parsed(dag_id)
    airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)
    days = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-03T00:00:00Z"}
    made = airflow.call("POST", "backfills", dag_id=dag_id, max_active_runs=2, **days)
    wait_for("the backfill", lambda: airflow.call("GET", f"backfills/{made['id']}")["completed_at"], seconds=600)
    found = _of(airflow, dag_id, "backfill")
    assert _days(found) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    for one in found:
        run = Run(airflow, record, dag_id, one["dag_run_id"])
        assert run.ended() == "success"
        assert any(f"] {one['logical_date'][:10]} default" in line for line in run.log("task"))
    # A run's id is too long for a label as it is: the pods are known by their DAG.
    assert len(record.pods(dag_id=dag_id)) == 3


def test_catchup_runs_each_day_and_depends_on_past_keeps_their_order(airflow, record, parsed):
    dag_id = "semantics_catchup"
    parsed(dag_id)
    # The runs of an earlier session are gone: parsing the file again makes the first day the next one.
    airflow.call("PUT", f"parseDagFile/{airflow.dag(dag_id)['file_token']}")
    wait_for("the first day", lambda: airflow.dag(dag_id)["next_dagrun_logical_date"][:10] == "2026-01-01", seconds=60)
    airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)

    def ended():
        found = _of(airflow, dag_id, "scheduled")
        return found if len(found) == 3 and all(one["state"] in ("success", "failed") for one in found) else None

    found = wait_for("three runs", ended, seconds=600)
    assert _days(found) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert {one["state"] for one in found} == {"success"}
    pods = record.pods(dag_id=dag_id)
    assert [_day_of(pod) for pod in pods] == _days(found)
    assert record.most_at_once(dag_id=dag_id) == 1


def _day_of(pod):
    return pod.manifest["spec"]["containers"][0]["command"][1]


@pytest.mark.parametrize("by", ["rest", "cli"])
def test_a_run_is_triggered(by, airflow, record, parsed, start, kubectl):
    dag_id = "semantics_triggered"
    if by == "rest":
        run = start(dag_id, conf={"word": "by-rest"})
    else:
        parsed(dag_id)
        airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)
        words = ("airflow", "dags", "trigger", dag_id, "--run-id", "by-cli", "--conf", '{"word": "by-cli"}')
        kubectl("exec", "-n", "airflow", "deployment/airflow-scheduler", "-c", "scheduler", "--", *words)
        run = Run(airflow, record, dag_id, "by-cli")
    assert run.ended() == "success"
    assert any(line.endswith(f"] by-{by}") for line in run.log("task"))
    assert len(run.pods()) == 1
