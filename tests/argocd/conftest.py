"""The platform as Argo CD installs it from git; afterwards all is as before."""

from pathlib import Path

import pytest
from local.cluster import argocd, releases, settings

pytest_plugins = ["tests.cluster"]

#: As of the local cluster, with backups.
VALUES = (*releases.VALUES, Path("values", "kind-backup.yaml"))


def named():
    """Its images, beside the platform's own."""
    return {"backup.image": releases.stand_in("postgres")}


@pytest.fixture(scope="session")
def application(airflow):
    """Argo CD follows the branch; the first commit on it."""
    with argocd.installed():
        first = argocd.commit({}, "The platform")
        argocd.apply(VALUES, named())
        yield argocd.wait_until(first)


@pytest.fixture
def pods(get):
    """{component: uids of its pods} of the release, those left out that are on their way out."""

    def pods():
        found = {}
        selector = f"app.kubernetes.io/instance={settings.RELEASE},pod-template-hash"
        for pod in get("pods", "-n", settings.NAMESPACE, "-l", selector)["items"]:
            if "deletionTimestamp" not in pod["metadata"]:
                component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
                found.setdefault(component, set()).add(pod["metadata"]["uid"])
        return found

    return pods


@pytest.fixture
def migrations(get):
    """Names of the release's migrations Jobs."""

    def migrations():
        names = {one["metadata"]["name"] for one in get("jobs", "-n", settings.NAMESPACE)["items"]}
        return {name for name in names if name.startswith(f"{settings.RELEASE}-migrations-")}

    return migrations
