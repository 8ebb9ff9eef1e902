"""DAGs as Airflow has parsed them."""

import time

from local.cluster.console import wait_for


def wait_for_source(airflow, dag_id, text, seconds=60):
    """Seconds until the DAG as Airflow has parsed it holds ``text``.

    Not its version number: Airflow changes a version that no run has used yet in place.
    """
    began = time.monotonic()

    def parsed():
        return airflow.dag(dag_id) and text in airflow.call("GET", f"dagSources/{dag_id}")["content"]

    wait_for(f"{text[:60]!r} in {dag_id}", parsed, seconds=seconds, every=0.5)
    return time.monotonic() - began
