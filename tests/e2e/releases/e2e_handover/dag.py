"""Runs every few seconds, and does nothing."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from e2e.e2e_handover.words import START

with DAG(
    "e2e_handover",
    schedule=timedelta(seconds=5),
    start_date=datetime.fromisoformat(START),
    # A scheduler that is late makes up for it, instead of leaving runs out.
    catchup=True,
    max_active_runs=4,
    tags=["e2e"],
    doc_md=__doc__,
    default_args={"owner": "e2e", "retries": 1, "execution_timeout": timedelta(minutes=5)},
):
    EmptyOperator(task_id="nothing")
