"""The command line, against an api-server on loopback and in a pod that has the database."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest

from airflow_platform import cli, client, why
from airflow_platform.why import command
from airflow_platform.why.database import NotFoundError

ANSWER = {
    "dag_id": "d", "task_id": "t", "run_id": "r", "map_index": 3, "try_number": 1, "state": "up_for_retry",
    "cause": "exit-code", "kind": "user", "sentence": "Try 1 of 3 of task t[3] failed. [bold]Its[/bold] log says why.",
    "object_kind": "task", "object": "t", "since": 1_800_000_000.0, "certain": False,
    "details": [["run", "r (running)"]], "events": ["now Killing: Stopping"], "last_lines": ["[base] [red]x[/red]"],
}  # fmt: skip


class Server(ThreadingHTTPServer):
    """``answers``: by path without query, (status, content type, body), or a list of such, the last one for ever.

    ``asked``: (method, path, token, body).
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def json(self, path, body, status=200):
        self.answers[path] = (status, "application/json", json.dumps(body))


class Handler(BaseHTTPRequestHandler):
    def _answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        self.server.asked.append((self.command, self.path, self.headers.get("authorization"), body))
        unknown = (404, "application/json", '{"detail": "Not Found"}')
        found = self.server.answers.get(self.path.partition("?")[0], unknown)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        status, kind, text = found
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = _answer

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in (client.URL, client.TOKEN, client.USER, client.PASSWORD, command._DATABASE):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def ask(server, monkeypatch, capsys):
    """Runs the command for the server with a token: exit code, stdout, stderr."""

    def ask(*words, token="secret"):
        if token:
            monkeypatch.setenv(client.TOKEN, token)
        code = cli.main(["why", *words, "--url", server.url])
        return code, *capsys.readouterr()

    return ask


def test_the_answer_is_a_sentence_and_what_else_is_known(server, ask):
    server.json("/airflow-platform/why/d/t", ANSWER)
    code, out, _ = ask("d", "t", "r", "--map-index", "3")
    assert code == 0
    assert out.startswith("Try 1 of 3 of task t[3] failed. [bold]Its[/bold] log says why.\n")
    for line in (
        "d.t[3]",
        "up for retry since 2027-01-15 08:00:00 UTC",
        "exit-code (most likely)",
        "the task's author",
    ):
        assert line in out
    assert "  [base] [red]x[/red]\n" in out
    assert server.asked == [("GET", "/airflow-platform/why/d/t?run_id=r&map_index=3", "Bearer secret", "")]


def test_the_answer_as_json_is_all_of_it(server, ask):
    server.json("/airflow-platform/why/d/t", ANSWER)
    _, out, _ = ask("d", "t", "--json")
    assert json.loads(out) == ANSWER


def test_names_are_encoded(server, ask):
    ask("d", "a group.t+1", "manual__2026-01-01T00:00:00+00:00")
    path = "/airflow-platform/why/d/a%20group.t%2B1?run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00"
    assert server.asked[0][1] == path


def test_a_user_gets_a_token_for_the_password(server, ask, monkeypatch):
    monkeypatch.setenv(client.PASSWORD, "hunter2")
    server.json("/auth/token", {"access_token": "given"}, 201)
    server.json("/airflow-platform/why/d/t", ANSWER)
    code, _, _ = ask("d", "t", "--user", "ann", token=None)
    assert code == 0
    assert json.loads(server.asked[0][3]) == {"username": "ann", "password": "hunter2"}
    assert server.asked[1][2] == "Bearer given"


