"""Secrets of the platform, and one of a connection, are in no log, page, row or object but those that keep them."""

import json
import uuid

import pytest
import requests
from local.cluster import releases, settings
from local.cluster.console import Problem

#: Secret and key of what the platform holds.
HELD = (
    ("airflow-database", "url"),
    ("airflow-generated", "fernet-key"),
    ("airflow-generated", "api-secret-key"),
    ("airflow-generated", "jwt-secret"),
    ("airflow-generated", "admin-password"),
    ("airflow-s3", "secret-key"),
    ("git-credentials", "password"),
)
#: Of all kinds that a namespace has, those that may not hold one; a Secret may.
OBJECTS = "pods,deployments,replicasets,jobs,configmaps,services,serviceaccounts,events,networkpolicies"
PAGES = ("config", "connections", "variables", "plugins", "importErrors", "eventLogs", "dags", "jobs", "providers")


@pytest.fixture(scope="module")
def canaries(airflow):
    """What nobody may find: the platform's secrets, and the password of a connection."""
    found = {f"{name}/{key}": releases.secret(settings.NAMESPACE, name, key) for name, key in HELD}
    found["the database's password"] = found.pop("airflow-database/url").split(":")[2].split("@")[0]
    found["connection"] = f"canary-{uuid.uuid4().hex}"
    body = {"connection_id": "security_canary", "conn_type": "http", "password": found["connection"]}
    airflow.call("POST", "connections", **body, extra=json.dumps({"token": found["connection"]}))
    yield found
    airflow.call("DELETE", "connections/security_canary")


def hits(canaries, text):
    return [name for name, secret in canaries.items() if secret in text]


def test_no_log_of_a_component_has_one(kubectl, get, canaries):
    for pod in get("pods", "-n", settings.NAMESPACE)["items"]:
        name = pod["metadata"]["name"]
        log = kubectl("logs", name, "-n", settings.NAMESPACE, "--all-containers", "--tail=20000")
        assert hits(canaries, log) == [], name


@pytest.mark.parametrize("namespace", [settings.NAMESPACE, settings.TASK_NAMESPACE])
def test_no_object_has_one(kubectl, canaries, namespace):
    assert hits(canaries, kubectl("get", OBJECTS, "-n", namespace, "-o", "yaml")) == []


def test_no_release_that_helm_keeps_has_one(canaries):
    assert hits(canaries, releases.helm("get", "all", settings.RELEASE, "--namespace", settings.NAMESPACE)) == []


def test_no_row_of_the_database_has_one(kubectl, canaries):
    script = "exec 3<&0; pg_dump -h /tmp -U postgres airflow </dev/null | grep -c -F -f /dev/fd/3 || true"
    words = ("exec", "-i", "-n", settings.STAND_INS, "postgres-0", "--", "sh", "-c", script)
    assert kubectl(*words, stdin="\n".join(canaries.values())).strip() == "0"
    # That it would be seen: something that is there.
    assert int(kubectl(*words, stdin="security_canary").strip()) >= 1


def test_no_object_of_the_logs_bucket_has_one(kubectl, found, canaries):
    script = f"grep -r -l -F -f - /data/buckets/{found['s3']['bucket']} | head -3"
    words = ("exec", "-i", "-n", settings.STAND_INS, "s3-0", "--", "sh", "-c", script)
    assert kubectl(*words, stdin="\n".join(canaries.values())) == ""
    assert kubectl(*words, stdin="Worker startup parse complete") != ""


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
