import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from local.cluster.airflow import Airflow
from local.cluster.console import Problem


class Handler(BaseHTTPRequestHandler):
    """Answers in turn what the test says, as (status, body) or not at all (None), and keeps what was asked."""

    def _answer(self):
        length = int(self.headers.get("content-length", 0))
        self.rfile.read(length)
        self.server.asked.append((self.command, self.path, self.headers.get("authorization")))
        if self.server.answers[:1] == [None]:
            self.server.answers.pop(0)
            self.close_connection = True
            return
        status, body = (201, {"access_token": "new"}) if self.path == "/auth/token" else self.server.answers.pop(0)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _answer

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.answers, found.asked = [], []
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def airflow(server):
    return Airflow({"ui": f"http://127.0.0.1:{server.server_port}", "user": "ann", "password": "secret"})


@pytest.mark.parametrize(
    ("answer", "dag"),
    [
        ((200, {"dag_id": "d", "is_stale": False}), {"dag_id": "d", "is_stale": False}),
        ((200, {"dag_id": "d", "is_stale": True}), None),
        ((404, {"detail": "not found"}), None),
    ],
)
def test_a_dag_is_there_while_a_file_has_it(server, airflow, answer, dag):
    server.answers = [answer]
    assert airflow.dag("d") == dag


@pytest.mark.parametrize(("status", "detail"), [(401, "Token Expired"), (403, "Invalid JWT token")])
def test_a_token_that_is_good_no_more_is_asked_for_again(server, airflow, status, detail):
    server.answers = [(status, {"detail": detail}), (200, {"dags": []})]
    assert airflow.call("GET", "dags") == {"dags": []}
    assert [path for _, path, _ in server.asked] == ["/api/v2/dags", "/auth/token", "/api/v2/dags"]
    assert server.asked[-1][2] == "Bearer new"


def test_what_the_user_may_not_is_an_error(server, airflow):
    server.answers = [(403, {"detail": "Forbidden"})]
    with pytest.raises(Problem, match="403 .*Forbidden"):
        airflow.call("GET", "dags")


def test_what_only_asks_is_asked_again_where_the_connection_led_nowhere(server, airflow):
    server.answers = [None, (200, {"dags": []})]
    assert airflow.call("GET", "dags") == {"dags": []}
    server.answers = [None, (200, {})]
    with pytest.raises(requests.RequestException):
        airflow.call("POST", "dags/d/dagRuns", logical_date=None)


def test_what_a_deadlock_has_refused_is_asked_once_more(server, airflow):
    refused = (500, {"detail": {"reason": "Database error"}})
    server.answers = [refused, (200, {"state": "failed"})]
    assert airflow.call("PATCH", "dags/d/dagRuns/r", state="failed") == {"state": "failed"}
    server.answers = [refused, refused]
    with pytest.raises(Problem, match="Database error"):
        airflow.call("PATCH", "dags/d/dagRuns/r", state="failed")
    server.answers = [refused]
    with pytest.raises(Problem, match="Database error"):
        airflow.call("POST", "dags/d/dagRuns", logical_date=None)
