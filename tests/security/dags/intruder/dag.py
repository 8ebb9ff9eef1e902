"""A DAG of another team's folder, whose task asks for a namespace that is not its team's."""

from datetime import UTC, datetime
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

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
    KubernetesPodOperator(
        task_id="namespace_of_another_team",
        namespace="support",
        image=f"ticket-extract:{VERSIONS['ticket-extract']}",
        pool="light",
        cmds=["python", "-c", "print('it ran')"],
        do_xcom_push=False,
    )
