import contextlib
import http.server
import threading
from importlib.metadata import version

import pytest

from airflow_platform import api_server_release
from airflow_platform.schema import NotReady


@contextlib.contextmanager
def server(*bodies):
    """An api-server that answers by each body in turn, and by the last from then on: its URL."""
    left = list(bodies)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(200 if body else 503)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/api/v2/version"
        served.shutdown()


@pytest.mark.parametrize("found", ["3.3.2", "3.3.10", "4.0.0rc1"])
def test_one_of_this_release_or_a_newer_one_will_do(found):
    with server(f'{{"version": "{found}", "git_version": null}}') as url:
        api_server_release.check(url, "3.3.2")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"version": "3.2.2"}', "is of Airflow 3.2.2, older than this image's 3.3.2"),
        ('{"version": "3.3.2rc1"}', "is of Airflow 3.3.2rc1, older"),
        ("", "does not tell its version at http.*503"),
        ("<html>", "does not tell its version"),
        ("[]", "does not tell its version"),
        ('{"version": "main"}', "does not tell its version.*main"),
    ],
)
def test_what_is_not_there_yet_is_said(body, reason):
    with server(body) as url, pytest.raises(NotReady, match=reason):
        api_server_release.check(url, "3.3.2")


def test_one_that_nobody_has_started_is_waited_for():
    with pytest.raises(SystemExit, match="gave up after 0 s: the api-server does not tell its version at .*refused"):
        api_server_release.main(["http://127.0.0.1:1/api/v2/version", "--timeout", "0"])


def test_one_of_several_that_is_old_is_seen():
    with server(*['{"version": "3.3.2"}'] * 3, '{"version": "3.2.2"}') as url, pytest.raises(NotReady, match="older"):
        api_server_release.check(url, "3.3.2")


def test_one_that_is_away_may_be_let_be(capsys):
    api_server_release.main(["http://127.0.0.1:1/api/v2/version", "--unless-away"])
    assert capsys.readouterr().out == "no api-server is older\n"
    with server("") as url:
        api_server_release.check(url, "3.3.2", unless_away=True)


# The page of its UI, at a path that is not the api-server's yet.
@pytest.mark.parametrize(("body", "reason"), [('{"version": "3.2.2"}', "older"), ("<html>", "does not tell")])
def test_one_that_answers_otherwise_is_not_let_be(body, reason):
    with server(body) as url, pytest.raises(NotReady, match=reason):
        api_server_release.check(url, "3.3.2", unless_away=True)


def test_the_old_one_is_waited_out(capsys, monkeypatch):
    monkeypatch.setattr(api_server_release, "wait", lambda *words: _wait(*words, interval=0.01))
    with server("", '{"version": "2.0.0"}', f'{{"version": "{version("apache-airflow-core")}"}}') as url:
        api_server_release.main([url])
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"waiting: the api-server is of Airflow 2.0.0, older than this image's {version('apache-airflow-core')}: it is "
        "replaced once the migrations Job has finished",
        "no api-server is older",
    ]


_wait = api_server_release.wait
