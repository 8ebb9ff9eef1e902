"""The secrets backends that docs/access.md names, as Airflow makes them of the chart's variables."""

import json

import pytest
from airflow import configuration

BACKENDS = {
    "airflow.providers.hashicorp.secrets.vault.VaultBackend": {
        "url": "https://vault.example.com",
        "mount_point": "airflow",
        "connections_path": "connections",
        "variables_path": None,
        "auth_type": "kubernetes",
        "kubernetes_role": "airflow",
        "kubernetes_jwt_path": "/var/run/secrets/vault/token",
    },
    "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend": {
        "connections_prefix": "airflow/connections",
        "variables_prefix": None,
        "region_name": "eu-central-1",
    },
}


@pytest.mark.parametrize("name", BACKENDS)
def test_it_is_in_the_image_takes_the_documented_arguments_and_is_asked_before_the_database(monkeypatch, name):
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", name)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(BACKENDS[name]))
    found = configuration.initialize_secrets_backends()
    classes = [type(one).__name__ for one in found]
    assert classes == [name.rsplit(".", 1)[1], "EnvironmentVariablesBackend", "MetastoreBackend"]
    # What is not to be asked for is not: no network is reached here.
    assert found[0].get_variable("anything") is None