@pytest.mark.parametrize(("status", "detail"), [(401, "Token Expired"), (403, "Invalid JWT token")])
def test_a_token_that_is_good_no_more_is_asked_for_again(server, ask, monkeypatch, status, detail):
    monkeypatch.setenv(client.PASSWORD, "hunter2")
    server.answers["/auth/token"] = [(201, "application/json", json.dumps({"access_token": name})) for name in "ab"]
    refused = (status, "application/json", json.dumps({"detail": detail}))
    server.answers["/airflow-platform/why/d/t"] = [refused, (200, "application/json", json.dumps(ANSWER))]
    code, _, _ = ask("d", "t", "--user", "ann", token=None)
    assert code == 0
    assert [token for method, _, token, _ in server.asked if method == "GET"] == ["Bearer a", "Bearer b"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, "application/json", '{"detail": "Token Expired"}'), "does not accept the token: Token Expired"),
        ((403, "application/json", '{"detail": "Invalid JWT token"}'), "does not accept the token: Invalid JWT token"),
        ((403, "application/json", '{"detail": "Forbidden"}'), "the user may not read that: Forbidden"),
        ((404, "application/json", '{"detail": "There is no DAG \'e\'. Known: d."}'), "There is no DAG 'e'. Known: d."),
        ((404, "text/html", "<html>"), "is no api-server of airflow-platform"),
        ((200, "text/html", "<html>"), "is no api-server of airflow-platform"),
        ((500, "text/plain", "boom"), "answers 500: Internal Server Error"),
    ],
)
def test_an_answer_that_is_none_is_one_line(server, ask, answer, said):
    server.answers["/airflow-platform/why/d/t"] = answer
    code, out, err = ask("d", "t")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_wrong_password_is_said_and_not_repeated(server, ask, monkeypatch):
    monkeypatch.setenv(client.PASSWORD, "hunter2")
    server.json("/auth/token", {"detail": "Invalid credentials"}, 401)
    code, _, err = ask("d", "t", "--user", "ann", token=None)
    assert code == 1
    assert "user ann could not log in" in err
    assert "hunter2" not in err


def test_whoever_asks_nobody_is_told_whom_to_ask(server, monkeypatch, capsys):
    assert cli.main(["why", "d", "t"]) == 1
    assert "where is the api-server? Set AIRFLOW_PLATFORM_URL or --url" in capsys.readouterr().err
    assert cli.main(["why", "d", "t", "--url", server.url]) == 1
    assert "who asks? Set AIRFLOW_PLATFORM_TOKEN" in capsys.readouterr().err
    assert cli.main(["why", "d", "t", "--url", "airflow.example.com"]) == 1
    assert "is no address of an api-server" in capsys.readouterr().err
    monkeypatch.setenv(client.TOKEN, "secret")
    assert cli.main(["why", "d", "t", "--url", "http://127.0.0.1:9"]) == 1
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err


def test_a_word_that_is_missing_is_a_mistake_of_usage(capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(["why", "d"])
    assert raised.value.code == 2
    assert "TASK" in capsys.readouterr().err


def test_in_a_pod_with_the_database_nobody_else_is_asked(monkeypatch, capsys):
    monkeypatch.delenv(client.URL, raising=False)
    monkeypatch.setenv(command._DATABASE, "postgresql://nobody@127.0.0.1:9/none")
    asked = []
    monkeypatch.setattr(command, "_here", lambda options: asked.append(options.dag) or ANSWER)
    assert cli.main(["why", "d", "t"]) == 0
    assert asked == ["d"]
    assert "Try 1 of 3" in capsys.readouterr().out


@pytest.fixture
def in_the_pod(monkeypatch):
    """Airflow, as the command finds it in a pod with the database: it prints, and knows one DAG."""
    monkeypatch.delenv(client.URL, raising=False)
    monkeypatch.setenv(command._DATABASE, "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setattr(command.logging, "disable", lambda level: None)

    async def explain(request):
        print("what Airflow logs")
        if request.dag_id != "d":
            raise NotFoundError("There is no DAG 'e'. Known: d.")
        return SimpleNamespace(as_dict=lambda: ANSWER)

    monkeypatch.setattr(why, "explain", explain)


def test_what_airflow_logs_is_no_part_of_the_answer(in_the_pod, capsys):
    assert cli.main(["why", "d", "t", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == ANSWER
    assert "what Airflow logs" in err


def test_a_name_that_the_database_does_not_know_is_one_line(in_the_pod, capsys):
    assert cli.main(["why", "e", "t"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("error: There is no DAG 'e'. Known: d.\n")


def test_the_image_has_the_command():
    (found,) = (one for one in entry_points(group="console_scripts") if one.name == "airflow-platform")
    assert found.load() is cli.main


def test_help_and_mistakes_import_no_airflow():
    code = "import sys; from airflow_platform import cli; print({'airflow', 'httpx', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
