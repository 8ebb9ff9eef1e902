"""What follows from a task's end."""

from datetime import datetime
from itertools import pairwise

import pytest
from local.cluster.console import wait_for
from tests.semantics.run import Run, gone


@pytest.mark.runs("semantics_callbacks")
@pytest.mark.parametrize(
    ("task_id", "called", "pods"),
    [
        ("succeeds", ["execute", "success"], 1),
        ("recovers", ["execute", "retry", "execute", "success"], 2),
        ("fails", ["execute", "retry", "execute", "retry", "execute", "failure"], 3),
        ("skips", ["execute", "skipped"], 1),
    ],
)
def test_46224_each_callback_is_called_the_right_number_of_times(run, notes, task_id, called, pods):
    run.ended()
    assert len(run.pods(task_id)) == pods
    # A callback runs after the state is known.
    wait_for(
        "the last callback", lambda: [one for one, _ in notes(run).get(task_id, [])][-1:] == called[-1:], seconds=60
    )
    found = notes(run)[task_id]
    assert [kind for kind, _ in found if kind != "execute"] == [kind for kind in called if kind != "execute"]
    tries = [number for kind, number in found if kind != "execute"]
    assert tries == list(range(1, pods + 1))


@pytest.mark.runs("semantics_callbacks")
def test_on_execute_callback_is_called_once_a_try(run, notes):
    run.ended()
    found = notes(run)
    executed = {task_id: [number for kind, number in found[task_id] if kind == "execute"] for task_id in found}
    assert executed == {"succeeds": [1], "recovers": [1, 2], "fails": [1, 2, 3], "skips": [1]}


@pytest.mark.runs("semantics_retries")
@pytest.mark.parametrize(
    ("task_id", "state", "tries"),
    [
        ("recovers", "success", 2),
        ("fails", "failed", 3),
        ("backs_off", "success", 3),
        ("skips", "skipped", 1),
        ("gives_up", "failed", 1),
        ("hurries", "success", 2),
    ],
)
def test_a_task_is_tried_as_often_as_it_says(run, task_id, state, tries):
    instance = run.ended_task(task_id)
    assert (instance["state"], instance["try_number"]) == (state, tries)
    assert [pod.labels["try_number"] for pod in run.pods(task_id)] == [str(number + 1) for number in range(tries)]


@pytest.mark.runs("semantics_retries")
def test_a_try_waits_for_its_delay_and_the_next_one_for_longer(run):
    run.ended_task("backs_off")
    waited = [
        (datetime.fromisoformat(later["start_date"]) - datetime.fromisoformat(one["end_date"])).total_seconds()
        for one, later in pairwise(run.tries("backs_off"))
    ]
    assert waited[0] >= 4
    assert waited[1] >= 16


def _mails(mail, run, task_id):
    """The texts of the mails that are about a task."""
    return [text for subject, text in mail() if run.run_id in subject and task_id in subject]


@pytest.mark.runs("semantics_mail")
@pytest.mark.needs("mail")
def test_46224_mail_is_sent_on_retry_and_on_failure(run, mail):
    run.ended()
    wait_for("two mails", lambda: len(_mails(mail, run, "fails")) >= 2, seconds=60)
    assert len(_mails(mail, run, "fails")) == 2
    assert _mails(mail, run, "succeeds") == []


@pytest.mark.beyond_stock("it says that the pod failed")
@pytest.mark.runs("semantics_mail")
@pytest.mark.needs("mail")
def test_a_mail_says_why_the_task_failed(run, mail):
    run.ended()
    wait_for("two mails", lambda: len(_mails(mail, run, "fails")) >= 2, seconds=60)
    for number, text in enumerate(_mails(mail, run, "fails"), start=1):
        assert "ended with exit code 3" in text
        assert f"tasks/fails?try_number={number}" in text
        assert f"task_id=fails/attempt={number}.evidence.txt" in text
        assert "[base] it fails" in text


@pytest.mark.beyond_stock("there is no verdict")
@pytest.mark.runs("semantics_mail")
@pytest.mark.parametrize("task_id", ["fails", "notifies"])
def test_the_rest_api_says_why_a_task_failed(run, airflow, task_id):
    run.ended_task(task_id)
    path = f"{run.path}/taskInstances/{task_id}/xcomEntries/platform_verdict?deserialize=true"
    found = airflow.call("GET", path)["value"]
    assert (found["cause"], found["exit_code"]) == ("exit-code", 3)


