"""What of Secrets is looked for."""

import base64
import json

import pytest
from tests.observe import secrecy


@pytest.fixture
def held(monkeypatch):
    def held(key, value, kind="Opaque"):
        data = {key: base64.b64encode(value.encode()).decode()}
        items = [{"metadata": {"name": "s"}, "type": kind, "data": data}]
        monkeypatch.setattr(secrecy, "NAMESPACES", ("team",))
        monkeypatch.setattr(secrecy, "kubectl", lambda *_: json.dumps({"items": items}))
        return secrecy.held()

    return held


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("password", "hunter2\n", ["hunter2"]),
        ("url", "postgresql://me:hunter%402@host:5432/db", ["hunter@2"]),
        (".dockerconfigjson", '{"auths": {"h": {"username": "me", "password": "p", "auth": "bWU6"}}}', ["p", "bWU6"]),
        ("ssh", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef\n-----END", ["abc"]),
        ("username", "me", []),
    ],
)
def test_what_is_secret_of_a_value(held, key, value, found):
    assert held(key, value) == {f"team/s/{key}#{number}": one for number, one in enumerate(found)}


def test_what_helm_keeps_is_looked_at_itself(held):
    assert held("release", "H4sI", kind="helm.sh/release.v1") == {}
