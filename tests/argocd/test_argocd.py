"""What the docs promise of Argo CD: nothing but an Application, no hook and no order, and nothing that drifts."""

import uuid

import pytest
import yaml
from local.cluster import argocd, images, monitoring, postgres, registry, smoke, toolchain
from tests.argocd.conftest import VALUES, named
from tests.scenarios import __main__ as scenarios
from tests.upgrade.migration import REVISION, downgrade, restore, revision
from tools.check import OTHER_KINDS


@pytest.fixture
def upgrade(application):
    """Commit changes to the values, and wait until Argo CD says that they are there."""
    yield lambda message, changes, **wanted: argocd.wait_until(argocd.commit(changes, message), **wanted)
    argocd.apply(VALUES, named())
    argocd.wait_until(argocd.commit({}, "As before"))


def test_an_application_is_all_that_it_needs(application, found):
    resources = application["status"]["resources"]
    assert {one["status"] for one in resources} == {"Synced"}
    assert {"Deployment", "Job", "NetworkPolicy"} <= {one["kind"] for one in resources}
    assert "state=success" in smoke.run(found)


def test_a_commit_rolls_what_it_changes_and_nothing_else(upgrade, pods, migrations):
    before, jobs = pods(), migrations()
    upgrade("The triggerer has another annotation", {"triggerer": {"podAnnotations": {"test": "changed"}}})
    after = pods()
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"triggerer"}
    assert migrations() == jobs


def test_a_migration_that_fails_is_told_and_a_revert_ends_it(upgrade, migrations):
    jobs = migrations()
    failing = {
        "name": "failing",
        "image": registry.reference(images.AIRFLOW),
        "command": ["false"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    changes = {"migrations": {"backoffLimit": 0, "extraInitContainers": [failing]}}
    degraded = upgrade("A migration that fails", changes, health="Degraded")
    (job,) = (one for one in degraded["status"]["resources"] if one["kind"] == "Job")
    assert job["name"] not in jobs
    upgrade("Reverted", {})
    assert migrations() == jobs


def test_a_commit_that_moves_the_schema_and_the_way_back(upgrade, migrations):
    newest, jobs = revision(), migrations()
    argocd.apply(VALUES, named(), automated=False)
    downgrade()
    assert revision() == REVISION

    changed = argocd.commit({"migrations": {"podAnnotations": {"test": "moved"}}}, "A release with another schema")
    argocd.apply(VALUES, named())
    argocd.wait_until(changed)
    assert revision() == newest
    # The Job before it is pruned.
    (job,) = migrations()
    assert {job} != jobs
    name = f"after_{uuid.uuid4().hex}"
    postgres.query(f"INSERT INTO log (dttm, event) VALUES (now(), '{name}')")

    argocd.apply(VALUES, named(), automated=False)
    restore()
    assert revision() == REVISION
    assert postgres.query(f"SELECT event FROM log WHERE event = '{name}'") == []
    reverted = argocd.commit({}, "Reverted")
    argocd.apply(VALUES, named())
    argocd.wait_until(reverted)
    assert migrations() == jobs


@pytest.mark.parametrize("scenario", ["celery", "replicas", "production"])
def test_nothing_drifts_in(scenario, upgrade):
    more = scenarios.IMAGES.get(scenario, dict)()
    registry.push(list(more.values()))
    scenarios.prepare()
    argocd.apply([scenarios.FILES[scenario]], more)
    found = upgrade(f"Scenario {scenario}", {})
    assert {one["status"] for one in found["status"]["resources"]} == {"Synced"}


@pytest.fixture
def definitions(kubectl):
    """The kinds that are not Kubernetes' own, with nothing that acts on their objects."""
    files = [word for path in toolchain.definitions() for word in ("--filename", str(path))]
    kubectl("apply", "--server-side", *files)
    yield
    kubectl("delete", "--ignore-not-found", "--wait", *files)


def test_nothing_drifts_in_objects_of_other_kinds(definitions, upgrade):
    exporter = {"metrics.exporter.image": monitoring.exporter()}
    registry.push(list(exporter.values()))
    argocd.apply(VALUES, named() | exporter)
    found = upgrade("Objects of other kinds", yaml.safe_load(OTHER_KINDS[-1].read_text()), health=None)
    kinds = {one["kind"] for one in found["status"]["resources"]}
    assert {"ExternalSecret", "HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor"} <= kinds
    assert {one["status"] for one in found["status"]["resources"]} == {"Synced"}
