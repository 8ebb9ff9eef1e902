"""A task that is given what a secrets backend holds.

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
    "secret_stores",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["secret_stores", SUITE["revision"]],
):
    KubernetesPodOperator(
        task_id="task",
        image=f"ticket-extract:{VERSIONS['ticket-extract']}",
        cmds=["sh", "-c", 'echo "host $HOST, limit $LIMIT, password $PASSWORD"'],
        env_vars={
            "HOST": "{{ conn.vault_warehouse.host }}",
            "LIMIT": "{{ var.value.vault_limit }}",
            "PASSWORD": "{{ conn.vault_warehouse.password }}",
        },
        namespace="support",
        pool="light",
        container_resources={"limits": {"memory": "64Mi"}},
        retries=0,
    )
