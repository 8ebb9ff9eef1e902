"""What the docs promise of External Secrets and of secrets backends, with a Vault."""

import base64
import uuid

import pytest
from local.cluster import external_secrets, settings, smoke, vault
from local.cluster.console import wait_for

SECRETS = {f"vault-{path}" for path in external_secrets.SECRETS}
#: Of pods that stay.
SELECTOR = f"app.kubernetes.io/instance={settings.RELEASE},pod-template-hash"


@pytest.fixture
def pods(get):
    """Uids of the release's pods."""
    return lambda: {one["metadata"]["uid"] for one in get("pods", "-n", settings.NAMESPACE, "-l", SELECTOR)["items"]}


def test_the_platform_runs_on_secrets_of_the_store(installed, get, found):
    objects = get("externalsecret", "-n", settings.NAMESPACE)["items"]
    assert {one["metadata"]["name"] for one in objects} == SECRETS
    for one in objects:
        (condition,) = one["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("Ready", "True")
        kept = get("secret", one["metadata"]["name"], "-n", settings.NAMESPACE)
        assert kept["metadata"]["ownerReferences"][0]["kind"] == "ExternalSecret"
    assert "state=success" in smoke.run(found)


def test_a_connection_and_a_variable_of_vault_reach_a_task_and_no_password_its_log(run):
    password = uuid.uuid4().hex
    vault.put(
        "connections/vault_warehouse",
        {"conn_uri": f"postgres://etl:{password}@warehouse.example.com:5432/sales"},
    )
    vault.put("variables/vault_limit", {"value": "17"})
    started = run()
    assert started.ended() == "success"
    log = started.log("task")
    assert "[base] host warehouse.example.com, limit 17, password ***" in log
    assert not any(password in line for line in log)


def test_what_changes_in_the_store_changes_in_the_cluster_and_restarts_nothing(installed, get, pods):
    before, changed = pods(), uuid.uuid4().hex
    content = get("secret", "vault-git", "-n", settings.NAMESPACE)["data"]
    decoded = {key: base64.b64decode(value).decode() for key, value in content.items()}
    vault.put("git", decoded | {"comment": changed})

    def there():
        found = get("secret", "vault-git", "-n", settings.NAMESPACE)["data"]
        return base64.b64decode(found.get("comment", "")).decode() == changed

    wait_for("the change in the cluster", there, seconds=60)
    assert pods() == before


def test_a_vault_that_is_sealed_stops_nothing_that_needs_nothing_of_it(installed, found, get):
    kept = {name: get("secret", name, "-n", settings.NAMESPACE)["data"] for name in SECRETS}
    vault.seal()
    assert "state=success" in smoke.run(found)
    assert {name: get("secret", name, "-n", settings.NAMESPACE)["data"] for name in SECRETS} == kept
