"""
### Canary of the platform

Every ten minutes a pod prints the time, and a look at what it left behind says how long each stage took: from the
commit to the parsed DAG, to the run, to the pod, to its log in S3. The metric is
`airflow_platform_canary_stage_seconds`; the alert `AirflowCanaryLate` fires where no run has succeeded for half an
hour. It is off until somebody unpauses it. One of its tags is the commit that was parsed last.

What it means, and what to do: `docs/monitoring.md`, `docs/runbooks/AirflowCanaryLate.md`.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, task
from kubernetes.client import V1ResourceRequirements

from airflow_platform import canary

HERE = Path(__file__).parent
VERSIONS = yaml.safe_load((HERE.parents[1] / "images.yaml").read_text())
# Any image with Python that the platform's nodes have anyway.
IMAGE = "ticket-extract"
COMMIT = canary.commit(Path(__file__))

with DAG(
    dag_id="platform_canary",
    schedule="*/10 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=9),
    is_paused_upon_creation=True,
    tags=["platform", "canary", *([COMMIT["id"][:12]] if COMMIT else [])],
    doc_md=__doc__,
    default_args={
        "owner": "platform",
        "pool": "light",
        "retries": 1,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=4),
    },
):
    pod = KubernetesPodOperator(
        task_id="pod",
        image=f"{IMAGE}:{VERSIONS[IMAGE]}",
        cmds=canary.COMMAND,
        container_resources=V1ResourceRequirements(
            requests={"cpu": "10m", "memory": "32Mi"}, limits={"memory": "64Mi"}
        ),
        do_xcom_push=False,
    )
    measure = task(task_id="measure", executor=canary.executor(), multiple_outputs=False)(canary.measure)
    pod >> measure(commit=COMMIT, of="pod")
