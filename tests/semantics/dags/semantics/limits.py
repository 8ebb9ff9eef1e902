"""How many tasks may run at once, and in which order: a DAG for each limit."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
MANUAL = {"schedule": None, "start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "tags": ["semantics"]}
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    "cmds": ["sleep", "1"],
    "container_resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "pool": "light",
}

# The pool gpu has four slots: two of these fit.
with DAG("semantics_pool", default_args=TASK | {"pool": "gpu", "pool_slots": 2}, **MANUAL):
    for number in range(20):
        KubernetesPodOperator(task_id=f"task_{number}")

# One of these takes all of it.
with DAG("semantics_priority", default_args=TASK | {"pool": "gpu", "pool_slots": 4}, **MANUAL):
    for weight in (3, 5, 1, 4, 2):
        KubernetesPodOperator(task_id=f"weight_{weight}", priority_weight=weight, weight_rule="absolute")

with DAG("semantics_max_active_tasks", default_args=TASK, max_active_tasks=3, **MANUAL):
    for number in range(20):
        KubernetesPodOperator(task_id=f"task_{number}")

with DAG("semantics_max_active_tis_per_dag", default_args=TASK, max_active_runs=3, **MANUAL):
    KubernetesPodOperator(task_id="one_at_a_time", max_active_tis_per_dag=1)

with DAG("semantics_max_active_tis_per_dagrun", default_args=TASK, max_active_runs=2, **MANUAL):
    KubernetesPodOperator.partial(task_id="one_at_a_time", cmds=["sleep"], max_active_tis_per_dagrun=1).expand(
        arguments=[["1"], ["1"], ["1"]]
    )

with DAG("semantics_max_active_runs", default_args=TASK, max_active_runs=1, **MANUAL):
    KubernetesPodOperator(task_id="task")

with DAG("semantics_mapped", default_args=TASK, max_active_tasks=50, **MANUAL):
    KubernetesPodOperator.partial(task_id="mapped", cmds=["echo"]).expand(
        arguments=[["number", str(number)] for number in range(50)]
    )


def called(context):
    """What takes a task to a second phase, in which the end of the first may be told late (apache/airflow #71580)."""


with DAG("semantics_end_at_once", default_args=TASK, max_active_tasks=50, **MANUAL):
    KubernetesPodOperator.partial(task_id="mapped", cmds=["sleep"], on_success_callback=called).expand(
        arguments=[["1"]] * 500
    )
