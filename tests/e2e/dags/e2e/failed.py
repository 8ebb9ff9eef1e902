"""A task whose pod fails, and which nobody tries again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())

with DAG(
    "e2e_failed",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["e2e"],
    default_args={"owner": "e2e", "retries": 0, "execution_timeout": timedelta(minutes=5)},
):
    KubernetesPodOperator(
        task_id="report",
        namespace="support",
        image=f"ticket-extract:{VERSIONS['ticket-extract']}",
        cmds=["sh", "-c", "echo the last words; exit 3"],
        container_resources={"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    )
