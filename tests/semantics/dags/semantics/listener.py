"""A listener, in a file of its own: each process that parses it has one, and then all tasks end in a second phase."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.listeners import hookimpl
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from airflow.sdk.listener import get_listener_manager
from semantics.notes import note

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    "cmds": ["true"],
    "container_resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "retry_delay": timedelta(seconds=1),
    "pool": "light",
}


class Transitions:
    """Notes each state that a task comes to."""

    @hookimpl
    def on_task_instance_running(self, previous_state, task_instance):
        note("running", task_instance)

    @hookimpl
    def on_task_instance_success(self, previous_state, task_instance):
        note("success", task_instance)

    @hookimpl
    def on_task_instance_failed(self, previous_state, task_instance, error):
        note("failed", task_instance)

    @hookimpl
    def on_task_instance_skipped(self, previous_state, task_instance):
        note("skipped", task_instance)


# As a plugin would, in each process that runs a task of this file.
if not any(isinstance(one, Transitions) for one in get_listener_manager().pm.get_plugins()):
    get_listener_manager().add_listener(Transitions())

with DAG(
    "semantics_listener",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["semantics"],
    default_args=TASK,
):
    KubernetesPodOperator(task_id="succeeds")
    KubernetesPodOperator(task_id="fails", cmds=["sh", "-c", "exit 3"], retries=1)
    KubernetesPodOperator(task_id="skips", cmds=["sh", "-c", "exit 99"], skip_on_exit_code=99)
