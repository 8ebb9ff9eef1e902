"""Tasks in a second cluster: found by connection and by context, logged, explained and stopped as in the first."""

import json

import pytest
from local.cluster import settings
from local.cluster.console import wait_for
from tests.observe.pods import PodRecord
from tests.semantics import second_cluster
from tests.semantics.run import Run, gone

pytestmark = pytest.mark.runs("semantics_clusters")


@pytest.fixture(scope="module")
def second(connection, task_image):
    """The pods of the second cluster, with connections to it."""
    with second_cluster.running() as cluster, PodRecord(cluster.client, settings.TASK_NAMESPACE) as record:
        for name, context in (
            ("semantics_second", second_cluster.CONTEXT),
            ("semantics_two_contexts", second_cluster.NOWHERE),
        ):
            kubeconfig = cluster.kubeconfig | {"current-context": context}
            extra = {"kube_config": json.dumps(kubeconfig), "task_image": task_image}
            connection(name, conn_type="kubernetes", extra=json.dumps(extra))
        yield record


@pytest.fixture
def there(second, run, airflow):
    """The run, with its pods in the second cluster."""
    return Run(airflow, second, run.dag_id, run.run_id)


@pytest.mark.needs("second")
@pytest.mark.parametrize("task_id", ["by_connection", "by_context"])
def test_a_task_runs_in_the_cluster_that_it_names(run, there, task_id):
    assert there.ended_task(task_id)["state"] == "success"
    assert "[base] runs in the second cluster" in there.log(task_id)
    assert len(there.pods(task_id)) == 1
    assert run.pods(task_id) == []
    gone(there.pods(task_id)[0], seconds=60)


@pytest.mark.needs("second")
def test_why_it_failed_there_is_in_the_log(there):
    assert there.ended_task("fails")["state"] == "failed"
    log = there.log("fails")
    assert "[base] last words" in log
    assert any("exit code 3" in line for line in log[-3:])


@pytest.mark.needs("second")
def test_a_person_ends_it_there(there, airflow):
    pod = there.running_pod("marked")
    wait_for("the task that waits", lambda: there.instance("marked")["state"] == "deferred", seconds=60)
    airflow.call("PATCH", f"{there.path}/taskInstances/marked", new_state="failed")
    gone(pod, seconds=60)
