"""Dumps in a bucket: when one is made, what is known of it, and when it is not restored."""

import contextlib
import io
import json
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from cryptography.fernet import Fernet

from airflow_platform import schema
from airflow_platform.backup import __main__ as backup
from airflow_platform.backup.bucket import VARIABLE, BackupError, Bucket, Record, fingerprints

URL = "postgresql+psycopg2://airflow:it%27s@db.example.com/meta?connect_timeout=7"
KEYS = [Fernet.generate_key().decode() for _ in range(2)]
HEADS = {"alembic_version": "1d6611b6ab7c", "alembic_version_fab": "6709f7a774b9"}


class S3:
    """Keeps objects as S3 does."""

    def __init__(self):
        self.objects, self.away = {}, False

    def _ask(self, operation):
        if self.away:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)

    def upload_file(self, path, _bucket, key):
        self._ask("PutObject")
        with open(path, "rb") as file:
            self.objects[key] = file.read()

    def put_object(self, Bucket, Key, Body):
        self._ask("PutObject")
        self.objects[Key] = Body

    def get_object(self, Bucket, Key):
        return {"Body": io.BytesIO(self.objects[Key])}

    def download_file(self, _bucket, key, path):
        with open(path, "wb") as file:
            file.write(self.objects[key])

    def get_paginator(self, _name):
        self._ask("ListObjectsV2")
        return self

    def paginate(self, Bucket, Prefix):
        # Two a page.
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        return [{"Contents": [{"Key": key} for key in keys[at : at + 2]]} for at in range(0, len(keys), 2)] or [{}]


class Database:
    """What `connect` gives: the revisions that it has, how many others use it, what its user may not."""

    def __init__(self, heads, others=0, *, may_create=True, of_others=(), encrypted=None):
        self.heads, self.others, self.cannot, self.rows = heads, others, (may_create, [*of_others]), []
        self.encrypted = encrypted or {}

    @contextlib.contextmanager
    def __call__(self, url=None):
        yield self

    def cursor(self):
        return contextlib.nullcontext(self)

    def execute(self, query, values=()):
        if "current_schema" in query:
            self.rows = [("airflow",)]
        elif "to_regclass" in query:
            self.rows = [(values[0] if values[0] in {*self.heads, *self.encrypted} else None,)]
        elif "pg_stat_activity" in query:
            self.rows = [(self.others,)]
        elif "has_schema_privilege" in query:
            self.rows = [self.cannot]
        elif query.startswith("SELECT"):
            self.rows = [(text,) for text in self.encrypted[query.split()[3]]]
        else:
            self.rows = [(self.heads[query.split()[-1]],)]

    def fetchone(self):
        return self.rows[0]

    def fetchall(self):
        return self.rows


@pytest.fixture
def folders(tmp_path):
    for name in ("connection", "backup"):
        (tmp_path / name).mkdir()
    return SimpleNamespace(connection=tmp_path / "connection", backup=tmp_path / "backup")


@pytest.fixture
def s3(monkeypatch):
    s3 = S3()
    monkeypatch.setattr(backup, "time", SimpleNamespace(strftime=lambda *_: s3.when, gmtime=lambda: None))
    monkeypatch.setattr(Bucket, "of", lambda *_: Bucket(s3, "dumps", "production/airflow"))
    monkeypatch.setenv(
        VARIABLE, json.dumps({"bucket": "dumps", "prefix": "production", "namespace": "airflow", "release": "airflow"})
    )
    monkeypatch.setenv(schema.URL_VARIABLE, URL)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", ",".join(KEYS))
    return s3


def database(monkeypatch, heads, others=0, **more):
    monkeypatch.setattr(backup, "connect", Database(heads, others, **more))


def make(s3, folders, dump=b"dump", heads=HEADS, when="20260101T000000Z", keys=KEYS):
    """A backup, as the migrations Job makes it."""
    needed = {"heads": heads, "fernet_keys": fingerprints(",".join(keys))}
    (folders.connection / "schema").write_text("airflow")
    (folders.connection / "needed").write_text(json.dumps(needed))
    (folders.backup / "dump").write_bytes(dump)
    s3.when = when
    backup.store(folders.connection, folders.backup)


