"""A task that names its pool and no more; CONTAINER_RESOURCES stands for what an author adds."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

CONTAINER_RESOURCES = None
VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())

with DAG(
    "e2e_pools",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["e2e"],
    params={"cpu": "100m"},
    default_args={
        "owner": "e2e",
        "retries": 2,
        "namespace": "support",
        "execution_timeout": timedelta(minutes=5),
        "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
        "cmds": ["true"],
        "pool": "gpu",
        "on_finish_action": "keep_pod",
    },
):
    KubernetesPodOperator(task_id="plain", container_resources=CONTAINER_RESOURCES)
    KubernetesPodOperator(task_id="rendered", container_resources={"requests": {"cpu": "{{ params.cpu }}"}})
