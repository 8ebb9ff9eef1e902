import threading
import time
from contextlib import contextmanager

import psycopg2
import pytest

from airflow_platform import heartbeat
from airflow_platform.schema import NotReady


@pytest.fixture
def database(monkeypatch):
    """Set what the database says of the job's age in seconds: a number, None for no job, or an error."""

    def answers(age):
        @contextmanager
        def connect():
            if isinstance(age, Exception):
                raise age
            yield None

        monkeypatch.setattr(heartbeat, "connect", connect)
        monkeypatch.setattr(heartbeat, "age", lambda *_: age)

    return answers


def test_a_fresh_heartbeat_is_alive(database):
    database(29.0)
    heartbeat.main(["TriggererJob"])


@pytest.mark.parametrize(
    ("age", "message"),
    [(31.0, "the last heartbeat is 31 s old, more than 30 s"), (None, "no running TriggererJob on ")],
)
def test_a_stale_or_missing_job_is_dead(database, age, message):
    database(age)
    with pytest.raises(SystemExit, match=message):
        heartbeat.main(["TriggererJob"])


def test_an_age_that_is_allowed_is_alive(database):
    database(100.0)
    heartbeat.main(["SchedulerJob", "--max-age", "120"])


def test_a_start_needs_the_database(database):
    database(NotReady("the database does not answer"))
    with pytest.raises(SystemExit, match="does not answer"):
        heartbeat.main(["DagProcessorJob"])


def test_a_job_that_runs_survives_the_database(database, capsys):
    database(NotReady("the database does not answer"))
    heartbeat.main(["DagProcessorJob", "--without-database"])
    assert capsys.readouterr().out == "unknown: the database does not answer\n"


@pytest.mark.parametrize("error", [psycopg2.OperationalError("server_login_retry"), None])
def test_pgbouncer_without_its_database_restarts_nothing(database, monkeypatch, capsys, error):
    """It takes the connection, and then refuses the question, or lets it wait."""
    database(5.0)
    hanging = threading.Event()

    def ask(*_):
        if error:
            raise error
        hanging.wait(30)

    monkeypatch.setattr(heartbeat, "age", ask)
    monkeypatch.setattr(heartbeat, "_PATIENCE", 0.2)
    began = time.monotonic()
    heartbeat.main(["DagProcessorJob", "--without-database"])
    assert capsys.readouterr().out.startswith("unknown: the database ")
    with pytest.raises(SystemExit, match="the database (does not answer: server_login_retry|has not answered within)"):
        heartbeat.main(["DagProcessorJob"])
    assert time.monotonic() - began < 10
    hanging.set()


def test_the_host_is_known_by_what_airflow_calls_it():
    from airflow.utils.net import get_host_ip_address, getfqdn

    names = heartbeat.local_hostnames()
    assert getfqdn() in names
    assert get_host_ip_address() in names