@pytest.mark.runs("semantics_mail")
@pytest.mark.needs("mail")
def test_a_notifier_is_a_callback(run, mail):
    def subjects():
        return [subject for subject, _ in mail()]

    run.ended()
    wait_for("its mail", lambda: subjects().count("notified of notifies"), seconds=60)
    assert subjects().count("notified of notifies") == 1


@pytest.mark.beyond_stock("there is no verdict")
@pytest.mark.needs("mail", "webhook")
def test_people_are_told_that_a_run_has_failed_and_that_the_dag_is_well_again(start, mail, webhook):
    def told(run, what):
        """Mails and posts on a run whose subject is that."""
        mails = [text for subject, text in mail() if subject.startswith(what) and run.run_id in text]
        return mails, [said["text"] for _, said in webhook() if said["text"].startswith(f"*{what}")]

    failed = start("semantics_notifications")
    assert failed.ended() == "failed"
    why = "semantics_notifications has failed: Container base of pod may-fail"
    wait_for("a mail and a post", lambda: all(told(failed, why)), seconds=120)
    (text,), (post, *_) = told(failed, why)
    for said in (text, post):
        assert "ended with exit code 3" in said
        assert f"/dags/semantics_notifications/runs/{failed.run_id}/tasks/may_fail" in said
    assert {path for path, _ in webhook()} == {"/services/T0/B0"}

    well = start("semantics_notifications", conf={"fails": False})
    assert well.ended() == "success"
    wait_for("that it is well", lambda: all(told(well, "semantics_notifications is well again")), seconds=120)
    assert failed.run_id in told(well, "semantics_notifications is well again")[0][0]


@pytest.mark.runs("semantics_listener")
@pytest.mark.parametrize(
    ("task_id", "seen"),
    [
        ("succeeds", [("running", 1), ("success", 1)]),
        ("fails", [("running", 1), ("failed", 1), ("running", 2), ("failed", 2)]),
        ("skips", [("running", 1), ("skipped", 1)]),
    ],
)
def test_a_listener_sees_every_transition(run, notes, task_id, seen):
    run.ended()
    wait_for("the last transition", lambda: notes(run).get(task_id, [])[-1:] == seen[-1:], seconds=60)
    # A task that goes on after it was deferred says again that it runs.
    found = [
        one for one, before in zip(notes(run)[task_id], [None, *notes(run)[task_id]], strict=False) if one != before
    ]
    assert found == seen


@pytest.fixture(scope="session")
def consumer(parsed, airflow):
    parsed("semantics_asset_consumer")
    airflow.call("PATCH", "dags/semantics_asset_consumer", is_paused=False)


@pytest.mark.runs("semantics_asset_producer")
@pytest.mark.needs("consumer")
def test_an_outlet_makes_one_event_and_starts_its_consumers(run, airflow, record):
    run.ended()
    path = f"assets/events?source_dag_id={run.dag_id}&source_run_id={run.run_id}"
    (event,) = airflow.call("GET", path)["asset_events"]
    assert (event["uri"], event["source_task_id"]) == ("s3://tickets/semantics/made", "makes")

    def consumed():
        found = airflow.call("GET", f"assets/events?source_dag_id={run.dag_id}&source_run_id={run.run_id}")
        return found["asset_events"][0]["created_dagruns"]

    (found,) = wait_for("the consumer's run", consumed, seconds=60)
    assert found["dag_id"] == "semantics_asset_consumer"
    assert Run(airflow, record, found["dag_id"], found["run_id"]).ended() == "success"


@pytest.mark.runs("semantics_trigger_rules")
def test_trigger_rules(run):
    assert run.ended() == "failed"
    assert run.states() == {
        "fails": "failed",
        "all_success": "upstream_failed",
        "all_failed": "success",
        "one_failed": "success",
        "all_done": "success",
        "none_failed": "upstream_failed",
    }
    assert {pod.labels["task_id"] for pod in run.pods()} == {"fails", "all_failed", "one_failed", "all_done"}


@pytest.mark.runs("semantics_on_finish_action")
@pytest.mark.parametrize(
    ("action", "kept"),
    [
        ("delete_pod", set()),
        ("keep_pod", {"succeeds", "fails"}),
        ("delete_succeeded_pod", {"fails"}),
        # Of a pod that ran to its end, this leaves what is there.
        ("delete_active_pod", {"succeeds", "fails"}),
    ],
)
def test_on_finish_action(run, action, kept):
    run.ended()
    for end in ("succeeds", "fails"):
        (pod,) = run.pods(f"{end}_{action}")
        if end in kept:
            assert pod.deleted is None
            assert pod.labels["already_checked"] == "True"
        else:
            gone(pod, seconds=60)
