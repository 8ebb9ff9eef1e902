"""Metrics of a real platform, in a real Prometheus, with the names that alerts and dashboards have."""

import pytest
from local.cluster.console import wait_for
from tests.monitoring import expressions

#: What there is only once something has happened that no run of the canary makes happen.
RARE = {
    "airflow_platform_kept_pods",
    "airflow_platform_oldest_task_seconds",
    "airflow_platform_pods_reaped_total",
    "airflow_platform_waiting_tasks",
    "airflow_platform_watch_interruptions_total",
    "airflow_ti_failures_total",
    # There is no kube-state-metrics here, and no PgBouncer.
    "kube_job_failed",
    "pgbouncer_pools_client_maxwait_seconds",
}
STAGES = ["synced", "parsed", "scheduled", "launched", "started", "logged"]


@pytest.fixture
def value(prometheus):
    """The value of an expression that has one series, or none."""

    def value(expression):
        result = prometheus("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    return value


def test_every_target_is_scraped(prometheus):
    def states():
        targets = prometheus("targets", state="active")["activeTargets"]
        return {(one["labels"]["job"], one["health"], one["lastError"]) for one in targets}

    up = {(job, "up", "") for job in ("exporter", "monitor", "git-sync")}
    wait_for("the scrapes", lambda: states() == up or None, seconds=60)


def test_every_metric_of_an_alert_or_a_panel_is_there(prometheus, canary):
    missing = set(expressions.named())

    def look():
        missing.difference_update(prometheus("label/__name__/values"))
        return missing <= RARE

    try:
        wait_for("the metrics", look, seconds=150)
    except Exception:
        pytest.fail(f"no series of {sorted(missing - RARE)}")


def test_every_alert_is_evaluated_without_an_error(prometheus):
    def rules():
        found = {rule["name"]: rule for group in prometheus("rules")["groups"] for rule in group["rules"]}
        return found if all(rule["health"] != "unknown" for rule in found.values()) else None

    found = wait_for("the first look at the alerts", rules, seconds=60)
    assert {name: rule["health"] for name, rule in found.items()} == dict.fromkeys(expressions.alerts(), "ok")


def test_what_is_wrong_and_nothing_else_is_about_to_alarm(prometheus, tokens):
    """The one thing that is wrong is what a fixture made so: a token that ends in a week, and one without an end."""

    def alarms():
        found = prometheus("alerts")["alerts"]
        return sorted((one["labels"]["alertname"], one["labels"].get("what", "")) for one in found)

    expected = sorted(("AirflowExpirySoon", what) for what in tokens)
    wait_for("the alerts", lambda: alarms() == expected or None, seconds=90)


def test_the_end_of_a_token_is_told(value, tokens):
    for what, end in tokens.items():
        assert value(f'airflow_platform_expiry_timestamp_seconds{{what="{what}"}}') == end


def test_the_canary_has_told_each_stage(value, canary, airflow, capsys):
    instances, commit = canary
    of = instances["measure"]
    path = f"dags/{of['dag_id']}/dagRuns/{of['dag_run_id']}/taskInstances/measure/xcomEntries/return_value"
    measured = airflow.call("GET", f"{path}?deserialize=true")["value"]

    def told_by_it():
        # A scheduled run before it may have been due for minutes, as the DAG was paused.
        told = {stage: value(f'airflow_platform_canary_stage_seconds{{stage="{stage}"}}') for stage in STAGES}
        return told if told == pytest.approx(measured) else None

    told = wait_for("what this run has told", told_by_it, seconds=90)
    with capsys.disabled():
        print(f"\n      commit {commit[:12]}: " + ", ".join(f"{stage} {told[stage]} s" for stage in STAGES))
    # Stages one after the other: together they are no longer than the task was seen to take.
    pod = instances["pod"]
    took = pod["duration"]
    assert told["launched"] + told["started"] + told["logged"] <= took + 30
    assert all(0 <= seconds < 120 for seconds in told.values())


def test_the_canary_has_run_of_late(value, canary):
    assert value("airflow_platform_canary_age_seconds") < 900


def test_a_task_is_counted_by_its_dag(value, canary):
    assert value('sum(airflow_ti_start_total{dag_id="platform_canary"})') >= 2
    assert value('count(airflow_ti_start_total{task_id!=""})') is None


def test_times_are_in_seconds(value, canary):
    taken = value('airflow_dagrun_duration_success_seconds_sum{dag_id="platform_canary"}')
    assert 1 < taken < 300


def test_the_database_is_seen(value):
    assert value("airflow_platform_database_up") == 1
    assert 1 <= value("airflow_platform_database_connections") < value("airflow_platform_database_connections_max")


@pytest.mark.parametrize("component", ["scheduler", "dag-processor", "triggerer"])
def test_a_heartbeat_is_young(value, component):
    assert value(f'airflow_platform_heartbeat_age_seconds{{component="{component}"}}') < 60


def test_no_triggerer_is_silent(value):
    assert value("airflow_platform_triggerer_heartbeat_age_seconds") < 60
