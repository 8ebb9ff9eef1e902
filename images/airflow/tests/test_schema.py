import traceback

import pytest
from psycopg2.extensions import make_dsn

from airflow_platform import schema
from airflow_platform.schema import NotReady

HEADS = {"alembic_version": "a1", "alembic_version_fab": "f1"}


class Database:
    """Answers schema's queries: version tables by name, whether set-up holds its lock, and Airflow connections."""

    def __init__(self, tables, *, locked=False, connections=()):
        self.tables, self.locked, self.connections = tables, locked, connections

    def cursor(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def execute(self, query, parameters=()):
        if "to_regclass" in query:
            self.rows = [(parameters[0] if parameters[0] in self.tables else None,)]
        elif "advisory" in query:
            self.rows = [(not self.locked,)]
        elif "conn_id" in query:
            self.rows = [(name,) for name in self.connections if name in parameters[0]]
        else:
            self.rows = [(version,) for version in self.tables[query.rsplit(" ", 1)[1]]]

    def fetchone(self):
        return self.rows[0]

    def fetchall(self):
        return self.rows


def test_expected_heads_are_those_of_the_installed_migrations():
    from airflow.providers.fab.auth_manager.models.db import FABDBManager
    from airflow.utils.db import _get_script_object

    assert schema.expected_heads() == {
        "alembic_version": _get_script_object().get_current_head(),
        "alembic_version_fab": FABDBManager(None).get_script_object().get_current_head(),
    }


def test_a_source_without_the_map_is_named(tmp_path):
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "db.py").write_text("heads = {}")
    with pytest.raises(LookupError, match="utils/db.py has no _REVISION_HEADS_MAP"):
        schema.expected_heads(tmp_path)


MIGRATED = {"alembic_version": ["a1"], "alembic_version_fab": ["f1"]}


def test_a_migrated_database_is_ready():
    schema.check(Database(MIGRATED), HEADS)


def test_connections_that_are_needed_are_waited_for():
    schema.check(Database(MIGRATED, connections=["lake", "mail"]), HEADS, ["lake"])
    with pytest.raises(NotReady, match="there is no connection git yet: the migrations Job makes it"):
        schema.check(Database(MIGRATED, connections=["lake"]), HEADS, ["git", "lake"])


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        (Database({}), "no table alembic_version yet"),
        (Database({"alembic_version": ["a1"]}), "no table alembic_version_fab yet"),
        (Database({"alembic_version": []}), "alembic_version is at nothing, this image's Airflow needs a1"),
        (Database({"alembic_version": ["b2"]}), "alembic_version is at b2, this image's Airflow needs a1"),
        (
            Database({"alembic_version": ["a1"], "alembic_version_fab": ["f1"]}, locked=True),
            "the migrations Job has not finished",
        ),
    ],
)
def test_what_is_missing_is_said(database, reason):
    with pytest.raises(NotReady, match=reason):
        schema.check(database, HEADS)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is no PostgreSQL URL: not set"),
        ("mysql://me:hunter2@db/airflow", "is no PostgreSQL URL: mysql://…"),
        ("postgresql+psycopg2://me:hunter2@127.0.0.1:1/airflow", "does not answer: .*refused"),
    ],
)
def test_a_database_out_of_reach_is_named_without_its_password(monkeypatch, url, reason):
    monkeypatch.setenv(schema.URL_VARIABLE, url)
    with pytest.raises(NotReady, match=reason) as raised, schema.connect():
        pass
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("password", ["hun%ter2", "hun/ter2", "4/ter2", "hun?ter2", "4?host=ter2", "hun@ter2"])
def test_a_password_that_is_not_encoded_is_not_repeated(password):
    url = f"postgresql://me:{password}@127.0.0.1:1/airflow"
    with pytest.raises(NotReady, match="not a valid URL: percent-encode user and password") as raised:
        schema.connect(url).__enter__()
    assert "ter2" not in "".join(traceback.format_exception(raised.value)).replace(url, "")


def test_a_password_that_is_encoded_reaches_the_database():
    with pytest.raises(NotReady, match="does not answer: .*refused"):
        schema.connect("postgresql://me:h%25u%2Fn%40@127.0.0.1:1,127.0.0.1:2/airflow?connect_timeout=3").__enter__()


def test_tls_in_the_url_is_refused_as_a_part_of_airflow_does_not_know_it_there():
    with pytest.raises(NotReady, match=r"has sslmode, sslrootcert, which .* set database.sslMode") as raised:
        schema.connect("postgresql://me:hunter2@127.0.0.1:1/airflow?sslrootcert=/ca.crt&sslmode=require").__enter__()
    assert "hunter2" not in str(raised.value)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_airflow_s_own_option_takes_what_notices_a_host_that_is_gone(monkeypatch):
    from airflow.configuration import conf

    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS", "airflow_platform.schema.CONNECT_ARGS")
    found = conf.getimport("database", "sql_alchemy_connect_args")
    assert "tcp_user_timeout=25000" in make_dsn("host=db", **found), "libpq knows each of them"


def test_wait_ends_when_the_probe_passes_and_says_each_reason_once(capsys):
    reasons = ["no table", "no table", "locked"]
    clock = Clock()

    def probe():
        if reasons:
            raise NotReady(reasons.pop(0))

    schema.wait(probe, 60, clock=clock, sleep=clock.sleep)
    assert capsys.readouterr().out == "waiting: no table\nwaiting: locked\n"
    assert clock.now == 6


def test_wait_gives_up_with_the_last_reason():
    clock = Clock()

    def probe():
        raise NotReady("no table")

    with pytest.raises(NotReady, match="no table"):
        schema.wait(probe, 10, clock=clock, sleep=clock.sleep)
    assert clock.now == 10
