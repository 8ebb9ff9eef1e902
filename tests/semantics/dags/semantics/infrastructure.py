"""Tasks whose pods the cluster takes away, or has no room for: none of them is at fault."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import (
    V1Affinity,
    V1EnvVar,
    V1EnvVarSource,
    V1NodeAffinity,
    V1NodeSelectorRequirement,
    V1NodeSelectorTerm,
    V1ObjectFieldSelector,
    V1PreferredSchedulingTerm,
    V1Toleration,
)

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

# Each is taken away once in one of three ways; a second pod ends when it is let go. What it does is given with the run.
GPU = V1NodeSelectorRequirement(key="node-pool", operator="In", values=["gpu"])
PREFERS_GPU = V1NodeAffinity(
    preferred_during_scheduling_ignored_during_execution=[
        V1PreferredSchedulingTerm(weight=100, preference=V1NodeSelectorTerm(match_expressions=[GPU]))
    ]
)
ENVIRONMENT = {
    "LEDGER": "{{ dag_run.conf['ledger'] }}",
    "GATE": "{{ run_id }}",
    "LINES": "1",
    "INTERVAL": "5",
    "RUN_ID": "{{ run_id }}",
    "TRY_NUMBER": "{{ ti.try_number }}",
}
UID = V1EnvVarSource(field_ref=V1ObjectFieldSelector(field_path="metadata.uid"))
WAYS = {
    "drained": (8, {"node_selector": {"node-pool": "light"}}),
    "preempted": (8, {"node_selector": {"node-pool": "light"}, "priority_class_name": "semantics-low"}),
    # A second pod finds its node short of memory still, and goes elsewhere.
    "evicted": (
        4,
        {
            "affinity": V1Affinity(node_affinity=PREFERS_GPU),
            "tolerations": [V1Toleration(key="node-pool", operator="Exists")],
        },
    ),
}
with DAG("semantics_taken", default_args=TASK, **MANUAL):
    numbers = itertools.count()
    for way, (count, placed) in WAYS.items():
        for number in itertools.islice(numbers, count):
            KubernetesPodOperator(
                task_id=f"{way}_{number}",
                labels={"taken": way},
                cmds=["python3", "-c", "{{ dag_run.conf['program'] }}"],
                arguments=[str(number)],
                env_vars=[
                    *(V1EnvVar(name=name, value=value) for name, value in ENVIRONMENT.items()),
                    V1EnvVar(name="POD_UID", value_from=UID),
                ],
                container_resources={"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
                **placed,
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
