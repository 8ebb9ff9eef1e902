"""``airflow-platform run``, against Airflow's REST API on loopback."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from rest_api import Airflow, Moment, Run, instance, line

from airflow_platform import cli, client, trigger
from airflow_platform.run import command, follow
from airflow_platform.run.task_log import TryLog

SUCCEEDS = [Moment("queued"), Moment("success", [instance("t", "success")])]


@pytest.fixture
def airflow(monkeypatch):
    for name in (client.URL, client.USER, client.PASSWORD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(client.TOKEN, "secret")
    monkeypatch.setattr(client, "_PAUSE", 0.01)
    monkeypatch.setattr(follow, "_EVERY", 0.01)
    monkeypatch.setattr(follow, "_SHARE", 1e9)
    with Airflow() as airflow:
        threading.Thread(target=airflow.serve_forever, args=(0.01,), daemon=True).start()
        airflow.dags["d"] = False
        airflow.next["d"] = Run(list(SUCCEEDS))
        yield airflow
        airflow.shutdown()


@pytest.fixture
def run(airflow, capsys):
    """Runs the command: exit code, stdout, stderr."""

    def run(*words):
        code = cli.main(["run", *words, "--url", airflow.url])
        return code, *capsys.readouterr()

    return run


def test_a_run_is_triggered_and_its_id_is_all_that_stdout_has(airflow, run):
    code, out, err = run("d")
    ((_, run_id),) = airflow.runs
    assert (code, out) == (0, f"{run_id}\n")
    assert f"{airflow.url}/dags/d/runs/{run_id}" in err
    assert airflow.bodies("POST") == [{"dag_run_id": run_id, "logical_date": None, "conf": {}}]


def test_what_it_works_on_is_told_to_airflow(airflow, run, tmp_path):
    path = tmp_path / "conf.json"
    path.write_text('{"a": 1, "b": 2}')
    words = ["--logical-date", "2026-01-31T00:00:00Z", "--conf", f"@{path}", "--param", "b=[3]", "--param", "c=x=y"]
    words += ["--param", "d=NaN"]
    run("d", "--run-id", "mine", *words)
    (body,) = airflow.bodies("POST")
    assert body == {
        "dag_run_id": "mine",
        "logical_date": "2026-01-31T00:00:00+00:00",
        "conf": {"a": 1, "b": [3], "c": "x=y", "d": "NaN"},
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--conf", "{"], "is no JSON"),
        (["--conf", '{"a": NaN}'], "NaN is no number of JSON's"),
        (["--conf", "[1]"], "is no JSON object"),
        (["--conf", "@/nowhere/conf.json"], "is no JSON: "),
        (["--param", "day"], "is not NAME=VALUE"),
        (["--logical-date", "yesterday"], "is no moment such as"),
        (["--logical-date", "2026-01-31"], "has no offset from UTC: write 2026-01-31T00:00:00Z"),
        (["--timeout", "0"], "is no number of seconds above 0"),
        (["--timeout", "nan"], "is no number of seconds above 0"),
    ],
)
def test_a_mistake_in_the_command_triggers_nothing(airflow, run, capsys, words, said):
    with pytest.raises(SystemExit) as raised:
        run("d", *words)
    assert raised.value.code == 2
    assert said in capsys.readouterr().err
    assert airflow.asked == []


def test_each_state_and_the_end_are_told(airflow, run):
    airflow.next["d"] = Run(
        [
            Moment("queued", [instance("extract", None), instance("score", None, map_index=1)]),
            Moment("running", [instance("extract", "running", max_tries=2), instance("score", None, map_index=1)]),
            Moment("running", [instance("extract", "running", max_tries=2), instance("score", None, map_index=1)]),
            Moment("success", [instance("extract", "success", max_tries=2), instance("score", "success", map_index=1)]),
        ]
    )
    code, out, err = run("d", "--wait")
    assert code == 0
    told = [said.split(" ", 1)[1] for said in err.splitlines() if ": " in said]
    assert told[1:-1] == [
        "extract: running (try 1 of 3)",
        "extract: success after 1.5 s (try 1 of 3)",
        "score[1]: success after 1.5 s",
    ]
    assert err.splitlines()[-1].endswith("of DAG d: success after 61 s")
    assert out.strip() in err


def test_of_a_run_that_failed_each_failed_task_says_why(airflow, run):
    airflow.next["d"] = Run([Moment("failed", [instance("t", "failed"), instance("u", "upstream_failed")])])
    airflow.why["t"] = "Task t failed. Container base ended with exit code 3."
    code, _, err = run("d", "--wait")
    assert code == 1
    assert "t: Task t failed. Container base ended with exit code 3." in err.splitlines()
    assert err.splitlines()[-1].endswith("of DAG d: failed after 61 s")


def test_a_verdict_that_cannot_be_had_does_not_hide_the_end(airflow, run):
    airflow.next["d"] = Run([Moment("failed", [instance("t", "failed")])])
    code, _, err = run("d", "--wait")
    assert code == 1
    assert "t: failed; why is not known: no such task" in err


def test_a_run_that_does_not_end_in_time_goes_on(airflow, run):
    airflow.next["d"] = Run([Moment("running", [instance("t", "running")])])
    code, out, err = run("d", "--wait", "--logs", "--timeout", "0.1")
    ((_, run_id),) = airflow.runs
    assert (code, out) == (2, f"{run_id}\n")
    assert "has not ended within 0.1 s. The run goes on" in err
    assert f"airflow-platform run d --logs --follow {run_id}" in err
    assert [body for method, _, body in airflow.asked if method != "GET"] == airflow.bodies("POST")


def test_a_run_is_followed_that_was_triggered_before(airflow, run):
    airflow.runs["d", "r"] = Run([Moment("running"), Moment("failed")])
    code, out, _ = run("d", "--follow", "r")
    assert (code, out) == (1, "")
    assert airflow.bodies("POST") == []


def test_to_follow_takes_no_input(airflow, run):
    code, _, err = run("d", "--follow", "r", "--param", "a=1")
    assert code == 3
    assert "--follow triggers no run" in err
    assert airflow.asked == []


def test_a_task_and_those_after_it_run_again_and_only_they_are_told(airflow, run):
    first, again = instance("first", "success"), instance("t", "success", try_number=2)
    logs = {("first", -1): [line("of first")], ("t", -1): [line("of t")]}
    before = Moment("failed", [first, instance("t", "failed")], logs)
    airflow.runs["d", "r"] = Run([Moment("success", [first, again], logs)], now=before)
    code, _, err = run("d", "--follow", "r", "--from", "t", "--logs")
    assert code == 0
    (body,) = airflow.bodies("POST")
    assert body == {
        "dag_run_id": "r",
        "task_ids": ["t"],
        "include_downstream": True,
        "only_failed": False,
        "reset_dag_runs": True,
        "dry_run": False,
    }
    assert "first" not in err
    assert "t: success after 1.5 s" in err
    assert "t | of t" in err
    assert {path.rpartition("/")[2] for _, path, _ in airflow.asked if "/logs/" in path} == {"2"}


def test_a_task_that_the_run_has_not_is_not_run_again(airflow, run):
    airflow.runs["d", "r"] = Run([Moment("failed", [instance("t", "failed")])])
    code, _, err = run("d", "--follow", "r", "--from", "u")
    assert code == 3
    assert "run r has no task u. It has t" in err
    assert airflow.bodies("POST") == []
    code, _, err = run("d", "--from", "t")
    assert code == 3
    assert "--from needs --follow RUN" in err


def test_the_outputs_are_all_that_stdout_has(airflow, run):
    airflow.next["d"] = Run(
        list(SUCCEEDS),
        xcoms={
            ("t", -1, "return_value"): {"rows": 3, "at": "s3://b/k"},
            ("m", 2, "return_value"): "text",
            ("t", -1, "pod_name"): "t-1a2b",
            ("t", -1, trigger.VERDICT): {"cause": "exit-code"},
        },
    )
    code, out, _ = run("d", "--outputs")
    ((_, run_id),) = airflow.runs
    assert code == 0
    assert json.loads(out) == {
        "dag_id": "d",
        "run_id": run_id,
        "state": "success",
        "xcoms": [
            {"task_id": "t", "map_index": -1, "key": "return_value", "value": {"rows": 3, "at": "s3://b/k"}},
            {"task_id": "m", "map_index": 2, "key": "return_value", "value": "text"},
        ],
    }


def test_all_of_many_task_instances_are_asked_for(airflow, run):
    many = [instance("t", "success", map_index=number) for number in range(250)]
    airflow.next["d"] = Run([Moment("success", many)])
    _, _, err = run("d", "--wait")
    assert sum(": success after 1.5 s" in said for said in err.splitlines()) == 250


# What is refused, and an api-server that is away.


def test_a_dag_that_is_not_there(airflow, run):
    code, _, err = run("e")
    assert code == 3
    assert f"{airflow.url} has no DAG e: is the name right, and has the DAG been parsed?" in err


def test_a_paused_dag_is_not_left_to_wait(airflow, run):
    airflow.dags["d"] = True
    code, _, err = run("d", "--wait")
    assert code == 3
    assert "DAG d is paused" in err
    assert airflow.runs == {}
    assert run("d", "--wait", "--unpause")[0] == 0
    assert airflow.dags["d"] is False


def test_a_logical_date_that_has_a_run(airflow, run):
    airflow.refuse["POST", "/api/v2/dags/d/dagRuns"] = (409, {"reason": "Unique constraint violation"})
    code, _, err = run("d", "--logical-date", "2026-01-31T00:00:00Z")
    assert code == 3
    assert "DAG d has a run of the logical date 2026-01-31T00:00:00+00:00 already" in err


def test_a_run_id_that_there_is(airflow, run):
    airflow.runs["d", "r"] = Run(list(SUCCEEDS))
    code, _, err = run("d", "--run-id", "r")
    assert code == 3
    assert "DAG d has a run of the id r already" in err
    assert airflow.bodies("POST") == []


def test_a_paused_dag_stays_paused_where_the_run_id_is_taken(airflow, run):
    airflow.dags["d"] = True
    airflow.runs["d", "r"] = Run(list(SUCCEEDS))
    assert run("d", "--run-id", "r", "--unpause")[0] == 3
    assert airflow.dags["d"] is True


def test_a_logical_date_that_has_a_run_of_another_id(airflow, run):
    airflow.refuse["POST", "/api/v2/dags/d/dagRuns"] = (409, {"reason": "Unique constraint violation"})
    code, _, err = run("d", "--run-id", "r", "--logical-date", "2026-01-31T00:00:00Z")
    assert code == 3
    assert "DAG d has a run of the logical date 2026-01-31T00:00:00+00:00 already" in err


def test_what_airflow_does_not_take_is_said_by_field(airflow, run):
    detail = [{"loc": ["body", "conf"], "msg": "Input should be a valid dictionary", "type": "dict"}]
    airflow.refuse["POST", "/api/v2/dags/d/dagRuns"] = (422, detail)
    code, _, err = run("d")
    assert code == 3
    assert "answers 422: body.conf: Input should be a valid dictionary" in err
    assert err.count("\n") == 1


def test_an_api_server_that_is_restarted_does_not_end_the_wait(airflow, run):
    moments = [Moment("running"), Moment("running"), Moment("success", [instance("t", "success")])]
    airflow.next["d"] = Run(moments)
    original = airflow.answer

    def goes_away(method, path, query, body):
        found = original(method, path, query, body)
        if method == "POST":
            airflow.away = 5
        return found

    airflow.answer = goes_away
    assert run("d", "--wait")[0] == 0


def test_an_address_that_never_answered_is_said_at_once(airflow, run, monkeypatch):
    monkeypatch.setattr(client, "_PAUSE", 1000)
    airflow.away = 1
    code, _, err = run("d")
    assert code == 3
    assert "answers 503" in err


@pytest.mark.parametrize("words", [[], ["--run-id", "pipeline-7"], ["--logical-date", "2026-01-31T00:00:00Z"]])
def test_a_run_whose_answer_was_lost_is_not_triggered_twice(airflow, run, words):
    airflow.lose_answers_to = "POST"
    assert run("d", "--wait", *words)[0] == 0
    assert len(airflow.runs) == 1
    assert len(airflow.bodies("POST")) == 2


def test_who_is_interrupted_is_told_how_to_follow_on(airflow):
    airflow.next["d"] = Run([Moment("running")])
    environment = os.environ | {client.TOKEN: "secret", client.URL: airflow.url}
    words = [sys.executable, "-m", "airflow_platform.cli", "run", "d", "--wait"]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert "run cli-" in process.stderr.readline()
        while not any(path.endswith("/taskInstances") for _, path, _ in list(airflow.asked)):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    ((_, run_id),) = airflow.runs
    assert process.returncode == 130
    assert f"The run goes on; follow it: airflow-platform run d --follow {run_id}" in err
    assert "Traceback" not in err
    assert [body for method, _, body in airflow.asked if method != "GET"] == airflow.bodies("POST")


# Logs.


def test_the_lines_of_a_pod_come_as_it_prints_them_each_once(airflow, run):
    first, second, third = line("[base] 1", 1), line("[base] 2", 2), line("[base] 3", 3)
    key = ("t", 0)
    pod = [instance("t", "deferred", map_index=0)]
    airflow.next["d"] = Run(
        [
            Moment("running", pod, {key: [first]}),
            Moment("running", pod, {key: [first, second]}),
            # The launcher's part turns up later, with lines that are earlier.
            Moment("running", pod, {key: [line("launched", 0), first, second]}),
            Moment("success", [instance("t", "success", map_index=0)], {key: [line("launched"), first, second, third]}),
        ]
    )
    code, _, err = run("d", "--logs")
    assert code == 0
    told = [said for said in err.splitlines() if " | " in said]
    assert told == ["t[0] | [base] 1", "t[0] | [base] 2", "t[0] | launched", "t[0] | [base] 3"]


def test_a_log_that_is_still_on_its_way_is_waited_for(airflow, run, monkeypatch):
    ended = [instance("t", "success")]
    airflow.next["d"] = Run(
        [
            Moment(
                "success", ended, {("t", -1): [{"event": "The log of this try is being uploaded to s3://l/t.log."}]}
            ),
            Moment("success", ended, {}),
            Moment("success", ended, {("t", -1): [line("done")]}),
        ]
    )
    _, _, err = run("d", "--logs")
    assert [said for said in err.splitlines() if " | " in said] == ["t | done"]


def test_a_log_that_never_comes_does_not_keep_the_command(airflow, run, monkeypatch):
    monkeypatch.setattr(follow, "_UPLOAD", 0.05)
    airflow.next["d"] = Run([Moment("success", [instance("t", "success")], {})])
    assert run("d", "--logs")[0] == 0


def test_the_logs_of_all_tries_are_told(airflow, run):
    key = ("t", -1)
    airflow.next["d"] = Run(
        [
            Moment("running", [instance("t", "running", max_tries=1)]),
            # It has failed, and the next one begun, between two looks.
            Moment("running", [instance("t", "running", try_number=2, max_tries=1)], {key: [line("first try")]}),
            Moment("success", [instance("t", "success", try_number=2, max_tries=1)], {key: [line("second try")]}),
        ]
    )
    _, _, err = run("d", "--logs")
    assert "t | first try" in err
    assert "t | second try" in err
    asked = {path for _, path, _ in airflow.asked if "/logs/" in path}
    assert {path.rpartition("/")[2] for path in asked} == {"1", "2"}


def test_many_logs_are_read_in_turns(airflow, run, monkeypatch):
    monkeypatch.setattr(follow, "_BUDGET", 0)
    many = [instance("t", "success", map_index=number) for number in range(20)]
    logs = {("t", number): [line(f"of {number}")] for number in range(20)}
    airflow.next["d"] = Run([Moment("success", many, logs)])
    _, _, err = run("d", "--logs")
    assert sorted(said for said in err.splitlines() if " | " in said) == sorted(f"t[{n}] | of {n}" for n in range(20))


def test_a_log_that_may_not_be_read_is_said_once_and_the_run_followed(airflow, run):
    airflow.next["d"] = Run([Moment("running", [instance("t", "deferred")])] * 3 + [Moment("success")])
    original = airflow.answer

    def refuses(method, path, query, body):
        if "/logs/" in path:
            return 403, {"detail": "Forbidden"}
        return original(method, path, query, body)

    airflow.answer = refuses
    code, _, err = run("d", "--logs")
    assert code == 0
    assert err.count("its log cannot be read: the user may not read that: Forbidden") == 1


def test_where_a_log_was_found_is_no_line_of_it():
    log = TryLog()
    assert log.unseen(
        [
            {"event": "::group::Log message source details", "sources": ["s3://l"]},
            {"event": "s3://logs/attempt=1.log"},
            {"event": "::endgroup::"},
            {"event": "::group::Pre Execute"},
            line("[base] a"),
            {"event": "::endgroup::"},
            line("[base] b"),
        ]
    ) == ["[base] a", "[base] b"]


def test_a_line_that_is_printed_twice_is_told_twice():
    log = TryLog()
    assert log.unseen([line("again"), line("again")]) == ["again", "again"]
    assert log.unseen([line("again"), line("again"), line("again")]) == ["again"]


def test_an_exception_is_told_with_where_it_was():
    frame = {"filename": "/dags/d.py", "lineno": 7, "name": "work"}
    outer = {"exc_type": "RuntimeError", "exc_value": "no day", "frames": [frame]}
    cause = {"exc_type": "KeyError", "exc_value": "'day'", "frames": []}
    assert TryLog().unseen([line("Task failed with exception", error_detail=[outer, cause])]) == [
        "Task failed with exception",
        "KeyError: 'day'",
        '  File "/dags/d.py", line 7, in work',
        "RuntimeError: no day",
    ]


def test_what_would_steer_a_terminal_is_left_out():
    assert TryLog().unseen([line("a\x1b[2Jb\tc\x07\nd")]) == ["ab\tc", "d"]


def test_seconds_are_what_the_option_says():
    assert command.seconds("1.5") == 1.5
