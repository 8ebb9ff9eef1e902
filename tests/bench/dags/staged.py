"""Mapped tasks, as many as the file's name says (``staged_<n>.py``), on a node that has no kubelet."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import V1Toleration

NAME = Path(__file__).stem
COUNT = int(NAME.rpartition("_")[2])
STAGE = "airflow-platform/stage"

with DAG(
    f"bench_{NAME}",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=COUNT + 1,
    tags=["bench"],
    default_args={
        "owner": "bench",
        "retries": 0,
        "namespace": "support",
        "startup_timeout_seconds": 1800,
        "execution_timeout": timedelta(hours=3),
    },
):
    KubernetesPodOperator.partial(
        task_id="task",
        image="none:1",
        node_selector={STAGE: "true"},
        tolerations=[V1Toleration(key=STAGE, operator="Exists", effect="NoSchedule")],
    ).expand(arguments=[[str(number)] for number in range(COUNT)])
