"""Where runs come from: a schedule, a backfill, a person."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    "cmds": ["echo", "{{ data_interval_start | ds }}", "{{ params.word }}"],
    "container_resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "pool": "light",
}
DAYS = {
    "schedule": "@daily",
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "end_date": datetime(2026, 1, 3, tzinfo=UTC),
    "params": {"word": "default"},
    "tags": ["semantics"],
}

with DAG("semantics_backfill", default_args=TASK, catchup=False, **DAYS):
    KubernetesPodOperator(task_id="task")

with DAG("semantics_catchup", default_args=TASK | {"depends_on_past": True}, catchup=True, **DAYS):
    KubernetesPodOperator(task_id="task")

with DAG("semantics_triggered", default_args=TASK, catchup=False, **DAYS | {"schedule": None, "end_date": None}):
    KubernetesPodOperator(task_id="task", cmds=["echo", "{{ params.word }}"])
