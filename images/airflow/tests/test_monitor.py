import base64
import contextlib
import json
import socket
import ssl
import threading
from datetime import datetime, timedelta, timezone

import psycopg2.errors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_platform import expiry as expiries
from airflow_platform import monitor
from airflow_platform.monitor import Monitor
from airflow_platform.schema import NotReady

END = datetime(2027, 3, 1, tzinfo=timezone.utc)


def certificate(end=END):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return built.public_bytes(serialization.Encoding.PEM), private


def token(**claims):
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256"}, claims))
    return b".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts), b"signature"])


@pytest.fixture
def database(monkeypatch):
    """What the database answers, by a word of the query; nothing to all others. An error: to that query, or to all."""

    def answers(rows):
        class Cursor:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def execute(self, query):
                answers.asked.append(query)
                self.rows = next((found for word, found in rows.items() if word in query), [])
                if isinstance(self.rows, Exception):
                    raise self.rows

            def fetchall(self):
                return self.rows

        class Connection:
            def cursor(self):
                return Cursor()

        @contextlib.contextmanager
        def connect():
            if isinstance(rows, Exception):
                raise rows
            yield Connection()

        monkeypatch.setattr(monitor, "connect", connect)

    answers.asked = []
    return answers


#: No component that would be missed.
NONE = {"components": ()}


def collected(**of):
    found = {}
    for family in Monitor(**of).collect():
        for sample in family.samples:
            assert (sample.name, tuple(sample.labels.items())) not in found, "a series twice fails the whole scrape"
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_values_are_told_in_the_platforms_words(database):
    database(
        {
            "pg_stat_database": [(37,)],
            "max_connections": [(97,)],
            "GROUP BY job_type": [("SchedulerJob", 3.5), ("TriggererJob", 100)],
            "state = 'running' AND": [(130,)],
            "GROUP BY state, executor": [
                ("running", None, 2),
                ("running", "KubernetesExecutor", 1),
                ("deferred", "launcher", 7),
            ],
            "queued_dttm": [("queued", 61.5)],
        }
    )
    assert collected(launcher="local", components=["scheduler", "triggerer"]) == {
        ("airflow_platform_database_up",): 1,
        ("airflow_platform_database_connections",): 37,
        ("airflow_platform_database_connections_max",): 97,
        ("airflow_platform_heartbeat_age_seconds", "scheduler"): 3.5,
        ("airflow_platform_heartbeat_age_seconds", "triggerer"): 100,
        ("airflow_platform_triggerer_heartbeat_age_seconds",): 130,
        ("airflow_platform_tasks", "running", "KubernetesExecutor"): 3,
        ("airflow_platform_tasks", "deferred", "LocalLauncher"): 7,
        ("airflow_platform_oldest_task_seconds", "queued"): 61.5,
    }


def test_where_there_is_nothing_of_a_kind_there_is_no_series(database):
    database({"FROM dag WHERE": [(None,)]})
    assert collected(**NONE) == {("airflow_platform_database_up",): 1}


@pytest.mark.parametrize("kind", ["UndefinedTable", "UndefinedColumn", "LockNotAvailable"])
def test_a_schema_that_is_being_migrated_is_no_database_that_is_away(database, caplog, kind):
    error = getattr(psycopg2.errors, kind)('relation "task_instance" …\nLINE 1: SELECT')
    database({"pg_stat_database": [(37,)], "FROM task_instance": error, "GROUP BY job_type": [("SchedulerJob", 3.5)]})
    assert collected(components=["scheduler"]) == {
        ("airflow_platform_database_up",): 1,
        ("airflow_platform_database_connections",): 37,
        ("airflow_platform_heartbeat_age_seconds", "scheduler"): 3.5,
    }
    assert [one.getMessage() for one in caplog.records] == ['The schema is being migrated: relation "task_instance" …']
    assert not caplog.records[0].exc_info


