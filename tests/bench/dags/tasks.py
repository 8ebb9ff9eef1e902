"""Tasks of one pod each, all at once. The file's name says what it is: ``<way>_<n>.py`` has n tasks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

NAME = Path(__file__).stem
WAY, _, COUNT = NAME.rpartition("_")
VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
#: Tasks that name their executor are launched as stock Airflow launches them.
STOCK = {"stock": {"deferrable": False}, "stock-deferrable": {"deferrable": True}}
LAUNCH = STOCK[WAY] | {"executor": "KubernetesExecutor"} if WAY in STOCK else {}

with DAG(
    f"bench_{NAME}",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=int(COUNT) + 1,
    tags=["bench"],
    default_args={
        "owner": "bench",
        "retries": 0,
        "namespace": "support",
        "startup_timeout_seconds": 1800,
        "execution_timeout": timedelta(hours=1),
    },
):
    for number in range(int(COUNT)):
        KubernetesPodOperator(
            task_id=f"task_{number:03}",
            image=f"ticket-extract:{VERSIONS['ticket-extract']}",
            cmds=["sleep", "3600"] if WAY == "waiting" else ["echo", "hello"],
            # In the default pool, whose slots the benchmark raises: those of a pool of nodes would limit it.
            node_selector={"node-pool": "light"},
            container_resources={"requests": {"cpu": "5m", "memory": "8Mi"}},
            **LAUNCH,
        )
