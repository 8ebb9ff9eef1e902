"""What some scenarios promise beyond being ready, as the cluster has it: each waits for it, or raises a Problem."""

from __future__ import annotations

from collections.abc import Callable

from local.cluster import settings
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl

#: Seconds for what a release that is ready still has to do.
_SOON = 60
#: The DAG that the bundle of S3 has, and its file.
S3_DAG = "scenario_s3"
S3_KEY = "scenario-dags/scenario_s3.py"
S3_FILE = f'from airflow.sdk import DAG\n\nwith DAG("{S3_DAG}"):\n    pass\n'


def _rows(query: str) -> set[str]:
    words = ["exec", "-n", settings.STAND_INS, "postgres-0", "--", "psql", "--host=/tmp", "--no-psqlrc", "-At"]
    return set(kubectl(*words, "--username=postgres", "--dbname=airflow", "--command", query).split())


def _expect(what: str, query: str, *wanted: str) -> None:
    def found() -> bool:
        rows = _rows(query)
        if missing := set(wanted) - rows:
            raise Problem(f"{', '.join(sorted(missing))} not among {', '.join(sorted(rows)) or 'none'}", "See the Job.")
        return True

    wait_for(what, found, seconds=_SOON)


def declared() -> None:
    """What is declared is in the database; secrets are encrypted there."""
    _expect("connections", "SELECT conn_id FROM connection", "scenario-warehouse", "scenario-api")
    _expect("an encrypted password", "SELECT conn_id FROM connection WHERE is_encrypted", "scenario-warehouse")
    _expect("variables", "SELECT key FROM variable", "scenario-stage", "scenario-token")
    _expect("the pool", "SELECT pool || ':' || slots FROM slot_pool", "scenario-api:3")
    _expect("the user", "SELECT username FROM ab_user WHERE active", "scenario-ci")
    roles = "SELECT r.name FROM ab_user u JOIN ab_user_role j ON j.user_id = u.id JOIN ab_role r ON r.id = j.role_id"
    _expect("the user's role", f"{roles} WHERE u.username = 'scenario-ci'", "ScenarioDeployer", "Declared")


def no_longer_declared() -> None:
    """Of what a scenario before declared, nothing is left but a user who cannot log in."""
    tables = ("SELECT conn_id FROM connection", "SELECT key FROM variable", "SELECT pool FROM slot_pool")
    left = _rows(" UNION ".join(tables) + " UNION SELECT username FROM ab_user WHERE active")
    if left := {one for one in left if one.startswith("scenario-")}:
        raise Problem(f"{', '.join(sorted(left))}: declared no more, and still there", "See the migrations Job's log.")


def bundles() -> None:
    """DAGs come from git and from S3, by Airflow's own bundles."""
    query = "SELECT DISTINCT bundle_name FROM dag WHERE NOT is_stale"
    _expect("DAGs of both bundles", query, "scenario-git", "scenario-s3")


def guard() -> None:
    """The guard has accepted a commit, and the DAG processor follows it."""
    name = f"deployment/{settings.RELEASE}-dag-guard"
    words = ["logs", "-n", settings.NAMESPACE, name, "-c", "dag-guard"]
    wait_for("an accepted commit", lambda: " is accepted, with " in kubectl(*words), seconds=_SOON)


def oidc() -> None:
    """The page to log in leads to the provider."""
    path = f"/api/v1/namespaces/{settings.NAMESPACE}/services/{settings.RELEASE}-api-server:8080/proxy/auth/login/"
    if "company" not in kubectl("get", "--raw", path):
        raise Problem("the page to log in does not name the provider", "See the api-server's log.")


#: By scenario; of all others, what is declared no more is gone.
CHECKS: dict[str, tuple[Callable[[], None], ...]] = {
    "declared": (declared,),
    "bundles": (bundles,),
    "guard": (no_longer_declared, guard),
    "oidc": (no_longer_declared, oidc),
}
