"""The access key of the logs' bucket is replaced by a second one while tasks run: none notices, and no log is lost."""

import contextlib
import secrets

import pytest
from local.cluster import releases, settings
from local.cluster.console import Problem
from tests.rotation.conftest import nobody_noticed

SECRET = "airflow-s3"


@pytest.fixture
def admin(kubectl):
    """`versitygw admin`, by the root key of the S3 that stands in."""

    def admin(*words):
        root = "ADMIN_ACCESS_KEY_ID=$ROOT_ACCESS_KEY_ID ADMIN_SECRET_ACCESS_KEY=$ROOT_SECRET_ACCESS_KEY"
        script = f'{root} exec versitygw admin --endpoint-url http://127.0.0.1:9000 "$@"'
        return kubectl("exec", "-n", settings.STAND_INS, "s3-0", "--", "sh", "-c", script, "-", *words)

    return admin


@pytest.fixture
def pairs(admin):
    """Two access keys with their secret keys."""
    made = []
    for name in ("first", "second"):
        pair = {"access_key": f"{name}-{secrets.token_hex(4)}", "secret_key": secrets.token_urlsafe(24)}
        admin("create-user", "--access", pair["access_key"], "--secret", pair["secret_key"], "--role", "admin")
        made.append(pair)
    yield made
    for pair in made:
        # The test may have deleted it.
        with contextlib.suppress(Problem):
            admin("delete-user", "--access", pair["access_key"])


# The keys are there before the first upgrade, and until after the last one.
def test_no_task_notices_and_each_log_is_whole(pairs, upgrade, start, put, admin):
    keys = ("access-key", "secret-key")
    before = {key: releases.secret(settings.NAMESPACE, SECRET, key) for key in keys}
    first, second = pairs
    try:
        put(SECRET, **first)
        upgrade(logs={"s3": {"revision": 1}})
        run = start()
        put(SECRET, **second)
        upgrade(logs={"s3": {"revision": 2}})
        admin("delete-user", "--access", first["access_key"])
        nobody_noticed(run)
        for instance in run.instances():
            printed = [line for line in run.log(instance["task_id"]) if line.startswith("[base] ")]
            assert printed == ["[base] begins", "[base] ends"], instance["task_id"]
    finally:
        put(SECRET, **before)