def test_a_schema_that_moves_is_dumped_first(monkeypatch, folders, s3, capsys):
    database(monkeypatch, HEADS)
    backup.prepare(folders.connection, timeout=0)
    assert json.loads((folders.connection / "needed").read_text())["heads"] == HEADS
    assert "the schema moves from alembic_version 1d6611b6ab7c" in capsys.readouterr().out


def test_a_user_who_could_not_restore_it_has_none(monkeypatch, folders, s3):
    database(monkeypatch, HEADS, may_create=False)
    with pytest.raises(BackupError, match="may not create anything in the schema airflow"):
        backup.prepare(folders.connection, timeout=0)
    database(monkeypatch, HEADS, of_others=["report of analyst", "t of postgres"])
    with pytest.raises(BackupError, match="own in the schema airflow.*: report of analyst, t of postgres. Make it the"):
        backup.prepare(folders.connection, timeout=0)
    assert list(folders.connection.iterdir()) == []


def test_a_probe_tries_what_a_dump_needs_and_makes_none(monkeypatch, folders, s3, capsys):
    make(s3, folders)
    (folders.connection / "needed").unlink()
    before = set(s3.objects)
    database(monkeypatch, HEADS)
    backup.probe(folders.connection, timeout=0)
    assert set(s3.objects) - before == {"production/airflow/probe"}
    assert {path.name for path in folders.connection.iterdir()} == {"schema", "service"}
    assert "it has 1 backups, the newest 20260101T000000Z" in capsys.readouterr().out


def test_a_probe_of_a_bucket_that_has_no_backup_yet_does_well(monkeypatch, folders, s3, capsys):
    database(monkeypatch, HEADS)
    backup.probe(folders.connection, timeout=0)
    assert "it has 0 backups\n" in capsys.readouterr().out


def test_a_probe_fails_where_a_dump_would(monkeypatch, folders, s3):
    database(monkeypatch, HEADS, may_create=False)
    with pytest.raises(BackupError, match="may not create"):
        backup.probe(folders.connection, timeout=0)
    database(monkeypatch, HEADS)
    s3.away = True
    with pytest.raises(BackupError, match="s3://dumps/production/airflow: .*AccessDenied.*PutObject"):
        backup.probe(folders.connection, timeout=0)


@pytest.mark.parametrize(
    ("heads", "said"), [({}, "the database is empty"), (schema.expected_heads(), "the schema stays")]
)
def test_another_is_not(monkeypatch, folders, s3, capsys, heads, said):
    database(monkeypatch, heads)
    backup.prepare(folders.connection, timeout=0)
    assert said in capsys.readouterr().out
    assert {path.name for path in folders.connection.iterdir()} == {"schema", "service"}
    backup.store(folders.connection, folders.backup)
    assert not s3.objects


def test_a_schema_of_one_more_table_of_versions_moves(monkeypatch, folders, s3):
    heads = {"alembic_version": schema.expected_heads()["alembic_version"]}
    database(monkeypatch, heads)
    backup.prepare(folders.connection, timeout=0)
    assert (folders.connection / "needed").exists()


def test_programs_of_postgresql_connect_as_airflow_does(folders):
    backup.write_service(folders.connection / "service", URL)
    found = (folders.connection / "service").read_text().splitlines()
    assert found[0] == "[airflow]"
    assert set(found[1:]) == {
        "host=db.example.com", "user=airflow", "password=it's", "dbname=meta", "connect_timeout=7",
    }  # fmt: skip
    assert (folders.connection / "service").stat().st_mode & 0o077 == 0


def test_a_backup_says_what_it_is_of(folders, s3):
    make(s3, folders, b"all of it")
    record = Bucket.of().record("20260101T000000Z")
    assert s3.objects["production/airflow/20260101T000000Z/dump"] == b"all of it"
    assert (record.release, record.schema, record.airflow, record.size) == ("airflow", HEADS, "3.2.0", 9)
    assert record.fernet_keys == fingerprints(",".join(KEYS))
    assert record.target == schema.expected_heads()
    assert record.within == "airflow"
    assert not any(KEYS[0].encode() in body for body in s3.objects.values())
    assert not (folders.backup / "dump").exists()


