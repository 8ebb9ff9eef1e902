"""A schema that moves, from a database of an older one, is dumped first; and the database goes back to the dump."""

import json
import uuid

import pytest
from local.cluster import postgres, releases, settings
from local.cluster.console import wait_for
from tests.upgrade.migration import REVISION, Installed, downgrade, restore, revision


@pytest.fixture
def platform(tmp_path):
    """The platform with backups; afterwards as before."""
    yield Installed(tmp_path)
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


def _history():
    return postgres.query("SELECT count(*), max(id) FROM dag_run UNION ALL SELECT count(*), 0 FROM task_instance")


def test_a_database_goes_back_to_before_a_migration(airflow, platform, migrations_log):
    platform.anew()
    assert "the schema stays: no dump is needed" in migrations_log()
    newest = revision()
    before = releases.revision()

    downgrade()
    assert revision() == REVISION
    history = _history()

    # An upgrade from there: dumped, then migrated.
    platform.anew()
    said = migrations_log()
    assert f"the schema moves from alembic_version {REVISION}" in said
    assert "is in s3://airflow-backups/airflow/airflow" in said
    assert revision() == newest
    name = f"after_{uuid.uuid4().hex}"
    airflow.call("POST", "variables", key=name, value="stored after the backup")

    # And back.
    assert f"of the schema of Airflow 3.2.0: alembic_version {REVISION}" in restore()
    assert revision() == REVISION
    assert postgres.query(f"SELECT count(*) FROM variable WHERE key = '{name}'") == ["0"]
    assert _history() == history

    # The restored database is whole: an upgrade that changes nothing migrates it again, and Airflow runs on it.
    platform.again()
    assert revision() == newest

    wait_for("a healthy Airflow", lambda: _healthy(airflow), seconds=60)

    # The other way: release and database go back in one command, whose migration begins from the restored schema.
    downgrade()
    platform.anew()
    after = releases.revision()
    other = f"after_{uuid.uuid4().hex}"
    wait_for("a healthy Airflow", lambda: _healthy(airflow), seconds=60)
    airflow.call("POST", "variables", key=other, value="stored after the backup")
    said = restore("--rollback", str(before))
    assert f"of the schema of Airflow 3.2.0: alembic_version {REVISION}" in said
    assert said.splitlines()[-1] == "done"
    assert releases.revision() == after + 1
    assert f"the schema moves from alembic_version {REVISION}" in migrations_log()
    assert revision() == newest
    assert postgres.query(f"SELECT count(*) FROM variable WHERE key = '{other}'") == ["0"]
    wait_for("a healthy Airflow", lambda: _healthy(airflow), seconds=60)


def _healthy(airflow):
    return airflow.call("GET", "monitor/health")["scheduler"]["status"] == "healthy"
