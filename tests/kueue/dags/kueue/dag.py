"""What two teams run: tasks that hold a place in a pool for a while. The namespace is the team.

``suite.yaml`` beside this file tells one push from another.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Param

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "suite.yaml").read_text())
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())
MANUAL = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "tags": ["kueue", SUITE["revision"]],
    "params": {"seconds": Param(5, type="integer")},
}
TASK = {
    "owner": "kueue",
    "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    # As process 1 the shell would not hear otherwise that it is to end.
    "cmds": ["sh", "-c", "trap 'exit 143' TERM; sleep {{ params.seconds }} & wait $!"],
    "container_resources": {"limits": {"memory": "64Mi"}},
    # Less than a task is held here: time in a queue is none of these.
    "schedule_timeout_seconds": 15,
    "startup_timeout_seconds": 120,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
}

# The pool light holds six of these pods.
for team in ("support", "research"):
    with DAG(f"kueue_{team}", default_args=TASK | {"namespace": team, "pool": "light"}, **MANUAL):
        for number in range(8):
            KubernetesPodOperator(task_id=f"task_{number}")

# The pool gpu holds one of these.
GPU = TASK | {"namespace": "support", "pool": "gpu"}
for name, more in {
    "plain": {},
    "low": {"priority_class_name": "kueue-low"},
    "high": {"priority_class_name": "kueue-high"},
    "too_big": {"container_resources": {"requests": {"cpu": "200m"}}},
}.items():
    with DAG(f"kueue_{name}", default_args=GPU | more, **MANUAL):
        KubernetesPodOperator(task_id="task")
