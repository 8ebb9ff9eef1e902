"""The key that signs tokens is replaced by steps of docs/rotation.md, while tasks run: none of them notices."""

import base64
import json
import secrets

import pytest
import requests
from local.cluster import releases, settings
from local.cluster.console import wait_for
from tests.rotation.conftest import nobody_noticed

SECRET = "airflow-generated"
KEYS = "airflow-token-keys"


def key_set(**keys):
    """JSON Web Keys, by their names."""
    members = [
        {"kty": "oct", "alg": "HS512", "kid": kid, "k": base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")}
        for kid, key in keys.items()
    ]
    return json.dumps({"keys": members})


def values(kid, revision):
    """What the page says, with the name of the key that signs."""
    named = {"name": "AIRFLOW__API_AUTH__JWT_KID", "value": kid}
    trusted = {"name": "AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", "value": "/etc/token-keys/jwks.json"}
    return {
        "jwtSecret": {"revision": revision},
        "apiServer": {
            "extraVolumes": [{"name": "token-keys", "secret": {"secretName": KEYS}}],
            "extraVolumeMounts": [{"name": "token-keys", "mountPath": "/etc/token-keys", "readOnly": True}],
            "extraEnv": [trusted, named],
        },
        "scheduler": {"extraEnv": [named]},
    }


def token(found):
    """One of the API, as any client gets it."""
    words = {"username": found["user"], "password": found["password"]}
    return requests.post(f"{found['ui']}/auth/token", json=words, timeout=30).json()["access_token"]


def answer(found, token):
    """The status by which the API answers to a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{found['ui']}/api/v2/dags?limit=1", headers=headers, timeout=30).status_code


@pytest.fixture
def old(kubectl):
    """The key that signs; a Secret with a set of it alone is there until the platform reads that no more."""
    key = releases.secret(settings.NAMESPACE, SECRET, "jwt-secret")
    where = ("-n", settings.NAMESPACE)
    kubectl("create", "secret", "generic", KEYS, f"--from-literal=jwks.json={key_set(a=key)}", *where)
    yield key
    kubectl("delete", "secret", KEYS, *where)


def test_no_task_notices_and_what_the_old_key_signed_is_refused_in_the_end(old, found, upgrade, start, put):
    new = secrets.token_urlsafe(64)
    try:
        # Nothing runs yet: nobody has a token without a name for its key any more.
        upgrade(**values("a", 0))
        run, of_old = start(), token(found)
        put(KEYS, **{"jwks.json": key_set(a=old, b=new)})
        upgrade(**values("a", 1))
        put(SECRET, jwt_secret=new)
        upgrade(**values("b", 2))
        nobody_noticed(run)
        assert [answer(found, one) for one in (of_old, token(found))] == [200, 200]
        put(KEYS, **{"jwks.json": key_set(b=new)})
        upgrade(**values("b", 3))
        # A pod of before answers until all nodes know that it goes.
        wait_for("a refusal of what the old key signed", lambda: answer(found, of_old) == 403, seconds=60)
        assert answer(found, token(found)) == 200
    finally:
        put(SECRET, jwt_secret=old)
