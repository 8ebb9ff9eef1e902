"""The DAGs of the ticket pipeline: order, arguments of each kind of run, and whose Secrets they name."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import yaml
from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

SHARED_SECRET = "tickets-s3"


@pytest.fixture(scope="module")
def clients(repository) -> dict[str, dict]:
    return yaml.safe_load((repository / "dags/support/ticket_sentiment/clients.yaml").read_text())


@pytest.fixture
def acme(dagbag):
    return dagbag.dags["ticket_sentiment__acme"]


def rendered(task, *, map_index=-1, run_after, interval=None):
    """Return the operator as it would run, its templates filled in by Airflow's own task runner."""
    start, end = interval or (None, None)
    run = DagRun(
        dag_id=task.dag.dag_id,
        run_id="run",
        logical_date=start,
        data_interval_start=start,
        data_interval_end=end,
        run_after=run_after,
        start_date=run_after,
        end_date=None,
        run_type="scheduled" if interval else "manual",
        state="running",
        consumed_asset_events=[],
        partition_key=None,
    )
    instance = RuntimeTaskInstance.model_construct(
        id=uuid4(),
        dag_id=task.dag.dag_id,
        task_id=task.task_id,
        run_id="run",
        try_number=1,
        map_index=map_index,
        task=task,
        _ti_context_from_server=TIRunContext(dag_run=run, max_tries=2),
    )
    instance.render_templates()
    return instance.task


SCHEDULED = {
    "interval": (datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
    "run_after": datetime(2026, 2, 1, tzinfo=UTC),
}
BY_HAND = {"run_after": datetime(2026, 2, 1, 15, 42, 7, 123456, tzinfo=UTC)}


def test_there_is_a_dag_a_client(dagbag, clients):
    found = {dag_id for dag_id in dagbag.dags if dag_id.startswith("ticket_sentiment")}
    assert found == {f"ticket_sentiment__{client}" for client in clients}


def test_the_order(acme):
    assert {task.task_id: task.downstream_task_ids for task in acme.tasks} == {
        "extract": {"train"},
        "train": {"score"},
        "score": {"report"},
        "report": set(),
    }


def test_training_runs_on_the_gpu_pool_and_the_rest_on_the_light_one(acme):
    assert {task.task_id: task.pool for task in acme.tasks} == {
        "extract": "light",
        "train": "gpu",
        "score": "light",
        "report": "light",
    }


@pytest.mark.parametrize("client", ["acme", "globex", "initech"])
def test_a_score_task_a_batch(dagbag, clients, client):
    score = dagbag.dags[f"ticket_sentiment__{client}"].get_task("score")
    assert len(score.expand_input.value["arguments"]) == clients[client]["batches"]


@pytest.mark.parametrize("run", [SCHEDULED, BY_HAND], ids=["scheduled", "by hand without a logical date"])
def test_both_kinds_of_run_take_the_same_full_day(acme, run):
    assert rendered(acme.get_task("extract"), **run).arguments == [
        "--root=s3://tickets/acme",
        "--start=2026-01-31T00:00:00+00:00",
        "--end=2026-02-01T00:00:00+00:00",
        "--label-days=30",
    ]
    assert rendered(acme.get_task("train"), **run).arguments == [
        "--root=s3://tickets/acme",
        "--day=2026-01-31",
    ]
    assert rendered(acme.get_task("score"), map_index=1, **run).arguments == [
        "--root=s3://tickets/acme",
        "--day=2026-01-31",
        "--batch=1",
        "--of=3",
    ]
    assert rendered(acme.get_task("report"), **run).arguments == [
        "--root=s3://tickets/acme",
        "--day=2026-01-31",
        "--days=30",
        "--batches=3",
        "--client=acme",
    ]


def test_each_task_declares_what_it_writes(acme):
    day = "s3://tickets/acme/2026-01-31"
    declared = {
        task.task_id: rendered(task, map_index=1 if task.is_mapped else -1, **SCHEDULED).annotations
        for task in acme.tasks
    }
    assert {task: annotations["airflow-platform/outputs"].split() for task, annotations in declared.items()} == {
        "extract": [f"{day}/tickets.parquet", f"{day}/labelled.parquet"],
        "train": [f"{day}/model.joblib", f"{day}/metrics.json"],
        "score": [f"{day}/scores/part-1.parquet"],
        "report": [f"{day}/report.html"],
    }


def test_the_schedule_is_a_day_that_ends_where_the_next_begins(acme):
    from airflow.sdk import CronDataIntervalTimetable

    assert acme.timetable == CronDataIntervalTimetable("@daily", timezone="UTC")


def test_a_day_without_tickets_is_skipped(acme):
    assert acme.get_task("extract").skip_on_exit_code == [99]


def test_dates_and_catchup_are_those_of_the_client(dagbag, clients):
    for client, settings in clients.items():
        dag = dagbag.dags[f"ticket_sentiment__{client}"]
        assert dag.catchup is settings["catchup"]
        assert dag.start_date.date() == settings["start_date"]
        assert (dag.end_date and dag.end_date.date()) == settings.get("end_date")
        assert {task.depends_on_past for task in dag.tasks} == {settings["depends_on_past"]}
        assert dag.max_active_runs == 1


def test_a_client_that_catches_up_has_an_end(clients):
    assert [c for c, settings in clients.items() if settings["catchup"] and not settings.get("end_date")] == []


def secrets(task) -> dict[str, tuple[str, str, bool]]:
    """Return the Secret, its key and whether it may be missing, by environment variable."""
    variables = task.partial_kwargs["env_vars"] if task.is_mapped else task.env_vars
    refs = {variable.name: variable.value_from.secret_key_ref for variable in variables}
    return {name: (ref.name, ref.key, bool(ref.optional)) for name, ref in refs.items()}


def test_the_dsn_is_in_the_secret_of_the_client_and_for_extract_alone(dagbag, clients):
    for client in clients:
        dag = dagbag.dags[f"ticket_sentiment__{client}"]
        with_dsn = {task.task_id: secrets(task).get("TICKETS_DSN") for task in dag.tasks}
        assert with_dsn == {
            "extract": (f"tickets-{client}", "dsn", False),
            "train": None,
            "score": None,
            "report": None,
        }


def test_s3_is_known_by_secret_and_its_address_may_be_missing(dagbag, clients):
    for task in [task for client in clients for task in dagbag.dags[f"ticket_sentiment__{client}"].tasks]:
        assert {name: secret for name, secret in secrets(task).items() if name != "TICKETS_DSN"} == {
            "AWS_ACCESS_KEY_ID": (SHARED_SECRET, "access-key", False),
            "AWS_SECRET_ACCESS_KEY": (SHARED_SECRET, "secret-key", False),
            "AWS_ENDPOINT_URL_S3": (SHARED_SECRET, "endpoint", True),
            "AWS_REGION": (SHARED_SECRET, "region", True),
        }


def test_no_client_names_the_secret_or_the_folder_of_another(dagbag, clients):
    """Looks through all that is stored of a DAG, not only where a Secret is expected."""
    from airflow.serialization.serialized_objects import DagSerialization

    for client in clients:
        stored = json.dumps(DagSerialization.to_dict(dagbag.dags[f"ticket_sentiment__{client}"]), default=str)
        assert f"tickets-{client}" in stored
        for other in set(clients) - {client}:
            assert f"tickets-{other}" not in stored
            assert f"tickets/{other}" not in stored


def test_no_client_has_the_name_of_the_shared_secret(clients):
    assert SHARED_SECRET not in {f"tickets-{client}" for client in clients}
