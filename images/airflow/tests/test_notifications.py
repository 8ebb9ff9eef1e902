"""Who is told what of a run that has failed, and of one that is well again."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Variable
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.xcom import XCom

from airflow_platform import notifications, trigger
from airflow_platform.clients import Broken
from airflow_platform.notifications import notify

with DAG("report", schedule=None) as REPORT:
    for name in ("extract", "score", "score_2", "write"):
        EmptyOperator(task_id=name)

OOM = "Container base of pod extract-1 ran out of memory (limit 1Gi); give it more, {{ or }} let it use <less>."


@pytest.fixture
def airflow(monkeypatch):
    """What Airflow knows: states of tasks, verdicts, variables; and the mails that it has sent."""
    known = SimpleNamespace(states={}, verdicts={}, variables={}, mails=[])

    def xcom(*, key, dag_id, task_id, run_id, map_index):
        assert (key, dag_id, run_id) == ("platform_verdict", "report", "r1")
        return known.verdicts.get((task_id, map_index))

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda dag_id, run_ids: {run_ids[0]: known.states})
    monkeypatch.setattr(XCom, "get_one", xcom)
    monkeypatch.setattr(Variable, "get", lambda key, default: known.variables.get(key, default))
    monkeypatch.setattr(Variable, "set", lambda key, value, description: known.variables.update({key: value}))
    monkeypatch.setattr(Variable, "delete", lambda key: known.variables.pop(key))
    monkeypatch.setattr(SmtpNotifier, "notify", lambda self, _: known.mails.append(self))
    return known


@pytest.fixture
def webhook(airflow, monkeypatch):
    """Posts as (path, JSON); its connection is ``slack``."""
    posts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            posts.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "password": "services/T/B"}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK", json.dumps(address))
        yield posts
        server.shutdown()


def context(run_id="r1", day=1, **more):
    due = datetime(2026, 2, day, tzinfo=UTC)
    return {"dag": REPORT, "run_id": run_id, "reason": "task_failure", "dag_run": SimpleNamespace(run_after=due)} | more


def fail(run_id="r1", day=1, **channels):
    (callback,) = notify(**channels)["on_failure_callback"]
    callback(context(run_id, day))


def succeed(run_id, day, **channels):
    (callback,) = notify(**channels)["on_success_callback"]
    callback(context(run_id, day))


def test_nobody_is_told_where_nobody_is_named():
    assert notify() == {}


def test_the_verdict_s_name_is_the_trigger_s():
    assert notifications._VERDICT == trigger.VERDICT


# As an XCom of a phase, and as Airflow stores one of a task that ended in the triggerer.
@pytest.mark.parametrize("verdict", [{"sentence": OOM}, json.dumps({"sentence": OOM})])
def test_a_webhook_is_told_the_cause_in_a_line_and_a_link(airflow, webhook, verdict):
    airflow.states.update(extract="failed", score="upstream_failed")
    airflow.verdicts["extract", -1] = verdict
    fail(webhook="slack")
    assert webhook == [
        (
            "/services/T/B",
            {
                "text": "*report has failed: Container base of pod extract-1 ran out of memory (limit 1Gi)*\n"
                "Run r1\n"
                "extract: Container base of pod extract-1 ran out of memory (limit 1Gi); give it more, {{ or }} let it "
                "use &lt;less&gt;.\n"
                "https://airflow.example.com/dags/report/runs/r1/tasks/extract"
            },
        )
    ]


def test_a_mail_says_the_same(airflow):
    airflow.states.update(extract="failed")
    airflow.verdicts["extract", -1] = {"sentence": OOM}
    fail(email="team@example.com")
    (mail,) = airflow.mails
    assert mail.to == ["team@example.com"]
    assert mail.subject == "report has failed: Container base of pod extract-1 ran out of memory (limit 1Gi)"
    assert "<p>extract: Container base of pod extract-1 ran out of memory" in mail.html_content
    assert "{{ or }} let it use &lt;less&gt;" in mail.html_content
    assert '<a href="https://airflow.example.com/dags/report/runs/r1/tasks/extract">' in mail.html_content


def test_a_task_of_which_the_platform_knows_nothing(airflow):
    airflow.states.update(write="failed")
    fail(email="team@example.com")
    assert airflow.mails[0].subject == "report has failed: it failed"
    assert "write: it failed; its log says why." in airflow.mails[0].html_content


def test_a_client_whose_dag_cannot_be_made_is_told_of_with_its_line(airflow):
    with DAG("report", schedule=None) as broken:
        Broken(task_id="declaration", declared_error="clients.yaml:3: client acme: batches is missing; …")
    airflow.states.update(declaration="failed")
    (callback,) = notify(email="team@example.com")["on_failure_callback"]
    callback(context() | {"dag": broken})
    assert airflow.mails[0].subject == "report has failed: clients.yaml:3: client acme: batches is missing"


def test_of_many_instances_three_are_named(airflow):
    airflow.states.update({f"score_{index}": "failed" for index in (0, 10, 2, 3, 4)}, write="success")
    airflow.verdicts["score", 10] = {"sentence": "Tenth."}
    fail(email="team@example.com")
    # score_2 is a task of its own.
    said = airflow.mails[0].html_content
    assert [f"score[{index}]" in said for index in (0, 3, 4, 10)] == [True, True, True, False]
    assert "<p>And 2 more.</p>" in said
    assert "/tasks/score/mapped/0" in said


def test_a_run_in_which_no_task_has_failed(airflow):
    (callback,) = notify(email="team@example.com")["on_failure_callback"]
    callback({"dag": REPORT, "run_id": "r1", "reason": "timed_out"})
    assert airflow.mails[0].subject == "report has failed: No task has failed: timed out"
    assert "https://airflow.example.com/dags/report/runs/r1</a>" in airflow.mails[0].html_content


@pytest.mark.parametrize(
    ("run_id", "day", "told"),
    [("r1", 2, True), ("r2", 3, True), ("r0", 1, False)],
)
def test_it_is_well_again_when_that_run_succeeds_or_a_later_one(airflow, run_id, day, told):
    fail("r1", 2, email="team@example.com")
    succeed(run_id, day, email="team@example.com")
    assert [mail.subject for mail in airflow.mails[1:]] == ["report is well again"] * told
    assert bool(airflow.variables) != told


def test_a_release_of_the_dag_may_make_it_well_again(airflow):
    def version(number):
        with DAG(
            f"report__{number.replace('.', '_')}", schedule=None, tags=["release:report", f"version:{number}"]
        ) as dag:
            EmptyOperator(task_id="extract")
        return dag

    channels = {"email": "a@example.com"}
    notify(**channels)["on_failure_callback"][0].notify(context(dag=version("1.0.0")))
    assert list(airflow.variables) == ["airflow_platform.failed.report"]
    notify(**channels)["on_success_callback"][0].notify(context("r2", day=2, dag=version("1.0.1")))
    assert airflow.variables == {}
    assert airflow.mails[-1].subject == "report__1_0_1 is well again"


def test_that_it_is_well_again_is_told_once(airflow):
    fail("r1", 1, email="team@example.com")
    succeed("r2", 2, email="team@example.com")
    succeed("r3", 3, email="team@example.com")
    assert len(airflow.mails) == 2


def test_success_after_success_is_not_told(airflow):
    succeed("r1", 1, email="team@example.com")
    assert not airflow.mails


def test_an_older_run_that_fails_does_not_hide_a_newer_one(airflow):
    fail("r2", 2, email="team@example.com")
    airflow.states.clear()
    fail("r1", 1, email="team@example.com")
    succeed("r1", 1, email="team@example.com")
    assert [mail.subject for mail in airflow.mails if "well" in mail.subject] == []


def test_one_that_cannot_be_reached_does_not_keep_it_from_the_other(airflow, webhook, monkeypatch):
    def away(self, _):
        raise OSError("no answer")

    monkeypatch.setattr(SmtpNotifier, "notify", away)
    with pytest.raises(RuntimeError, match="not all could be told that report has failed: .*: OSError: no answer"):
        fail(email="team@example.com", webhook="slack")
    assert len(webhook) == 1
