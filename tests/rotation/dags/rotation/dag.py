"""Tasks that begin and end all the time while a key is rotated: each waits in the triggerer while its pod sleeps.

``suite.yaml`` beside this file tells one push from another.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "suite.yaml").read_text())
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())

with DAG(
    "rotation",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["rotation", SUITE["revision"]],
    default_args={
        "owner": "rotation",
        "pool": "light",
        "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
        "container_resources": {"limits": {"memory": "64Mi"}},
        "execution_timeout": timedelta(minutes=20),
        "retries": 0,
    },
):
    # Six rows of tasks that follow each other, of different lengths, so that some begin at any time.
    for row in range(6):
        before = None
        for number in range(4):
            script = f"echo begins; sleep {15 + 9 * row} & wait $!; echo ends"
            task = KubernetesPodOperator(task_id=f"task_{row}_{number}", cmds=["sh", "-c", script])
            if before is not None:
                before >> task
            before = task
