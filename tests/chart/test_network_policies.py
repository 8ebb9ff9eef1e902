"""NetworkPolicies of releases as a whole: whom each pod may reach."""

import json
from pathlib import Path

import pytest
from tests.chart.release import CHART, needs_helm, pods, render

pytestmark = needs_helm

#: All that makes pods, on one release.
EVERYTHING = (
    "pgbouncer.enabled=true",
    'backup={"enabled": true, "s3": {"bucket": "dumps", "endpoint": "http://dumps.example.com:9001"}}',
    'housekeeping={"database": {"enabled": true}, "workerPods": {"enabled": true}}',
    "dags.gitSync.guard.enabled=true",
    'metrics={"enabled": true, "serviceMonitor": {"enabled": true}}',
)
DATABASE = {"ipBlock": {"cidr": "10.0.64.0/20"}}
REPOSITORY = {"ipBlock": {"cidr": "10.0.80.0/20"}}
NAMED = tuple(
    f"networkPolicies.egress.{name}.to={json.dumps([peer])}"
    for name, peer in (("database", DATABASE), ("git", REPOSITORY))
)
SCENARIOS = sorted(path.name for path in (CHART / "ci").glob("*-values.yaml"))


def policies(objects, labels):
    found = [one for one in objects if one["kind"] == "NetworkPolicy" and one["metadata"]["namespace"] == "airflow"]
    return [one for one in found if one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]


def reached(objects, component):
    """Peers and ports that a component's policy lets its pods reach."""
    (policy,) = policies(objects, component_labels(component))
    return [(peer, port["port"]) for rule in policy["spec"]["egress"] for peer in rule["to"] for port in rule["ports"]]


def component_labels(component):
    labels = {"name": "airflow-platform", "instance": "airflow", "component": component}
    return {f"app.kubernetes.io/{key}": value for key, value in labels.items()}


def pods_of(component):
    return {"podSelector": {"matchLabels": component_labels(component)}}


@pytest.mark.parametrize("scenario", [None, *SCENARIOS])
def test_every_pod_has_a_policy_of_both_directions(scenario):
    if scenario:
        objects = render(values=(), files=[Path(CHART, "ci", scenario)])
    else:
        objects = render(*EVERYTHING, values=("common", "kind", "kind-celery"))
    found = pods(objects)
    assert found
    for component, pod in found:
        types = [one["spec"]["policyTypes"] for one in policies(objects, pod["metadata"]["labels"])]
        assert types == [["Ingress", "Egress"]], component


def test_pgbouncer_takes_the_place_of_the_database_and_alone_reaches_it():
    objects = render(*EVERYTHING, *NAMED)
    for component in ("api-server", "scheduler", "dag-processor", "triggerer", "dag-guard"):
        assert (pods_of("pgbouncer"), 6432) in reached(objects, component)
        assert DATABASE not in [peer for peer, _ in reached(objects, component)]
    for component in ("pgbouncer", "migrations", "housekeeping"):
        assert (DATABASE, 5432) in reached(objects, component)


def test_the_guard_takes_the_place_of_the_repository_and_alone_reaches_it():
    objects = render(*EVERYTHING, *NAMED, values=("common", "kind", "kind-celery"))
    for component in ("dag-processor", "launcher", "worker"):
        assert (pods_of("dag-guard"), 9418) in reached(objects, component)
        assert REPOSITORY not in [peer for peer, _ in reached(objects, component)]
    assert REPOSITORY in [peer for peer, _ in reached(objects, "dag-guard")]


def test_bundles_a_backend_of_secrets_and_dumps_are_reached_by_their_own_ports():
    bundles = [
        {"name": "one", "git": {"repo": "ssh://git@git.example.com:7999/one.git", "ref": "main", "connection": "one"}},
        {"name": "two", "s3": {"bucket": "two", "connection": "two"}},
    ]
    backend = 'secretsBackend.class="airflow.providers.hashicorp.secrets.vault.VaultBackend"'
    objects = render(*EVERYTHING, f"dags.bundles={json.dumps(bundles)}", backend)
    ports = {name: {port for _, port in reached(objects, name)} for name in ("dag-processor", "migrations")}
    assert {7999, 443, 8200} <= ports["dag-processor"]
    assert 9001 in ports["migrations"]


def test_metrics_are_sent_and_scraped():
    scrapers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = render(*EVERYTHING, f"networkPolicies.scrapers={json.dumps(scrapers)}")
    for component in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        assert (pods_of("metrics"), 9125) in reached(objects, component)
    for component, port in (("metrics", 9102), ("metrics", 9103), ("dag-processor", 9104), ("scheduler", 9104)):
        (policy,) = policies(objects, component_labels(component))
        ingress = [rule for rule in policy["spec"]["ingress"] if rule.get("from") == scrapers]
        assert port in [one["port"] for rule in ingress for one in rule["ports"]], component


def test_mails_and_webhooks_leave_what_runs_tasks_and_callbacks():
    relay = {"ipBlock": {"cidr": "10.0.96.0/20"}}
    relays = f"networkPolicies.egress.notifications.to={json.dumps([relay])}"
    objects = render(relays, values=("common", "kind", "kind-celery"))
    for component in ("launcher", "worker", "dag-processor", "triggerer"):
        assert {port for peer, port in reached(objects, component) if peer == relay} == {25, 465, 587, 443}
    assert relay not in [peer for peer, _ in reached(objects, "api-server")]
