"""DAGs as Airflow has parsed them."""

import json
import time

from local.cluster import settings
from local.cluster.console import Problem, wait_for


def wait_for_source(airflow, dag_id, text, seconds=60):
    """Seconds until the DAG as Airflow has parsed it holds ``text``.

    Not its version number: Airflow changes a version that no run has used yet in place.
    """
    began = time.monotonic()

    def parsed():
        return airflow.dag(dag_id) and text in airflow.call("GET", f"dagSources/{dag_id}")["content"]

    wait_for(f"{text[:60]!r} in {dag_id}", parsed, seconds=seconds, every=0.5)
    return time.monotonic() - began


def wait_for_launchers(kubectl, name, text, seconds=60):
    """Wait until each pod that launches tasks has a DAG file of this name with ``text``: each fetches for itself."""
    both = "app.kubernetes.io/component in (scheduler,launcher)"
    selector = f"{both},app.kubernetes.io/instance={settings.RELEASE}"
    pods = json.loads(kubectl("get", "pods", "-l", selector, "-n", settings.NAMESPACE, "-o", "json"))["items"]

    def fetched():
        try:
            for pod in pods:
                where = [pod["metadata"]["name"], "-c", pod["metadata"]["labels"]["app.kubernetes.io/component"]]
                look = ["grep", "-rqF", f"--include={name}", text, "/git/current/"]
                kubectl("exec", "-n", settings.NAMESPACE, *where, "--", *look)
        except Problem:
            return False
        return True

    wait_for(f"{text[:60]!r} in {name} of the launchers", fetched, seconds=seconds)