def test_another_error_of_the_database_is_one_that_is_away(database):
    database({"GROUP BY job_type": [("SchedulerJob", 3.5)], "FROM task_instance": psycopg2.errors.QueryCanceled()})
    assert collected() == {("airflow_platform_database_up",): 0}


def test_no_query_waits_for_as_long_as_a_deadlock_is_waited_for(database):
    """PostgreSQL's `deadlock_timeout` is a second: then it may be the migration that is ended for it."""
    database({})
    collected()
    assert database.asked[0].endswith("SET LOCAL lock_timeout = 500")


def test_a_component_that_never_came_up_is_missed_since_there_was_a_table(database, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now)
    here = Monitor(components=["scheduler", "triggerer"])

    def told():
        found = {family.name: family.samples for family in here.collect()}
        ages = found.get("airflow_platform_heartbeat_age_seconds", [])
        return {one.labels["component"]: one.value for one in ages}

    database({"GROUP BY job_type": psycopg2.errors.UndefinedTable()})
    assert told() == {}
    now += 600
    database({"GROUP BY job_type": [("SchedulerJob", 3.5)]})
    assert told() == {"scheduler": 3.5, "triggerer": 0}
    now += 150
    assert told() == {"scheduler": 3.5, "triggerer": 150}
    database({"GROUP BY job_type": [("SchedulerJob", 3.5), ("TriggererJob", 1)]})
    assert told() == {"scheduler": 3.5, "triggerer": 1}


def test_the_canary_is_told_of_also_where_its_dag_breaks_and_not_while_it_is_paused():
    query = monitor._QUERIES["airflow_platform_canary_age_seconds"][2]
    assert "is_stale" not in query
    assert "NOT dag.is_paused" in query


def test_a_database_that_is_away_is_said_and_the_rest_is_served(database):
    database(NotReady("the database does not answer"))
    assert collected(expires={"a/tls.crt": lambda: certificate()[0]}) == {
        ("airflow_platform_database_up",): 0,
        ("airflow_platform_expiry_timestamp_seconds", "a/tls.crt"): END.timestamp(),
    }


def test_a_database_that_hangs_is_said_in_time_and_asked_again_when_it_answers(database, monkeypatch, caplog):
    """As behind PgBouncer, which no statement's timeout reaches."""
    database({"GROUP BY job_type": [("SchedulerJob", 3.5)]})
    hanging, connect = threading.Event(), monitor.connect
    asked = []

    @contextlib.contextmanager
    def hang():
        asked.append(1)
        hanging.wait(30)
        with connect() as connection:
            yield connection

    monkeypatch.setattr(monitor, "connect", hang)
    monkeypatch.setattr(monitor, "_PATIENCE", 0.2)
    here = Monitor()
    for _ in range(3):
        (up,) = here.collect()
        assert [sample.value for sample in up.samples] == [0]
    assert len(asked) == 1, "a database that hangs is asked by one at a time"
    assert "has not answered within 0.2 s" in caplog.text
    monkeypatch.setattr(monitor, "_PATIENCE", 10)
    hanging.set()
    names = {family.name for family in here.collect() if family.samples}
    assert names == {"airflow_platform_database_up", "airflow_platform_heartbeat_age_seconds"}
    assert len(asked) == 2


def test_servers_that_are_slow_to_answer_are_told_at_a_later_scrape(database, monkeypatch):
    database({})
    slow, asked = threading.Event(), []

    def read():
        asked.append(1)
        slow.wait(30)
        return certificate()[0]

    monkeypatch.setattr(monitor, "_PATIENCE", 0.2)
    here = Monitor({"a/tls.crt": read})
    assert [family.samples for family in here.collect()][-1] == []
    slow.set()
    here._servers._asked.result(10)
    assert [sample.value for sample in [*here.collect()][-1].samples] == [END.timestamp()]
    assert len(asked) == 1


