"""Tasks enough for several launchers.

``suite.yaml`` beside this file tells one push from another.
"""

from datetime import UTC, datetime
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "suite.yaml").read_text())
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())

with DAG(
    "keda",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_tasks=64,
    tags=["keda", SUITE["revision"]],
):
    for number in range(24):
        KubernetesPodOperator(
            task_id=f"task_{number:02}",
            image=f"ticket-extract:{VERSIONS['ticket-extract']}",
            cmds=["true"],
            namespace="support",
            pool="light",
            container_resources={"limits": {"memory": "64Mi"}},
            retries=0,
        )
