"""A task that is followed by two triggerers, one after the other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
MANUAL = {"schedule": None, "start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "tags": ["semantics"]}

with DAG("semantics_triggerer_away", **MANUAL):
    KubernetesPodOperator(
        task_id="runs_on",
        owner="semantics",
        namespace="support",
        image=f"ticket-extract:{VERSIONS['ticket-extract']}",
        cmds=["sh", "-c", "for n in $(seq 1 100); do echo line $n; sleep 1; done"],
        container_resources={"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        startup_timeout_seconds=30,
        execution_timeout=timedelta(minutes=20),
        retries=0,
    )
