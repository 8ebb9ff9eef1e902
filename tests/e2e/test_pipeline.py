"""From a push to the log: what an author does, and sees."""

import re
import time

import pytest
import requests
from local.cluster import dags, settings, smoke
from local.cluster.console import Problem, wait_for
from tests.observe.dags import wait_for_launchers, wait_for_source

DAG = "e2e_places"


def test_a_pushed_change_is_parsed_run_on_the_right_nodes_and_logged(
    airflow, found, push, run_dag, get, kubectl, capsys
):
    revision = str(int(time.time()))
    push("places.py", lambda text: text.replace('REVISION = "0"', f'REVISION = "{revision}"'))
    seconds = wait_for_source(airflow, DAG, f'REVISION = "{revision}"')
    with capsys.disabled():
        print(f"\n      git push to the new DAG parsed: {seconds:.1f} s")
    assert seconds <= 30

    wait_for_launchers(kubectl, "places.py", f'REVISION = "{revision}"')
    state, instances = run_dag(DAG)
    assert state == "success"

    scheduled = get("events", "-n", "support", "--field-selector=reason=Scheduled")["items"]
    node_of = {event["involvedObject"]["name"]: event["message"].rpartition(" ")[2] for event in scheduled}
    pool_of = {node["metadata"]["name"]: node["metadata"]["labels"].get("node-pool") for node in get("nodes")["items"]}
    for pool in ("light", "gpu"):
        instance = instances[f"on_{pool}"]
        address, stored = wait_for("the log in S3", lambda one=instance: airflow.stored_log(one), seconds=30)
        shown = airflow.log(instance)
        own = [line for line in stored if "[base]" in line]
        assert own == [line for line in shown if "[base]" in line], f"{address} is not what the API shows"
        lines = [line.rstrip() for line in own if "line" in line]
        assert lines == [f"[base] line {number}" for number in range(1, 41)]
        assert f"[base] revision {revision}" in own
        assert "[base] token False" in own, "a task pod must have no service account token"
        assert "[base] uid 65532" in own
        (pod,) = {match[1] for line in shown if (match := re.match(r"Pod (\S+): created ", line))}
        assert pool_of[node_of[pod]] == pool


def test_the_log_can_be_read_while_the_task_runs(airflow, run_dag):
    airflow.call("PATCH", f"dags/{DAG}", is_paused=False)
    run_id = airflow.call("POST", f"dags/{DAG}/dagRuns", logical_date=None)["dag_run_id"]

    def live():
        for instance in airflow.task_instances(DAG, run_id):
            # While its pod runs, a task is deferred to the triggerer.
            if instance["state"] == "deferred" and any("[base] line" in line for line in airflow.log(instance)):
                # The answer counts only if the pod still ran when it came.
                return [one["state"] for one in airflow.task_instances(DAG, run_id)].count("deferred")
        return None

    assert wait_for("a line of a running task", live, seconds=120, every=0.3)
    wait_for("the run's end", lambda: airflow.run(DAG, run_id)["state"] == "success", seconds=120)


def test_the_pipeline_of_a_client(found):
    assert smoke.last_or_run(found, dags.push(settings.REPO / "dags")).startswith("smoke: ok")


def test_a_dag_that_does_not_import_is_shown_and_leaves_the_others(airflow, push):
    before = {dag["dag_id"] for dag in airflow.call("GET", "dags")["dags"]}
    push("broken.py", lambda _: "from airflow.sdk import DAG\nimport a_module_that_is_not_there\n")
    try:
        shown = wait_for("the import error", lambda: airflow.call("GET", "importErrors")["import_errors"], seconds=60)
        assert any("a_module_that_is_not_there" in error["stack_trace"] for error in shown)
        assert {dag["dag_id"] for dag in airflow.call("GET", "dags")["dags"]} == before
    finally:
        push("places.py")
    wait_for("its end", lambda: not airflow.call("GET", "importErrors")["import_errors"], seconds=90)


def test_an_unreachable_git_server_leaves_the_last_good_dags(airflow, found, kubectl, push, get):
    before = {dag["dag_id"] for dag in airflow.call("GET", "dags")["dags"]}
    kubectl("scale", "statefulset/git", "-n", "local", "--replicas=0")
    try:
        wait_for("the git server's end", lambda: not _pods(get, "local", "git"), seconds=60)

        def noticed():
            pod = _pods(get, "airflow", "dag-processor")[0]["metadata"]["name"]
            log = kubectl("logs", "-n", "airflow", pod, "-c", "git-sync", "--since=30s")
            return log if re.search("fail|error|unable", log, re.IGNORECASE) else None

        wait_for("git-sync's complaint", noticed, seconds=90)
        assert {dag["dag_id"] for dag in airflow.call("GET", "dags?exclude_stale=true")["dags"]} == before
        ready = _pods(get, "airflow", "dag-processor")[0]["status"]["containerStatuses"]
        assert all(container["ready"] for container in ready)
    finally:
        kubectl("scale", "statefulset/git", "-n", "local", "--replicas=1")
        kubectl("rollout", "status", "statefulset/git", "-n", "local", "--timeout=90s")
        wait_for("the git server on its port", lambda: _answers(found["git"]), seconds=60)


@pytest.mark.parametrize(
    ("folder", "sentence"), [("missing", "is not a folder"), (".", "there is nothing in")], ids=["missing", "empty"]
)
def test_a_push_of_nothing_says_what_to_do(tmp_path, folder, sentence):
    from local.cluster import dags

    with pytest.raises(Problem, match=sentence):
        dags.push(tmp_path / folder)


def _answers(url):
    try:
        return requests.get(f"{url}/info/refs?service=git-upload-pack", timeout=5).ok
    except requests.RequestException:
        return False


def _pods(get, namespace, component):
    pods = get("pods", "-n", namespace)["items"]
    return [pod for pod in pods if component in pod["metadata"]["labels"].values()]


def test_a_log_that_cannot_be_uploaded_is_said_and_changes_no_state(airflow, push, run_dag):
    push("lost_log.py")
    wait_for("DAG e2e_lost_log", lambda: airflow.dag("e2e_lost_log"), seconds=60)
    state, instances = run_dag("e2e_lost_log")
    assert state == "failed"
    assert {name: one["state"] for name, one in instances.items()} == {"succeeds": "success", "fails": "failed"}
    for instance in instances.values():

        def said(one=instance):
            (line,) = airflow.log(one)[-1:]
            return "There is no log of this try at s3://airflow-logs/" in line and "the upload failed" in line

        # Until then the log may still be on its way.
        wait_for("the upload's failure in the log", said, seconds=90)
