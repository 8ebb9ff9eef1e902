"""A task that fails, one that waits for more than is free, one that waits for that one, and more than a quota holds."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())

with DAG(
    "browser",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["browser"],
    default_args={
        "owner": "browser",
        "retries": 0,
        "namespace": "support",
        "execution_timeout": timedelta(minutes=30),
        "pool": "light",
        "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    },
):
    KubernetesPodOperator(
        task_id="fails",
        cmds=["sh", "-c", "echo reading 2026-01-01; echo '<b>there is no such day</b>'; exit 3"],
        container_resources={"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
    )
    waits = KubernetesPodOperator(
        task_id="waits",
        cmds=["true"],
        # As much as a node has in all: it could run there, but never beside what runs on every node. No pool of nodes
        # would give it so much.
        pool="default_pool",
        node_selector={"node-pool": "light"},
        container_resources={"requests": {"cpu": "{{ dag_run.conf['cpu'] }}", "memory": "32Mi"}},
        schedule_timeout_seconds=1800,
    )
    waits >> KubernetesPodOperator(
        task_id="after",
        cmds=["true"],
        container_resources={"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
    )
    # A pool's quota holds two of these.
    KubernetesPodOperator.partial(
        task_id="trains",
        cmds=["sleep", "1800"],
        pool="gpu",
        container_resources={"requests": {"cpu": "10m", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
    ).expand(arguments=[[], [], []])
