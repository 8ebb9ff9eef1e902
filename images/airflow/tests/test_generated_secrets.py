import base64

import pytest
from cryptography.fernet import Fernet

from airflow_platform.generated_secrets import KINDS, ensure, main

KEYS = {"fernet-key": "fernet", "jwt-secret": "random", "admin-password": "password"}
SECRETS = "/api/v1/namespaces/airflow/secrets"


class ApiServer:
    """Keeps one Secret as Kubernetes' API server does."""

    def __init__(self, data=None):
        self.data = data
        self.calls = []
        self.refuse = None

    def __call__(self, method, path, body, content_type):
        self.calls.append(f"{method} {path}")
        if self.refuse == method:
            return 403, {"message": f"secrets is forbidden: cannot {method}"}
        if method == "POST":
            if self.data is not None:
                return 409, {"message": "already exists"}
            self.data = body["data"]
            self.metadata = body["metadata"]
            return 201, body
        if method == "GET":
            return 200, {"metadata": {"resourceVersion": "7"}, "data": self.data}
        if body["metadata"]["resourceVersion"] != "7":
            return 409, {"message": "conflict"}
        self.data = {**self.data, **body["data"]}
        return 200, {}

    def value(self, key):
        return base64.b64decode(self.data[key]).decode()


def test_a_missing_secret_is_created():
    api = ApiServer()
    assert ensure(api, "airflow", "airflow-generated", KEYS) == list(KEYS)
    assert api.calls == [f"POST {SECRETS}"]
    Fernet(api.value("fernet-key"))
    assert len(api.value("jwt-secret")) >= 64
    assert len(api.value("admin-password")) >= 24


def test_values_are_never_the_same_twice():
    assert all(make() != make() for make in KINDS.values())


def test_a_complete_secret_is_left_alone():
    api = ApiServer(dict.fromkeys(KEYS, "b2xk"))
    assert ensure(api, "airflow", "airflow-generated", KEYS) == []
    assert {api.value(key) for key in KEYS} == {"old"}
    assert not any(call.startswith("PATCH") for call in api.calls)


def test_only_what_is_missing_is_added():
    api = ApiServer({"fernet-key": "b2xk"})
    assert ensure(api, "airflow", "airflow-generated", KEYS) == ["jwt-secret", "admin-password"]
    assert api.value("fernet-key") == "old"
    assert api.value("jwt-secret")


def test_it_carries_no_label_of_the_release():
    api = ApiServer()
    ensure(api, "airflow", "airflow-generated", KEYS)
    assert "app.kubernetes.io/instance" not in api.metadata["labels"]


@pytest.mark.parametrize(("refused", "data"), [("POST", None), ("GET", {}), ("PATCH", {})])
def test_a_refusal_is_told_without_values(refused, data):
    api = ApiServer(data)
    api.refuse = refused
    with pytest.raises(RuntimeError) as raised:
        ensure(api, "airflow", "airflow-generated", KEYS)
    reason = f"the API server answered 403: secrets is forbidden: cannot {refused}"
    assert str(raised.value) == f"Secret airflow/airflow-generated: {reason}"


def test_two_values_of_one_key_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["airflow-generated", "fernet=key", "random=key"])
    assert "the key 'key' is named twice" in capsys.readouterr().err
