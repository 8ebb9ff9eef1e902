"""A pod on each pool, which says what it sees; REVISION stands for an author's change."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

REVISION = "0"
VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
SEE = """
import os, pathlib, time
print("revision", os.environ["REVISION"])
print("token", pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists())
print("uid", os.getuid())
for number in range(1, 41):
    print("line", number, flush=True)
    time.sleep(0.1)
"""

with DAG(
    "e2e_places",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["e2e"],
    default_args={"owner": "e2e", "retries": 0, "namespace": "support", "execution_timeout": timedelta(minutes=5)},
):
    for pool in ("light", "gpu"):
        KubernetesPodOperator(
            task_id=f"on_{pool}",
            image=f"ticket-extract:{VERSIONS['ticket-extract']}",
            cmds=["python", "-c", SEE],
            env_vars={"REVISION": REVISION},
            pool=pool,
            container_resources={"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        )
