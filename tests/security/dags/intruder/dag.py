"""A DAG of another team's folder, whose tasks ask for a namespace that is not its team's."""

from datetime import UTC, datetime
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, task

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "suite.yaml").read_text())
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())

with DAG(
    "security_intruder",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["security", SUITE["revision"]],
    default_args={"owner": "intruder", "retries": 0},
):
    pod = {
        "namespace": "support",
        "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
        "pool": "light",
        "cmds": ["python", "-c", "print('it ran')"],
        "do_xcom_push": False,
    }
    KubernetesPodOperator(task_id="namespace_of_another_team", **pod)

    @task
    def forged():
        """Annotations that come with the run replace the platform's: the file of a DAG of that team's."""
        return [{"annotations": {"airflow-platform/pool": "light", "airflow-platform/dag-file": "support/dag.py"}}]

    # The label is that of a worker's pod, which the platform does not fill in.
    labels = {"kubernetes_executor": "True"}
    KubernetesPodOperator.partial(task_id="as_a_worker", labels=labels, **pod).expand_kwargs(forged(), strict=False)