def test_a_component_that_is_not_wanted_is_not_missed(database):
    database({"GROUP BY job_type": [("SchedulerJob", 3.5), ("TriggererJob", 9e6)]})
    assert ("airflow_platform_heartbeat_age_seconds", "triggerer") not in collected(components=["scheduler"])
    assert collected(components=["scheduler"])[("airflow_platform_heartbeat_age_seconds", "scheduler")] == 3.5


def test_the_names_are_all_that_is_served(database):
    database({query: [(*labels, 1)] for _, labels, query in monitor._QUERIES.values()})
    found = collected(
        expires={"a/token": lambda: token(exp=1)}, components=["component"], api_server="http://127.0.0.1:1"
    )
    assert {one[0] for one in found} == set(monitor.NAMES)


@pytest.mark.parametrize(("status", "up"), [(200, 1), (503, 0), (None, 0)])
def test_whether_the_api_server_answers(database, monkeypatch, status, up):
    """None: it takes the question, and does not answer in time."""
    monkeypatch.setattr(monitor, "_AT_FIRST", 0.5)
    database({})
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with server.accept()[0] as connection:
                connection.recv(1000)
                if status:
                    connection.sendall(f"HTTP/1.1 {status} it\r\nContent-Length: 0\r\n\r\n".encode())
                over.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/api/v2/version"
        here = Monitor(api_server=address, **NONE)
        found = {family.name: [one.value for one in family.samples] for family in here.collect() if family.samples}
        over.set()
        thread.join()
        here._api._thread.shutdown()
    assert found == {"airflow_platform_api_server_up": [up], "airflow_platform_database_up": [1]}


def test_an_api_server_that_is_not_there_is_said(database):
    database({})
    assert collected(api_server="http://127.0.0.1:1/api/v2/version")[("airflow_platform_api_server_up",)] == 0


def test_the_first_certificate_of_several_to_end_counts():
    later, _ = certificate(END + timedelta(days=9))
    assert expiries.expiry(later + certificate()[0]) == END.timestamp()


def test_a_token_says_when_it_ends():
    assert expiries.expiry(token(exp=1800000000, sub="ci") + b"\n") == 1800000000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hunter2", "it is neither a PEM certificate nor a JSON Web Token"),
        (token(sub="ci"), "it is a token without an end"),
        (b"a.b.c", "it is a token without an end"),
        (b"-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----", "a certificate in it is damaged"),
    ],
)
def test_what_has_no_end_is_0_and_the_reason_has_none_of_it(content, reason, caplog, database):
    database({})
    assert collected(expires={"a/key": lambda: content})[("airflow_platform_expiry_timestamp_seconds", "a/key")] == 0
    assert reason in caplog.text
    assert "hunter2" not in caplog.text


def test_what_ends_is_called_by_its_secret_or_server(tmp_path):
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "token").write_text("a token")
    found = monitor.expiring([tmp_path / "ci" / "token"], ["db.example.com:5432"])
    assert list(found) == ["db.example.com:5432", "ci/token"]
    assert found["ci/token"]() == b"a token"


def test_a_secret_that_is_not_there_is_0(database, tmp_path):
    database({})
    found = collected(expires=monitor.expiring([tmp_path / "tls" / "tls.crt"], []))
    assert found[("airflow_platform_expiry_timestamp_seconds", "tls/tls.crt")] == 0


def test_the_certificate_that_a_server_shows_is_read(tmp_path):
    shown, private = certificate()
    (tmp_path / "both.pem").write_bytes(shown + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError), context.wrap_socket(server.accept()[0], server_side=True) as one:
                one.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert expiries.expiry(monitor.of_server(f"127.0.0.1:{server.getsockname()[1]}")) == END.timestamp()
        thread.join(5)


def test_a_server_that_is_away_is_0(database):
    database({})
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    found = collected(expires=monitor.expiring([], [address]))
    assert found[("airflow_platform_expiry_timestamp_seconds", address)] == 0