def test_a_bucket_that_refuses_stops_the_migration(folders, s3):
    s3.away = True
    with pytest.raises(BackupError, match="s3://dumps/production/airflow: .*AccessDenied"):
        make(s3, folders)


def test_a_folder_without_its_record_is_no_backup(folders, s3):
    make(s3, folders)
    s3.objects["production/airflow/20270101T000000Z/dump"] = b"half"
    assert Bucket.of().names() == ["20260101T000000Z"]


def test_the_newest_is_fetched_or_the_one_that_is_named(monkeypatch, folders, s3, capsys):
    make(s3, folders, b"old", when="20260101T000000Z")
    make(s3, folders, b"new", when="20260201T000000Z")
    database(monkeypatch, HEADS)
    backup.fetch(folders.connection, folders.backup)
    assert (folders.backup / "dump").read_bytes() == b"new"
    assert (folders.connection / "schema").read_text() == "airflow"
    assert (folders.connection / "before.sql").read_text().count("BEGIN;") == 1
    monkeypatch.setenv(backup.NAME_VARIABLE, "20260101T000000Z")
    backup.fetch(folders.connection, folders.backup)
    assert (folders.backup / "dump").read_bytes() == b"old"
    assert "backup 20260101T000000Z, of the schema of Airflow 3.2.0" in capsys.readouterr().out
    assert (folders.connection / "service").exists()


def test_a_backup_that_is_not_there_is_said_with_those_that_are(monkeypatch, folders, s3):
    database(monkeypatch, HEADS)
    with pytest.raises(BackupError, match="has no backup$"):
        backup.fetch(folders.connection, folders.backup)
    make(s3, folders)
    monkeypatch.setenv(backup.NAME_VARIABLE, "other")
    with pytest.raises(BackupError, match="has no backup other. The newest are: 20260101T000000Z"):
        backup.fetch(folders.connection, folders.backup)


def test_a_key_that_is_needed_and_missing_is_refused_before_anything_is_fetched(monkeypatch, folders, s3):
    make(s3, folders)
    database(monkeypatch, HEADS)
    for left in ("another", KEYS[0]):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", left)
        with pytest.raises(BackupError, match=f"another Fernet key .*{fingerprints(KEYS[1])[0]}.* Put that key back"):
            backup.fetch(folders.connection, folders.backup)
        assert not (folders.backup / "dump").exists()
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", ",".join(["another", *KEYS]))
    backup.fetch(folders.connection, folders.backup)


def test_the_keys_that_something_is_encrypted_by_are_needed_and_no_others(monkeypatch, folders, s3):
    new, old = (Fernet(key) for key in KEYS)
    encrypted = {"connection": [new.encrypt(b"a").decode()], "variable": [], "trigger": ["{}"]}
    for more, needed in ({}, KEYS[:1]), ({"variable": ["torn", old.encrypt(b"b").decode()]}, KEYS):
        database(monkeypatch, HEADS, encrypted=encrypted | more)
        backup.prepare(folders.connection, timeout=0)
        found = json.loads((folders.connection / "needed").read_text())["fernet_keys"]
        assert found == list(fingerprints(",".join(needed)))


HALFWAY = {**HEADS, "alembic_version": "ffffffffffff"}
#: Airflow's tables are there, those of its auth manager are still to be migrated.
NEARLY = {**HEADS, "alembic_version": schema.expected_heads()["alembic_version"]}


@pytest.mark.parametrize("heads", [HALFWAY, NEARLY])
def test_a_migration_that_ended_halfway_has_its_backup_already(monkeypatch, folders, s3, capsys, heads):
    make(s3, folders)
    (folders.connection / "needed").unlink()
    database(monkeypatch, heads)
    backup.prepare(folders.connection, timeout=0)
    assert "where a migration ended halfway: its backup is 20260101T000000Z" in capsys.readouterr().out
    assert not (folders.connection / "needed").exists()


