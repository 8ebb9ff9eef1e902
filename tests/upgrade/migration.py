"""Releases on a database whose schema is another one: what an upgrade finds there, and what an SRE does to go back."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import yaml
from local.cluster import cronjobs, postgres, releases, settings
from local.cluster.console import run
from local.cluster.kind import kubectl

#: A version of Airflow whose schema is older, and the revision that it has.
OLDER, REVISION = "3.2.2", "1d6611b6ab7c"
_RELEASE = f"app.kubernetes.io/instance={settings.RELEASE}"


class Installed:
    """The platform with backups. ``folder``: for values that change."""

    def __init__(self, folder: Path) -> None:
        self._values = folder / "more.yaml"

    def again(self) -> None:
        """Install it with the values of the last time: nothing has changed, for Helm."""
        releases.install_platform(settings.REPO / "values" / "kind-backup.yaml", self._values)

    def anew(self) -> None:
        """Install it so that its migrations Job runs."""
        more = {
            "backup": {"image": {"tag": releases.stand_in("postgres").tag()}},
            "migrations": {"podAnnotations": {"test": uuid.uuid4().hex}},
        }
        self._values.write_text(yaml.safe_dump(more))
        self.again()


def revision() -> str:
    """The revision of the database's schema."""
    (found,) = postgres.query("SELECT version_num FROM alembic_version")
    return found


def downgrade() -> None:
    """Stop the release, and give its database the schema of an older Airflow, as this one's own command does."""
    kubectl("scale", "deployment", "-n", settings.NAMESPACE, "-l", _RELEASE, "--replicas=0")
    of_deployments = f"{_RELEASE},pod-template-hash"
    kubectl("wait", "pods", "-n", settings.NAMESPACE, "-l", of_deployments, "--for=delete", "--timeout=120s")

    def edit(pod: dict) -> None:
        (first,) = pod.pop("initContainers")
        command = ["airflow", "db", "downgrade", "--to-version", OLDER, "--yes"]
        pod["containers"] = [first | {"name": "downgrade", "command": command, "args": [], "resources": {}}]

    cronjobs.run("restore", "downgrade", edit, seconds=180)


def restore(*more: str) -> str:
    """What an SRE runs: what it says. :raises Problem: it failed."""
    env = {
        "KUBECONFIG": str(settings.kubeconfig()),
        "PATH": f"{settings.STATE / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(settings.REPO / "images" / "airflow" / "src"),
    }
    words = ["-m", "airflow_platform.cli", "restore", settings.RELEASE, "-n", settings.NAMESPACE, "--yes", *more]
    return run([sys.executable, *words], log="restore", env=env, doing="airflow-platform restore")
