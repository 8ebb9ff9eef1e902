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
# A name of its own, one of before, one of git's, and one that no pattern knows.
SECRETS = "dags.gitSync.extraEnv=" + json.dumps(
    [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "git-secret", "key": "key"}}}
        for name in ("GITSYNC_GIT_CONFIG", "GIT_SYNC_PASSWORD", "GIT_CONFIG_VALUE_0", "ANOTHER")
    ]
)
NAMES = (
    *("GITSYNC_GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", "GIT_SYNC_GIT_CONFIG"),
    *("GIT_SYNC_USERNAME", "GIT_SYNC_PASSWORD", "GIT_ASKPASS_URL", "GIT_SYNC_ASKPASS_URL", "GIT_COOKIE_FILE"),
    *("GITSYNC_PASSWORD", "GITSYNC_GITHUB_APP_PRIVATE_KEY", "GIT_SSH_KEY_FILE"),
)
WRITTEN = "dags.gitSync.extraEnv=" + json.dumps(
    [{"name": name, "value": "git-secret"} for name in NAMES] + [{"name": "GITSYNC_VERBOSE", "value": "3"}]
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
    Case("what is no credential, with the guard", "GITSYNC_VERBOSE", {"dag-guard", *SYNCED}, (GUARD, WRITTEN)),
    Case("submodules, with the guard", 'GITSYNC_SUBMODULES", "value": "shallow', {"dag-guard"}, WITH_GUARD),
    Case("what is of a Secret, with the guard", "git-secret", {"dag-guard"}, (GUARD, SECRETS)),
    Case("what is of a Secret, without the guard", "git-secret", SYNCED, (SECRETS,)),
    Case("credentials by any name, with the guard", "git-secret", {"dag-guard"}, (GUARD, WRITTEN)),
    Case(
        "git's credentials, with the guard",
        "git-credentials",
        {"dag-guard"},
        (GUARD, 'dags.gitSync.credentials={"existingSecret": "git-credentials"}'),
    ),
    Case("a secrets backend", "AIRFLOW__SECRETS", AIRFLOW, (VAULT,), ("celery",)),
    Case("the secret of single sign-on", "airflow-oidc", {"api-server"}, (), ("oidc",)),
    Case("single sign-on that is off", "OIDC", set(), ("auth.oidc.enabled=false",), ("oidc",)),
    Case("the key of sessions", "FAB__CONFIG_FILE", {"api-server"}),
    Case("what the key of sessions is made of", "JWT_SECRET", {"api-server", "scheduler"}, (), ("celery",)),
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
