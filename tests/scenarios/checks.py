"""What some scenarios promise beyond being ready, as the cluster has it: each waits for it, or raises a Problem."""

from __future__ import annotations

from collections.abc import Callable

from local.cluster import access, cronjobs, postgres, settings
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl
from tests.faults import components
from tests.observe import secrecy

#: Seconds for what a release that is ready still has to do, and for a pod of Airflow's.
_SOON, _RUN = 60, 150
#: DAGs that run once, by themselves, in a worker pod: in a folder of git that is not the platform's, and in S3.
GIT_DAG, S3_DAG = "scenario_git", "scenario_s3"
GIT_FOLDER, S3_PREFIX = "scenarios", "scenario-dags"
#: Of their tasks: where there are sets of workers, that of one, whose pods have the label.
QUEUE, LABEL = "scenario-large", "scenario-size=large"


def dag_file(dag_id: str) -> str:
    """The file of such a DAG."""
    return f"""from datetime import datetime

from airflow.sdk import DAG, task

with DAG("{dag_id}", schedule="@once", start_date=datetime(2026, 1, 1), is_paused_upon_creation=False):

    @task(queue="{QUEUE}")
    def once():
        print("here")

    once()
"""


def _expect(what: str, query: str, *wanted: str, seconds: float = _SOON) -> None:
    def found() -> bool:
        rows = set(postgres.query(query))
        if missing := set(wanted) - rows:
            raise Problem(f"{', '.join(sorted(missing))} not among {', '.join(sorted(rows)) or 'none'}", "See the Job.")
        return True

    wait_for(what, found, seconds=seconds)


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
    left = set(postgres.query(" UNION ".join(tables) + " UNION SELECT username FROM ab_user WHERE active"))
    if left := {one for one in left if one.startswith("scenario-")}:
        raise Problem(f"{', '.join(sorted(left))}: declared no more, and still there", "See the migrations Job's log.")


def bundles() -> None:
    """DAGs of git and of S3 run from Airflow's own bundles, git's at a commit."""
    _have_run(f"{GIT_DAG}:scenario-git:true", f"{S3_DAG}:scenario-s3:false")


def worker_sets() -> None:
    """A task runs in a worker pod of its queue's set."""
    pods = ["get", "pods", "-n", settings.NAMESPACE, "-l", f"dag_id={GIT_DAG},{LABEL}", "-o"]
    wait_for("a pod of the set", lambda: kubectl(*pods, "name"), seconds=_RUN)
    if (memory := kubectl(*pods, "jsonpath={.items[0].spec.containers[0].resources.requests.memory}")) != "300Mi":
        raise Problem(f"the pod requests {memory or 'no'} memory", "Its set says 300Mi.")


def housekeeping() -> None:
    """The CronJobs delete an old row, and the pod of a worker that has ended."""
    postgres.query("DELETE FROM log WHERE event LIKE 'scenario-%'")
    postgres.query("INSERT INTO log (dttm, event) VALUES (now() - interval '100 days', 'scenario-old')")
    postgres.query("INSERT INTO log (dttm, event) VALUES (now() - interval '10 days', 'scenario-young')")
    pods = ["get", "pods", "-n", settings.NAMESPACE, "-l", f"dag_id={GIT_DAG}", "-o", "name"]
    # A run that has begun in the scenario before may wait for what went with that, a guard for one.
    for pod in kubectl(*pods).split():
        kubectl("delete", pod, "-n", settings.NAMESPACE, "--ignore-not-found")
    _forget_runs(GIT_DAG)
    _have_run(f"{GIT_DAG}:dags:false")
    if not kubectl(*pods):
        raise Problem(f"no pod of DAG {GIT_DAG} is kept", "See config.kubernetes_executor.delete_worker_pods.")
    cronjobs.run("clean-database", "scenario-clean-database", lambda _: None, seconds=_RUN)
    cronjobs.run("clean-worker-pods", "scenario-clean-worker-pods", _keep_no_minute, seconds=_RUN)
    if left := kubectl(*pods):
        raise Problem(f"{left.strip()} is there still", "See the Job.")
    if (left := postgres.query("SELECT event FROM log WHERE event LIKE 'scenario-%'")) != ["scenario-young"]:
        raise Problem(f"of the audit log's rows {left} are left", "Only the one of ten days ago is young enough.")
    postgres.query("DELETE FROM log WHERE event LIKE 'scenario-%'")


def _keep_no_minute(pod: dict) -> None:
    """Ended pods of workers are kept for minutes else."""
    arguments = pod["containers"][0]["args"]
    arguments[arguments.index("--min-completed-minutes") + 1] = "0"


def _have_run(*wanted: str) -> None:
    """These DAGs have run once: id, bundle and whether it has versions. They may once more, for the next scenario."""
    state = "d.dag_id || ':' || d.bundle_name || ':' || (r.bundle_version IS NOT NULL)"
    query = f"SELECT {state} FROM dag d JOIN dag_run r USING (dag_id) WHERE r.state = 'success'"
    _expect("runs of its DAGs", query, *wanted, seconds=_RUN)
    _forget_runs(*(one.partition(":")[0] for one in wanted))


def _forget_runs(*dags: str) -> None:
    listed = ", ".join(f"'{one}'" for one in dags)
    postgres.query(f"DELETE FROM dag_run WHERE dag_id IN ({listed})")


def pooled() -> None:
    """Airflow's components reach the database by PgBouncer alone."""
    query = (
        "SELECT DISTINCT host(client_addr) FROM pg_stat_activity WHERE usename = 'airflow' AND client_addr IS NOT NULL"
    )

    def none_else() -> bool:
        if others := set(postgres.query(query)) - {pod["status"]["podIP"] for pod in components.pods("pgbouncer")}:
            raise Problem(f"{', '.join(sorted(others))} have sessions in the database", "See whose pods they are.")
        return True

    wait_for("sessions of PgBouncer alone", none_else, seconds=_RUN)


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


def secrets_are_kept() -> None:
    """No secret of the platform is in a log, an object, the release, a row or the logs' bucket."""
    if places := secrecy.shown(access.write()["s3"]["bucket"]):
        raise Problem(f"secrets are shown: {', '.join(places)}", "See what wrote it there.")


#: Of every scenario, at its end.
EACH = (secrets_are_kept,)
#: By scenario; of all others, what is declared no more is gone.
CHECKS: dict[str, tuple[Callable[[], None], ...]] = {
    "declared": (declared,),
    "bundles": (bundles,),
    "guard": (no_longer_declared, guard),
    "housekeeping": (no_longer_declared, worker_sets, housekeeping),
    "oidc": (no_longer_declared, oidc),
    "production": (no_longer_declared, pooled),
}
