"""Tasks whose log cannot be uploaded: the key of their worker is wrong."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task
from kubernetes.client import V1Container, V1EnvVar, V1Pod, V1PodSpec

WRONG_KEY = V1EnvVar(name="AWS_SECRET_ACCESS_KEY", value="wrong")
WORKER = V1Pod(spec=V1PodSpec(containers=[V1Container(name="base", env=[WRONG_KEY])]))

with DAG(
    "e2e_lost_log",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["e2e"],
    default_args={
        "owner": "e2e",
        "retries": 0,
        "execution_timeout": timedelta(minutes=5),
        "executor_config": {"pod_override": WORKER},
    },
):

    @task
    def succeeds():
        print("what succeeds")

    @task
    def fails():
        raise ValueError("what fails")

    succeeds()
    fails()
