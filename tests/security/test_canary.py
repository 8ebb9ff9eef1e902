"""Secrets of the platform, and one of a connection, are in no log, page, row or object but those that keep them."""

import json
import uuid

import pytest
import requests
from local.cluster.console import Problem
from tests.observe import secrecy

#: Some that must be among what is looked for.
HELD = (
    "airflow/airflow-database/url",
    "airflow/airflow-generated/fernet-key",
    "airflow/airflow-generated/api-secret-key",
    "airflow/airflow-generated/jwt-secret",
    "airflow/airflow-generated/admin-password",
    "airflow/airflow-s3/secret-key",
    "airflow/git-credentials/password",
    "airflow/registry/.dockerconfigjson",
)
PAGES = ("config", "connections", "variables", "plugins", "importErrors", "eventLogs", "dags", "jobs", "providers")


@pytest.fixture(scope="module")
def canaries(airflow):
    """What nobody may find: the platform's secrets, and the password of a connection."""
    found = secrecy.held()
    assert not [name for name in HELD if len(found.get(f"{name}#0", "")) < 16]
    found["connection"] = f"canary-{uuid.uuid4().hex}"
    body = {"connection_id": "security_canary", "conn_type": "http", "password": found["connection"]}
    airflow.call("POST", "connections", **body, extra=json.dumps({"token": found["connection"]}))
    yield found
    airflow.call("DELETE", "connections/security_canary")


def hits(canaries, text):
    return [name for name, secret in canaries.items() if secret in text]


@pytest.mark.parametrize(
    ("look", "there"),
    [
        (secrecy.in_logs, "airflow"),
        (secrecy.in_objects, "airflow-api-server"),
        (secrecy.in_release, "airflow-api-server"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_none_is_shown(canaries, look, there):
    assert look(canaries) == []
    # That it would be seen: something that is there.
    assert look({"this": there})


def test_no_row_of_the_database_has_one(canaries):
    assert secrecy.in_database(canaries) == 0
    assert secrecy.in_database({"this": "security_canary"}) >= 1


def test_no_object_of_the_logs_bucket_has_one(found, canaries):
    assert secrecy.in_bucket(canaries, found["s3"]["bucket"]) == []
    assert secrecy.in_bucket({"this": "Worker startup parse complete"}, found["s3"]["bucket"]) != []


@pytest.mark.parametrize("path", PAGES)
def test_no_answer_of_the_api_has_one(airflow, canaries, path):
    try:
        answer = airflow.call("GET", path)
    except Problem as problem:
        answer = str(problem)
    assert hits(canaries, json.dumps(answer)) == []


def test_a_connection_is_shown_without_its_password(airflow, canaries):
    assert hits(canaries, json.dumps(airflow.call("GET", "connections/security_canary"))) == []


def test_whoever_is_not_logged_in_is_told_nothing(found):
    open_to_all = {"monitor/health": 200, "version": 200}
    for path in ("monitor/health", "version", *PAGES):
        status = requests.get(f"{found['ui']}/api/v2/{path}", timeout=30).status_code
        assert status == open_to_all.get(path, 401), path
