"""Tasks that something ends before they would end by themselves: a timeout, a person, a node, a quota."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import V1ConfigMapEnvSource, V1EnvFromSource

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
MANUAL = {"schedule": None, "start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "tags": ["semantics"]}
# A program that ends when it is told to: as process 1 of a container, `sleep` alone would not hear.
WAITS = ["sh", "-c", "trap 'echo told to stop; exit 143' TERM; sleep 600 & wait"]
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    "cmds": WAITS,
    "container_resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "retry_delay": timedelta(seconds=1),
    "pool": "light",
}


def acknowledged(context):
    """A callback: with it, a task has something to do after its pod has ended."""


with DAG("semantics_timeout", default_args=TASK | {"execution_timeout": timedelta(seconds=30)}, **MANUAL):
    KubernetesPodOperator(task_id="too_long", retries=1)
    KubernetesPodOperator(task_id="kept", on_finish_action="keep_pod")

with DAG("semantics_startup_timeout", default_args=TASK, **MANUAL):
    KubernetesPodOperator(
        task_id="no_such_node",
        node_selector={"semantics": "no-such-node"},
        startup_timeout_seconds=20,
        schedule_timeout_seconds=20,
    )

with DAG("semantics_cleared", default_args=TASK, **MANUAL):
    KubernetesPodOperator(
        task_id="task",
        cmds=["sh", "-c", "[ {{ ti.try_number }} = 1 ] || exit 0; trap 'exit 143' TERM; sleep 600 & wait"],
    )

with DAG("semantics_marked", default_args=TASK | {"retries": 1}, **MANUAL):
    KubernetesPodOperator(task_id="failed")
    KubernetesPodOperator(task_id="success")

with DAG("semantics_unread", default_args=TASK, **MANUAL):
    KubernetesPodOperator(task_id="task", cmds=["sleep", "10"], on_success_callback=acknowledged)

with DAG("semantics_unborn", default_args=TASK, **MANUAL):
    # The test makes the ConfigMap once it has deleted the first pod.
    later = V1EnvFromSource(config_map_ref=V1ConfigMapEnvSource(name="semantics-later"))
    KubernetesPodOperator(task_id="pending", cmds=["true"], env_from=[later])
    KubernetesPodOperator(task_id="drained", cmds=["true"], env_from=[later])

with DAG("semantics_deleted", default_args=TASK, **MANUAL):
    KubernetesPodOperator(task_id="running")

with DAG("semantics_quota", default_args=TASK | {"cmds": ["sleep", "2"]}, **MANUAL):
    for number in range(5):
        KubernetesPodOperator(task_id=f"task_{number}", priority_class_name="semantics-quota")

# The pool gpu has four slots. The second wants them while the first, which came before it, is about to end.
with DAG("semantics_slot_first", default_args=TASK | {"pool": "gpu", "pool_slots": 4}, **MANUAL):
    KubernetesPodOperator(task_id="first", cmds=["sleep", "10"], on_success_callback=acknowledged)

with DAG("semantics_slot_second", default_args=TASK | {"pool": "gpu", "pool_slots": 4}, **MANUAL):
    KubernetesPodOperator(task_id="second", cmds=["sleep", "10"], priority_weight=100)
