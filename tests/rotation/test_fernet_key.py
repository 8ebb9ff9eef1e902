"""The Fernet key is rotated in the three steps of docs/rotation.md, while tasks run: none of them notices."""

import base64
import hashlib
import hmac
import os

import pytest
from local.cluster import postgres, releases, settings
from tests.rotation.conftest import nobody_noticed

SECRET = "airflow-generated"


@pytest.fixture
def connection(airflow):
    """A connection with a password, made by a person."""
    body = {"connection_id": "rotation", "conn_type": "http", "host": "example.com", "password": "hunter2"}
    airflow.call("POST", "connections", **body)
    yield "rotation"
    airflow.call("DELETE", "connections/rotation")


def encrypted_by(key, token):
    """Whether a Fernet token is this key's: the first half of the key signs it (github.com/fernet/spec)."""
    content = base64.urlsafe_b64decode(token)
    signature = hmac.new(base64.urlsafe_b64decode(key)[:16], content[:-32], hashlib.sha256).digest()
    return hmac.compare_digest(signature, content[-32:])


def test_no_task_notices_and_the_old_key_reads_nothing_afterwards(start, connection, upgrade, put):
    run = start()
    old = releases.secret(settings.NAMESPACE, SECRET, "fernet-key")
    new = base64.urlsafe_b64encode(os.urandom(32)).decode()

    def step(*keys, **values):
        put(SECRET, fernet_key=",".join(keys))
        upgrade(fernetKey=values)

    step(old, new, revision=1)
    step(new, old, revision=2, rotate=True)
    # A pod of before may have written by the old key after the Job had passed.
    step(new, old, revision="2b", rotate=True)
    step(new, revision=3)
    nobody_noticed(run)
    (password,) = postgres.query(f"SELECT password FROM connection WHERE conn_id = '{connection}'")
    assert encrypted_by(new, password)
    assert not encrypted_by(old, password)
    assert all(encrypted_by(new, kwargs) for kwargs in postgres.query("SELECT kwargs FROM trigger"))