def test_what_is_no_rest_of_that_migration_is_dumped(monkeypatch, folders, s3):
    make(s3, folders)
    # It has not begun, or was gone back to; or an older release was installed meanwhile, and used.
    for heads in HEADS, {**HEADS, "alembic_version": schema.revisions()["alembic_version"]["3.1.0"]}:
        (folders.connection / "needed").unlink(missing_ok=True)
        database(monkeypatch, heads)
        backup.prepare(folders.connection, timeout=0)
        assert (folders.connection / "needed").exists()
    # To another version than that one was to lead to.
    (folders.connection / "needed").unlink()
    monkeypatch.setattr(backup, "expected_heads", lambda: {"alembic_version": "eeeeeeeeeeee"})
    database(monkeypatch, HALFWAY)
    backup.prepare(folders.connection, timeout=0)
    assert (folders.connection / "needed").exists()


def test_what_a_migration_left_halfway_is_restored_only_by_its_name(monkeypatch, folders, s3):
    database(monkeypatch, HEADS)
    make(s3, folders, b"half", heads=HALFWAY, when="20260201T000000Z")
    with pytest.raises(BackupError, match="has no backup of a schema that a release of Airflow has. Name one: 2026"):
        backup.fetch(folders.connection, folders.backup)
    make(s3, folders, b"whole", when="20260101T000000Z")
    backup.fetch(folders.connection, folders.backup)
    assert (folders.backup / "dump").read_bytes() == b"whole"
    monkeypatch.setenv(backup.NAME_VARIABLE, "20260201T000000Z")
    backup.fetch(folders.connection, folders.backup)
    assert (folders.backup / "dump").read_bytes() == b"half"


def test_nothing_is_restored_under_others(monkeypatch, folders, s3):
    make(s3, folders)
    database(monkeypatch, HEADS, others=3)
    with pytest.raises(BackupError, match="3 sessions of others are open"):
        backup.fetch(folders.connection, folders.backup)
    assert not (folders.connection / "service").exists()


def test_a_dump_that_was_changed_is_refused(monkeypatch, folders, s3):
    make(s3, folders)
    s3.objects["production/airflow/20260101T000000Z/dump"] = b"other"
    database(monkeypatch, HEADS)
    with pytest.raises(BackupError, match="is not what was stored there"):
        backup.fetch(folders.connection, folders.backup)


def test_a_schema_that_this_image_does_not_know_has_no_version():
    assert backup.version_of({"alembic_version": "ffffffffffff"}) == ""


def test_a_record_is_read_as_it_was_written(folders, s3):
    make(s3, folders)
    assert isinstance(Bucket.of().record("20260101T000000Z"), Record)


def test_a_record_of_before_schemas_were_noted_is_of_all_that_airflow_had(folders, s3):
    make(s3, folders)
    key = "production/airflow/20260101T000000Z/backup.json"
    older = json.loads(s3.objects[key])
    del older["within"]
    s3.objects[key] = json.dumps(older).encode()
    assert Bucket.of().record("20260101T000000Z").within == "public"


def test_releases_of_one_name_in_two_namespaces_have_a_folder_each(monkeypatch):
    where = {"bucket": "dumps", "prefix": "production", "release": "airflow", "region": "eu-central-1"}
    found = {str(Bucket.of({VARIABLE: json.dumps(where | {"namespace": name})})) for name in ("one", "other")}
    assert found == {"s3://dumps/production/one/airflow", "s3://dumps/production/other/airflow"}


@pytest.mark.parametrize("value", [None, "no JSON", "{}"])
def test_a_bucket_has_to_be_named(value):
    with pytest.raises(BackupError, match=f"{VARIABLE} does not name"):
        Bucket.of({} if value is None else {VARIABLE: value})


def test_a_mistake_is_said_in_one_line(monkeypatch, s3):
    database(monkeypatch, HEADS)
    with pytest.raises(SystemExit, match="has no backup"):
        backup.main(["fetch"])
