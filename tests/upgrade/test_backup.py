"""A schema that moves, from a database of an older one, is dumped first; and the database goes back to the dump."""

import json
import os
import subprocess
import sys
import uuid

import pytest
import yaml
from local.cluster import cronjobs, images, postgres, releases, settings, toolchain
from local.cluster.console import wait_for

sys.path.append(str(settings.REPO / "images" / "airflow" / "src"))

from airflow_platform.restore.release import Release

SOURCES = sys.path[-1]
#: A version of Airflow whose schema is older, and the revision that it has.
OLDER, REVISION = "3.2.2", "1d6611b6ab7c"


@pytest.fixture
def install(tmp_path):
    """Install the platform with backups; each time, its migrations Job runs. ``again``: with the same values."""

    def install(*, again=False):
        values = tmp_path / "more.yaml"
        if not again:
            (postgres,) = (one for one in images.stand_ins(toolchain.programs("go")) if one.name == "local/postgres")
            more = {
                "backup": {"image": {"tag": postgres.tag()}},
                "migrations": {"podAnnotations": {"test": uuid.uuid4().hex}},
            }
            values.write_text(yaml.safe_dump(more))
        releases.install_platform(settings.REPO / "values" / "kind-backup.yaml", values)

    yield install
    releases.install_platform()


@pytest.fixture
def migrations_log(kubectl):
    """What the containers of the newest migrations Job have said."""

    def log():
        selector = "app.kubernetes.io/component=migrations"
        words = ["get", "pods", "-n", settings.NAMESPACE, "-l", selector, "--sort-by=.metadata.creationTimestamp"]
        pods = [one["metadata"]["name"] for one in json.loads(kubectl(*words, "-o", "json"))["items"]]
        return kubectl("logs", pods[-1], "-n", settings.NAMESPACE, "--all-containers")

    return log


def _revision():
    (revision,) = postgres.query("SELECT version_num FROM alembic_version")
    return revision


def _history():
    return postgres.query("SELECT count(*), max(id) FROM dag_run UNION ALL SELECT count(*), 0 FROM task_instance")


def downgrade():
    """Give the database the schema of an older Airflow, as this one's own command does."""

    def edit(pod):
        (first,) = pod.pop("initContainers")
        command = ["airflow", "db", "downgrade", "--to-version", OLDER, "--yes"]
        pod["containers"] = [first | {"name": "downgrade", "command": command, "args": [], "resources": {}}]

    cronjobs.run("restore", "downgrade", edit, seconds=180)


def restore():
    """What an SRE runs."""
    env = os.environ | {"PYTHONPATH": SOURCES}
    words = ["-m", "airflow_platform.cli", "restore", settings.RELEASE, "-n", settings.NAMESPACE, "--yes"]
    words = [sys.executable, *words]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=420, check=False)


def test_a_database_goes_back_to_before_a_migration(airflow, install, migrations_log, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(settings.kubeconfig()))
    monkeypatch.setenv("PATH", f"{settings.STATE / 'bin'}:{os.environ['PATH']}")
    install()
    assert "the schema stays: no dump is needed" in migrations_log()
    newest = _revision()

    release = Release(settings.RELEASE, settings.NAMESPACE)
    release.stop(seconds=120)
    downgrade()
    assert _revision() == REVISION
    history = _history()

    # An upgrade from there: dumped, then migrated.
    install()
    said = migrations_log()
    assert f"the schema moves from alembic_version {REVISION}" in said
    assert "is in s3://airflow-backups/airflow" in said
    assert _revision() == newest
    name = f"after_{uuid.uuid4().hex}"
    airflow.call("POST", "variables", key=name, value="stored after the backup")

    # And back.
    done = restore()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"of the schema of Airflow 3.2.0: alembic_version {REVISION}" in done.stdout
    assert _revision() == REVISION
    assert postgres.query(f"SELECT count(*) FROM variable WHERE key = '{name}'") == ["0"]
    assert _history() == history

    # The restored database is whole: an upgrade that changes nothing migrates it again, and Airflow runs on it.
    install(again=True)
    assert _revision() == newest

    def healthy():
        return airflow.call("GET", "monitor/health")["scheduler"]["status"] == "healthy"

    wait_for("a healthy Airflow", healthy, seconds=60)
