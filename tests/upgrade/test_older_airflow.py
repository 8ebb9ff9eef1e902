"""A database of Airflow 3.2.2 is dumped and migrated by this platform's image, and goes back to what it was, by row.

And what is old is deleted of it. It needs the Docker engine and no cluster. What the migrations Job and the CronJobs
`airflow-restore` and `airflow-clean-database` run is taken from the chart's render, container by container.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from local.cluster import engine, images, toolchain
from local.cluster.console import wait_for
from local.cluster.images import Image
from tests.chart import release

OLDER = Image("test/airflow-3.2", Path(__file__).parent / "airflow-3.2")
KEY = base64.urlsafe_b64encode(b"for a test and nothing else, 32!").decode()
PASSWORD = "it's a secret/%"
URL = "postgresql://airflow:it%27s%20a%20secret%2F%25@postgres:5432/airflow"
BUCKET = {"bucket": "dumps", "prefix": "", "endpoint": "http://s3:9000", "region": "us-east-1"}
BUCKET |= {"namespace": "airflow", "release": "airflow"}
SETTINGS = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": URL,
    "AIRFLOW__CORE__FERNET_KEY": KEY,
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW_PLATFORM_BACKUP": json.dumps(BUCKET),
    "AWS_ACCESS_KEY_ID": "access",
    "AWS_SECRET_ACCESS_KEY": "secret-secret",
}
POSTGRESQL = {"PGSERVICEFILE": "/connection/service", "PGSERVICE": "airflow"}
_S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
#: What an upgrade has to keep, and a restore to bring back, in an order of its own.
HISTORY = (
    "SELECT dag_id, run_id, state, run_after FROM dag_run ORDER BY run_id",
    "SELECT run_id, task_id, map_index, try_number, state, start_date, end_date FROM task_instance ORDER BY 1, 2",
    "SELECT run_id, task_id, key, value FROM xcom ORDER BY 1, 2, 3",
    "SELECT conn_id, conn_type, host, is_encrypted, password FROM connection ORDER BY 1",
)


@dataclass
class Docker:
    """Containers in a network of their own, which go with it."""

    folder: Path
    network: str = field(default_factory=lambda: f"upgrade-{uuid.uuid4().hex[:8]}")

    def __call__(self, *words: str) -> str:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"docker {words[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def serve(self, name: str, image: str, **environment: str) -> None:
        """A server, known by its name."""
        variables = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        named = ["--name", f"{self.network}-{name}", "--network", self.network, "--network-alias", name]
        self("run", "--detach", *named, *variables, image)

    def run(self, image: str, environment: dict[str, str], *command: str) -> str:
        """A container of the release's pods, with the two folders between them: what it prints."""
        variables = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        volumes = [word for one in ("connection", "backup") for word in ("--volume", f"{self.folder / one}:/{one}")]
        how = ["--network", self.network, "--user", "50000:0", "--cap-drop", "ALL", "--entrypoint", ""]
        return self("run", "--rm", *how, *variables, *volumes, image, *command)

    def query(self, sql: str) -> str:
        """What the database answers."""
        words = ["exec", f"{self.network}-postgres", "psql", "-h", "/tmp", "-d", "airflow", "-Atc", sql]
        return self(*words).strip()

    @contextmanager
    def holding(self, tables: str) -> Iterator[None]:
        """A session of psql's that reads ``tables`` and leaves its transaction open."""
        words = ["docker", "exec", "--interactive", f"{self.network}-postgres", "psql", "-h", "/tmp", "-d", "airflow"]
        with subprocess.Popen([*words, "-At"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
            session.stdin.write(f"BEGIN; LOCK {tables} IN ACCESS SHARE MODE;\n\\echo held\n")
            session.stdin.flush()
            while session.stdout.readline() != "held\n":
                assert session.poll() is None, f"psql ended with {session.returncode}"
            yield

    def history(self) -> list[str]:
        """All that is to be kept."""
        return [self.query(sql) for sql in HISTORY]


@pytest.fixture(scope="module")
def built():
    """The images: the older Airflow, this platform's, PostgreSQL and S3."""
    engine.ensure()
    stand_ins = {one.name: one for one in images.stand_ins(toolchain.programs("go"))}
    wanted = {"older": OLDER, "newer": images.AIRFLOW}
    wanted |= {name: stand_ins[f"local/{name}"] for name in ("postgres", "s3")}
    return {name: images.build(image) for name, image in wanted.items()}


@pytest.fixture(scope="module")
def docker(built, tmp_path_factory):
    docker = Docker(tmp_path_factory.mktemp("volumes"))
    for name in ("connection", "backup"):
        (docker.folder / name).mkdir()
        (docker.folder / name).chmod(0o777)
    docker("network", "create", docker.network)
    try:
        docker.serve("postgres", built["postgres"], POSTGRES_PASSWORD="x", AIRFLOW_PASSWORD=PASSWORD)
        keys = {f"ROOT_{name.removeprefix('AWS_')}": SETTINGS[name] for name in _S3_KEYS}
        docker.serve("s3", built["s3"], **keys, BUCKETS=BUCKET["bucket"])
        wait_for("PostgreSQL", lambda: _answers(docker), seconds=60)
        yield docker
    finally:
        for name in ("postgres", "s3"):
            subprocess.run(["docker", "rm", "-fv", f"{docker.network}-{name}"], capture_output=True, check=False)
        docker("network", "rm", docker.network)


def _answers(docker):
    try:
        return docker.query("SELECT 1") == "1"
    except AssertionError:
        return False


@pytest.fixture(scope="module")
def containers():
    """The commands of the chart's containers by name, of the migrations Job and of the CronJobs."""
    release.HELM = str(toolchain.programs("go") / "helm")
    found = {}
    backup = 'backup={"enabled": true, "s3": {"bucket": "dumps"}}'
    for one in release.render(backup, "housekeeping.database.enabled=true"):
        if one["kind"] in ("Job", "CronJob"):
            job = one["spec"] if one["kind"] == "Job" else one["spec"]["jobTemplate"]["spec"]
            pod = job["template"]["spec"]
            for container in (*pod.get("initContainers", []), *pod["containers"]):
                found[container["name"]] = container.get("command") or container["args"]
    return found


def test_a_database_of_the_older_airflow_is_migrated_and_goes_back(docker, built, containers):
    def older(*words):
        return docker.run(built["older"], SETTINGS, *words)

    def newer(*words):
        return docker.run(built["newer"], SETTINGS, *words)

    def step(name):
        if name in ("dump", "restore"):
            return docker.run(built["postgres"], POSTGRESQL, *containers[name])
        return newer(*containers[name])

    older("airflow", "db", "migrate")
    older("airflow", "connections", "add", "warehouse", "--conn-uri", "http://me:canary@warehouse.example.com")
    older("airflow", "dags", "test", "history", "2026-01-01")
    before = docker.history()
    assert before[0].count("|success|") == 1
    assert before[1].count("|success|") == 2
    heads = docker.query("SELECT version_num FROM alembic_version")

    # Others have something in the database, too.
    docker.query("CREATE EXTENSION pg_trgm; CREATE SCHEMA theirs; CREATE TABLE theirs.rows AS SELECT 1 AS one")
    docker.query("CREATE TABLE public.report AS SELECT 1 AS one")
    with pytest.raises(AssertionError, match="own in the schema public.*: report of postgres"):
        step("prepare-backup")
    docker.query("ALTER TABLE public.report SET SCHEMA theirs")

    # The migrations Job of this platform.
    assert "the schema moves from alembic_version" in step("prepare-backup")
    step("dump")
    assert "is in s3://dumps/airflow/airflow" in step("store-backup")
    # Somebody's query holds the tables: the running release is not held up with it, and the log says whose it is.
    told = r"was taken back .*held by process \d+ of user postgres \(psql\)"
    with docker.holding("TABLE dag_run, task_instance"), pytest.raises(AssertionError, match=told):
        step("migrations")
    step("migrations")
    newer("python", "-m", "airflow_platform.schema", "--timeout", "1")
    assert docker.query("SELECT version_num FROM alembic_version") != heads
    assert docker.history() == before, "the migration keeps history"
    shown = json.loads(newer("airflow", "connections", "get", "warehouse", "-o", "json").splitlines()[-1])
    assert shown[0]["password"] == "canary", "the newer Airflow reads what the older one encrypted"

    # What is stored then is lost with it.
    newer("airflow", "variables", "set", "after", "the migration")
    began = time.monotonic()
    assert "of the schema of Airflow 3.2.0" in step("fetch-backup")
    step("restore")
    print(f"restored in {time.monotonic() - began:.1f} s", file=sys.stderr)
    assert docker.query("SELECT version_num FROM alembic_version") == heads
    assert docker.history() == before
    assert docker.query("SELECT count(*) FROM variable") == "0"
    assert docker.query("SELECT one FROM theirs.rows, public.similarity('a', 'a')") == "1"
    older("airflow", "db", "check-migrations", "--migration-wait-timeout", "1")
    assert "canary" in older("airflow", "connections", "get", "warehouse", "-o", "json")
    older("airflow", "dags", "test", "history", "2026-01-02")
    assert docker.query("SELECT count(*) FROM dag_run WHERE state = 'success'") == "2"

    # And forward again: nothing that the first migration made is in the way.
    (docker.folder / "connection" / "needed").unlink()
    assert "the schema moves" in step("prepare-backup")
    step("migrations")
    newer("python", "-m", "airflow_platform.schema", "--timeout", "1")

    # Years later: the DAG is gone, a task of its last run has never started, and a run of housekeeping was killed.
    docker.query("UPDATE dag SET is_stale = true, last_parsed_time = now() - interval '9 years'")
    docker.query("UPDATE dag_run SET run_type = 'scheduled', start_date = now() - interval '9 years'")
    started = "CASE task_id WHEN 'measure' THEN now() - interval '9 years' END"
    docker.query(f"UPDATE task_instance SET start_date = {started}")
    docker.query("CREATE TABLE _airflow_deleted__log__20260101000000__b1 AS TABLE log")
    assert docker.query("SELECT count(*) FROM task_instance JOIN dag_version ON dag_version_id = dag_version.id") != "0"
    step("housekeeping")
    assert docker.query("SELECT count(*) FROM dag") == docker.query("SELECT count(*) FROM task_instance") == "0"
    assert docker.query("SELECT count(*) FROM pg_tables WHERE tablename LIKE '\\_airflow\\_deleted%'") == "0"
