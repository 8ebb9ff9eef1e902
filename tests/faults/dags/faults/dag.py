"""Tasks that run until they are let go, launched by the stock operator and by the platform.

The platform's end in the triggerer, and, where a callback is to be called, in a second phase.

``suite.yaml`` beside this file says how many tasks the DAGs have, and tells one push from another.
"""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Variable
from kubernetes.client import V1EnvVar, V1EnvVarSource, V1ObjectFieldSelector, V1Toleration

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "suite.yaml").read_text())
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())


def called(context):
    """Leave word that the callback of a task was called."""
    instance = context["ti"]
    Variable.set(f"faults-called-{instance.run_id}-{instance.map_index}-{uuid.uuid4().hex}", str(instance.try_number))


LAUNCHES = {
    "stock": {"name": "faults-stock", "deferrable": True, "executor_config": {"launch": "worker"}},
    "platform": {"name": "faults-platform"},
    "called": {"name": "faults-platform", "on_success_callback": called},
}
ENVIRONMENT = {
    "LEDGER": "{{ dag_run.conf['ledger'] }}",
    "GATE": "{{ dag_run.conf['gate'] }}",
    "LINES": "{{ dag_run.conf['lines'] }}",
    "INTERVAL": "{{ dag_run.conf['interval'] }}",
    "RUN_ID": "{{ run_id }}",
    "TRY_NUMBER": "{{ ti.try_number }}",
}
POD_UID = V1EnvVar(
    name="POD_UID", value_from=V1EnvVarSource(field_ref=V1ObjectFieldSelector(field_path="metadata.uid"))
)

for launch, how in LAUNCHES.items():
    for n in SUITE["sizes"]:
        with DAG(
            f"faults_{launch}_{n}",
            schedule=None,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            catchup=False,
            max_active_runs=32,
            max_active_tasks=n,
            tags=["faults", SUITE["revision"]],
            default_args={
                "owner": "faults",
                "namespace": "support",
                # What a task's author would give it: a fault may cost a try, but must not run anything twice.
                "retries": 2,
                "retry_delay": timedelta(seconds=10),
                "execution_timeout": timedelta(hours=3),
                # Hundreds of pods at once take a while to start.
                "startup_timeout_seconds": 1800,
            },
        ):
            KubernetesPodOperator.partial(
                task_id="hold",
                image=f"ticket-extract:{VERSIONS['ticket-extract']}",
                cmds=["python", "-c", (HERE / "hold.py").read_text()],
                env_vars=[*(V1EnvVar(name=key, value=value) for key, value in ENVIRONMENT.items()), POD_UID],
                # In the default pool, whose slots the run raises: those of a pool of nodes would limit it.
                tolerations=[V1Toleration(key="node-pool", operator="Exists")],
                container_resources={"requests": {"cpu": "1m", "memory": "8Mi"}},
                **how,
            ).expand(arguments=[[str(number)] for number in range(n)])
