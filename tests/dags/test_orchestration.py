"""The DAGs of the ticket pipeline as they run: what each pod is given, and what becomes of a run in which pods fail."""

from datetime import UTC, datetime

import pytest

from airflow_platform.testing import every_transient_fault

DAY = datetime(2026, 1, 31, tzinfo=UTC)


def test_each_step_begins_when_the_one_before_has_ended_and_the_batches_run_side_by_side(load_dag):
    run = load_dag("ticket_sentiment__acme").run(logical_date=DAY)
    assert run.state == "success"
    assert run.order == ["extract", "train", "score", "report"]
    assert run.most_at_once("score") == 3
    assert run.most_at_once(pool="gpu") == 1
    assert max(pod.stopped for one in run.all("score") for pod in one.pods) <= run["report"].pod.started


def test_what_the_pods_are_given(load_dag):
    run = load_dag("ticket_sentiment__acme").run(logical_date=DAY)
    assert run["extract"].pod.arguments == [
        "--root=s3://tickets/acme",
        "--start=2026-01-31T00:00:00+00:00",
        "--end=2026-02-01T00:00:00+00:00",
        "--label-days=30",
    ]
    assert run["score", 1].pod.arguments == [
        "--root=s3://tickets/acme",
        "--day=2026-01-31",
        "--batch=1",
        "--of=3",
    ]
    assert run["train"].pod.secrets["AWS_ACCESS_KEY_ID"] == "tickets-s3/access-key"
    assert run["extract"].pod.secrets["TICKETS_DSN"] == "tickets-acme/dsn"
    assert {one.name: one.pod.node for one in run.tasks if one.task_id != "score"} == {
        "extract": "light-1",
        "train": "gpu-1",
        "report": "light-1",
    }


def test_the_images_are_those_of_the_catalogue(load_dag, catalogue):
    run = load_dag("ticket_sentiment__acme").run(logical_date=DAY)
    images = {one.task_id: one.pod.image for one in run.tasks}
    assert images == {
        "extract": f"ticket-extract:{catalogue['ticket-extract']}",
        "train": f"sentiment-train:{catalogue['sentiment-train']}",
        "score": f"sentiment-score:{catalogue['sentiment-score']}",
        "report": f"ticket-report:{catalogue['ticket-report']}",
    }


def test_a_day_without_tickets_is_skipped(load_dag, cluster):
    cluster.pod("extract").prints("no tickets on 2026-01-31").exits(99)
    run = load_dag("ticket_sentiment__acme").run(logical_date=DAY)
    assert run.state == "success"
    assert set(run.states.values()) == {"skipped"}
    assert "[base] no tickets on 2026-01-31" in run["extract"].log


def test_a_batch_that_runs_out_of_memory_is_tried_again_with_more(load_dag, cluster):
    cluster.pod("score", map_index=0).out_of_memory()
    run = load_dag("ticket_sentiment__acme").run(logical_date=DAY)
    assert run.state == "success"
    assert run["score", 0].tries == 2
    assert [pod.limits["memory"] for pod in run["score", 0].pods] == ["768Mi", "1536Mi"]


def test_no_report_where_a_batch_fails_for_good(load_dag, cluster):
    cluster.every_pod("score", map_index=2).exits(1)
    run = load_dag("ticket_sentiment__acme").run(logical_date=DAY)
    assert run.state == "failed"
    assert run["score", 2].tries == 3
    assert run.states["score[0]"] == "success"
    assert run["report"].state == "upstream_failed"
    assert not run["report"].pods


def test_a_training_that_takes_longer_than_it_may_is_stopped(load_dag, cluster):
    cluster.every_pod("train").runs_forever()
    run = load_dag("ticket_sentiment__acme").run(logical_date=DAY)
    assert run["train"].state == "failed"
    assert all(pod.gone for pod in run["train"].pods)
    assert any("execution_timeout has passed" in line for line in run["train"].log)


@pytest.mark.parametrize("client", ["acme", "globex", "initech"])
def test_every_transient_fault_is_survived_and_nothing_is_done_twice(load_dag, client):
    load_dag(f"ticket_sentiment__{client}").recovers_from(every_transient_fault)
