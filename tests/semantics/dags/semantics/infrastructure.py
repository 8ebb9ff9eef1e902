"""Tasks whose pods the cluster takes away, or has no room for: none of them is at fault."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
MANUAL = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_tasks": 64,
    "tags": ["semantics"],
}
# A program that ends when it is told to: as process 1 of a container, `sleep` alone would not hear.
WORKS = "trap 'echo told to stop; exit 143' TERM; sleep {} & wait $!"
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    "cmds": ["sh", "-c", WORKS.format(45)],
    "container_resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
}

with DAG("semantics_drained", default_args=TASK, **MANUAL):
    for number in range(20):
        KubernetesPodOperator(task_id=f"task_{number}")

with DAG("semantics_drained_often", default_args=TASK, **MANUAL):
    LONG = {"cmds": ["sh", "-c", WORKS.format(600)]}
    KubernetesPodOperator(task_id="once", executor_config={"infrastructure_retries": 1}, **LONG)
    KubernetesPodOperator(task_id="never", executor_config={"infrastructure_retries": 0}, **LONG)
    # It ends in the launcher.
    KubernetesPodOperator(task_id="resumed", on_success_callback=lambda context: None)

with DAG("semantics_preempted", default_args=TASK, **MANUAL):
    KubernetesPodOperator(
        task_id="task",
        priority_class_name="semantics-low",
        container_resources={"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    )

# The pool gives a retry twice the memory of a try that ran out of it.
with DAG(
    "semantics_out_of_memory",
    default_args=TASK
    | {
        "cmds": ["python3", "-c", "print(len(bytearray(90 * 2**20)))"],
        "pool": "light",
        "retries": 2,
        "retry_delay": timedelta(seconds=1),
    },
    **MANUAL,
):
    KubernetesPodOperator(task_id="task")
    KubernetesPodOperator(task_id="resumed", on_success_callback=lambda context: None)

with DAG("semantics_many", default_args=TASK | {"cmds": ["sleep", "3"]}, **MANUAL):
    for number in range(40):
        KubernetesPodOperator(task_id=f"task_{number}", priority_class_name="semantics-many")
