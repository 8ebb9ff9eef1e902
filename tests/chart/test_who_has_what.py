"""What only some pods are to have is in the pods of those, and in no others."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from tests.chart.release import CHART, needs_helm, pods, render

pytestmark = needs_helm

VALUES = CHART / "tests" / "values"


@dataclass(frozen=True)
class Case:
    """``words``: a pattern; ``components``: those in whose pods it is, of all that are there with ``settings``."""

    name: str
    words: str
    components: set[str]
    settings: Sequence[str] = ()
    files: Sequence[str] = ()


GUARD = 'dags.gitSync.guard={"enabled": true}'
AUTHORITY = 'dags.gitSync.caCert={"existingSecret": "company"}'
GITHUB = (
    'dags.gitSync.extraEnv=[{"name": "GITSYNC_GITHUB_APP_PRIVATE_KEY", '
    '"valueFrom": {"secretKeyRef": {"name": "github-app", "key": "key"}}}, '
    '{"name": "GITSYNC_SUBMODULES", "value": "shallow"}]'
)
WITH_GUARD = (GUARD, AUTHORITY, GITHUB)
VAULT = 'secretsBackend={"class": "airflow.providers.hashicorp.secrets.vault.VaultBackend"}'
DECLARED = 'declared.connections=[{"id": "warehouse", "existingSecret": "connections"}]'
REVISIONS = ("fernetKey.revision=2", "database.revision=2", "jwtSecret.revision=2")
SYNCED = {"dag-processor", "scheduler", "worker"}
AIRFLOW = {"api-server", "dag-processor", "scheduler", "triggerer"}

CASES = (
    Case("the repository's key", "github-app", SYNCED, (GITHUB,)),
    Case("the repository's key, with the guard", "github-app", {"dag-guard"}, WITH_GUARD),
    Case("git's authority", "git-ca", SYNCED, (AUTHORITY,)),
    Case("git's authority, with the guard", "git-ca", {"dag-guard"}, WITH_GUARD),
    Case("what is no credential, with the guard", "GITSYNC_SUBMODULES", {"dag-guard", *SYNCED}, WITH_GUARD),
    Case(
        "git's credentials, with the guard",
        "git-credentials",
        {"dag-guard"},
        (GUARD, 'dags.gitSync.credentials={"existingSecret": "git-credentials"}'),
    ),
    Case("a secrets backend", "AIRFLOW__SECRETS", AIRFLOW, (VAULT,), ("celery",)),
    Case("the secret of single sign-on", "airflow-oidc", {"api-server"}, (), ("oidc",)),
    Case("single sign-on that is off", "OIDC|FAB__CONFIG_FILE", set(), ("auth.oidc.enabled=false",), ("oidc",)),
    Case("what the values declare", "AIRFLOW_PLATFORM_DECLARED|warehouse", {"migrations"}, (DECLARED,)),
    Case(
        "numbers of secrets that have changed",
        "AIRFLOW_PLATFORM_REVISION",
        {*AIRFLOW, "migrations"},
        REVISIONS,
        ("celery",),
    ),
)


@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in CASES])
def test_only_these_have_it(case):
    files = [VALUES / f"{name}.yaml" for name in ("minimal", *case.files)]
    found = pods(render(*case.settings, values=(), files=files))
    assert {name for name, pod in found if re.search(case.words, json.dumps(pod))} == case.components
