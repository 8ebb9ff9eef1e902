"""The node pools of the local cluster: what comes with one, what a task cannot have of it, and what is kept in step."""

import re

import pytest
from kubernetes import config
from kubernetes.client import CoreV1Api
from local.cluster import releases, settings
from local.cluster.console import Problem, wait_for
from tests.causes import fillers

DAG = "e2e_pools"
WAITS_FOR_ROOM = re.compile(
    r"^Pod \S+ waits for 0\.1 CPU on pool gpu \(free 0\.0\d of \d+ CPU, (no task|1 task) ahead\);"
)


@pytest.fixture
def pods_of_tasks(kubectl, get):
    """The pods of a run by their task, which are kept until the test has seen them."""
    mine = ("pods", "-n", "support", "-l", f"dag_id={DAG}")

    def pods_of_tasks():
        return {pod["metadata"]["labels"]["task_id"]: pod for pod in get(*mine)["items"]}

    yield pods_of_tasks
    kubectl("delete", *mine, "--now")


def test_a_task_that_names_its_pool_has_all_that_comes_with_it(airflow, push, run_dag, pods_of_tasks):
    push("pools.py")
    wait_for(f"DAG {DAG}", lambda: airflow.dag(DAG), seconds=60)
    state, _ = run_dag(DAG)
    assert state == "success"
    pods = pods_of_tasks()
    spec = pods["plain"]["spec"]
    assert spec["nodeSelector"] == {"node-pool": "gpu"}
    assert (spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]) == (
        "airflow.airflow.gpu-1000-never",
        1000,
        "Never",
    )
    (base,) = spec["containers"]
    assert base["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}
    assert pods["rendered"]["spec"]["containers"][0]["resources"]["limits"] == {"memory": "2Gi"}


def test_the_quota_of_a_pool_counts_its_pods_alone(get):
    (quota,) = get("resourcequotas", "-n", "support", "-l", "app.kubernetes.io/component=node-pools")["items"]
    assert quota["metadata"]["name"] == "airflow-gpu"
    assert quota["status"]["hard"] == {"pods": "8", "requests.memory": "8Gi"}
    (item,) = get("limitrange", "airflow-largest", "-n", "support")["spec"]["limits"]
    assert (item["max"], item["defaultRequest"]) == ({"memory": "4Gi"}, {"memory": "0"})


def test_a_task_that_asks_more_than_its_pool_gives_is_an_import_error(airflow, push):
    push("pools.py", lambda text: text.replace("= None", '= {"requests": {"cpu": "16"}}'))
    try:
        shown = wait_for("the import error", lambda: airflow.call("GET", "importErrors")["import_errors"], seconds=60)
        (error,) = (one["stack_trace"] for one in shown)
        assert f"Task {DAG}.plain asks for 16 CPU, and pool 'gpu' gives one task at most 1.5 CPU." in error
    finally:
        push("pools.py")
    wait_for("its end", lambda: not airflow.call("GET", "importErrors")["import_errors"], seconds=90)


def test_a_task_whose_run_asks_more_than_its_pool_gives_fails_at_once(airflow, push, pods_of_tasks):
    push("pools.py")
    wait_for(f"DAG {DAG}", lambda: airflow.dag(DAG), seconds=60)
    airflow.call("PATCH", f"dags/{DAG}", is_paused=False)
    run_id = airflow.call("POST", f"dags/{DAG}/dagRuns", logical_date=None, conf={"cpu": "16"})["dag_run_id"]

    def failed():
        (one,) = (one for one in airflow.task_instances(DAG, run_id) if one["task_id"] == "rendered")
        return one if one["state"] == "failed" else None

    instance = wait_for("the task's end", failed, seconds=120)
    assert instance["try_number"] == 1
    why = f"Task {DAG}.rendered asks for 16 CPU, and pool 'gpu' gives one task at most 1.5 CPU."
    # It is uploaded once the task has failed.
    wait_for("the log of why", lambda: any(why in line for line in airflow.log(instance)), seconds=30)
    assert "rendered" not in pods_of_tasks()
    wait_for("the run's end", lambda: airflow.run(DAG, run_id)["state"] == "failed", seconds=120)


def test_a_task_that_waits_for_room_says_how_much_is_free_and_who_is_ahead(airflow, push, pods_of_tasks, get):
    push("pools.py")
    wait_for(f"DAG {DAG}", lambda: airflow.dag(DAG), seconds=60)
    airflow.call("PATCH", f"dags/{DAG}", is_paused=False)
    core = CoreV1Api(config.new_client_from_config(str(settings.kubeconfig())))
    (node,) = (one["metadata"]["name"] for one in get("nodes", "-l", "node-pool=gpu")["items"])

    def told():
        logs = [line for one in airflow.task_instances(DAG, run_id) if one["try_number"] for line in airflow.log(one)]
        found = {place for line in logs for place in WAITS_FOR_ROOM.findall(line)}
        return found == {"no task", "1 task"}

    with fillers.room_taken(core, node, "", but=50):
        run_id = airflow.call("POST", f"dags/{DAG}/dagRuns", logical_date=None)["dag_run_id"]
        wait_for("what they wait for", told, seconds=120)
    wait_for("the run's end", lambda: airflow.run(DAG, run_id)["state"] == "success", seconds=120)


def test_a_pool_that_a_person_changed_is_set_back(airflow):
    changed = {"slots": 9, "include_deferred": False}
    airflow.call("PATCH", "pools/gpu", pool="gpu", description="mine", **changed)
    assert airflow.call("GET", "pools/gpu").items() >= changed.items()

    def as_set():
        pool = airflow.call("GET", "pools/gpu")
        return (pool["slots"], pool["include_deferred"]) == (4, True)

    wait_for("the scheduler's look at the pools", as_set, seconds=90)


def test_helm_test_says_what_each_pool_can_hold_and_leaves_nothing(get):
    said = _helm_test()
    for pool in ("light", "gpu"):
        assert f"Pool {pool}: 1 node ready, with " in said
    _assert_nothing_is_left(get)


def test_helm_test_names_a_pool_that_has_no_node(kubectl, get):
    (name,) = (node["metadata"]["name"] for node in get("nodes", "-l", "node-pool=gpu")["items"])
    kubectl("label", "node", name, "node-pool=other", "--overwrite")
    try:
        with pytest.raises(Problem, match=r"Pool gpu: no node has label node-pool=gpu \(node-pool is light, other on"):
            _helm_test()
    finally:
        kubectl("label", "node", name, "node-pool=gpu", "--overwrite")
    _assert_nothing_is_left(get)


def _helm_test():
    return releases.helm("test", settings.RELEASE, "--namespace", settings.NAMESPACE, "--logs", "--timeout=120s")


def _assert_nothing_is_left(get):
    for kind in ("pods", "serviceaccounts", "clusterroles", "clusterrolebindings"):
        found = get(kind, "-A", "-l", "app.kubernetes.io/component=test")["items"]
        assert [one["metadata"]["name"] for one in found] == []
