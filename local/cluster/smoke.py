"""The pipeline, once, on the cluster that is up: the shortest proof that the platform works."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import requests
from local.cluster import dags, settings
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import Problem, Step, say, step, wait_for
from local.cluster.kind import kubectl

DAG = "ticket_sentiment__acme"
#: {task: the node pool that its pod must run on}.
PLACES = {"extract": "light", "train": "gpu", "score": "light", "report": "light"}
#: Seconds for the whole run.
TIMEOUT = 290


def last_or_run(access: dict, commit: str) -> str:
    """The summary of the last run where it succeeded with the DAG as it is in this commit; else of a new one."""
    airflow = Airflow(access)
    with step(f"DAG {DAG}: parsed from what was pushed"):
        wait_for(f"DAG {DAG}", lambda: _parsed(airflow), seconds=120)
        dags.wait_until_served(airflow, DAG, commit)
    last = _last_run(airflow)
    current = airflow.call("GET", f"dags/{DAG}/dagVersions?order_by=-version_number&limit=1")["dag_versions"]
    if last and last["state"] == "success" and last["dag_versions"][-1]["id"] == current[0]["id"]:
        return _summary(airflow, last["dag_run_id"], "success")
    return _run(airflow, access["ui"])


def run(access: dict) -> str:
    """Run the pipeline for one client; the summary line.

    :raises Problem: the run failed, a pod ran on the wrong node, or a log is not in S3.
    """
    airflow = Airflow(access)
    with step(f"DAG {DAG}: parsed from what was pushed"):
        wait_for(f"DAG {DAG}", lambda: _parsed(airflow), seconds=120)
    return _run(airflow, access["ui"])


def _run(airflow: Airflow, ui: str) -> str:
    with step(f"DAG {DAG}: running it") as current:
        run_id = _start(airflow)
        state = wait_for("the run's end", lambda: _ended(airflow, run_id, current), seconds=TIMEOUT, every=2)
        if state != "success":
            raise Problem(f"run {run_id} of {DAG}: {state}\n{_why(airflow, run_id)}", f"See {ui}/dags/{DAG}")
    instances = airflow.task_instances(DAG, run_id)
    tried_again = [one["task_id"] for one in instances if one["try_number"] > 1]
    if tried_again:
        say(f"      tried more than once: {', '.join(tried_again)} (see their logs)")
    with step("Pods: each on a node of its pool") as current:
        current.progress = _check_places(airflow, instances)
    return _summary(airflow, run_id, state)


def _summary(airflow: Airflow, run_id: str, state: str) -> str:
    with step("Log: read back from S3"):
        last = next(one for one in airflow.task_instances(DAG, run_id) if one["task_id"] == "report")
        address, lines = wait_for("the log in S3", lambda: airflow.stored_log(last), seconds=30)
    say(f"      | {_task_line(lines)}")
    return f"smoke: ok DAG={DAG} run={run_id} state={state} log={address}"


def _last_run(airflow: Airflow) -> dict | None:
    runs = airflow.call("GET", f"dags/{DAG}/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
    return runs[0] if runs else None


def _parsed(airflow: Airflow) -> bool:
    try:
        return airflow.dag(DAG) is not None
    except requests.RequestException:
        return False


def _start(airflow: Airflow) -> str:
    """Unpause the DAG. The first time its schedule starts a run; after that one is triggered by hand."""
    last = _last_run(airflow)
    airflow.call("PATCH", f"dags/{DAG}", is_paused=False)
    if last is None:
        last = wait_for("the scheduled run", lambda: _last_run(airflow), seconds=60)
        return last["dag_run_id"]
    if last["state"] not in ENDED:
        return last["dag_run_id"]
    now = datetime.now(timezone.utc).isoformat()
    return airflow.call("POST", f"dags/{DAG}/dagRuns", logical_date=now)["dag_run_id"]


def _ended(airflow: Airflow, run_id: str, current: Step) -> str | None:
    instances = airflow.task_instances(DAG, run_id)
    done = sum(instance["state"] in ("success", "skipped") for instance in instances)
    current.note(f"{done} of {len(instances)} tasks done")
    state = airflow.run(DAG, run_id)["state"]
    return state if state in ENDED else None


def _why(airflow: Airflow, run_id: str) -> str:
    lines = []
    for instance in airflow.task_instances(DAG, run_id):
        if instance["state"] == "failed":
            lines.append(f"  {instance['task_id']} (try {instance['try_number']}):")
            lines += [f"    {line}" for line in airflow.log(instance)[-12:]]
    return "\n".join(lines)


def _check_places(airflow: Airflow, instances: list[dict]) -> str:
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    pool_of = {node["metadata"]["name"]: node["metadata"]["labels"].get("node-pool") for node in nodes}
    events = json.loads(
        kubectl("get", "events", "-n", settings.TASK_NAMESPACE, "-o", "json", "--field-selector=reason=Scheduled")
    )["items"]
    placed = {}
    for event in events:
        # "Successfully assigned support/extract-abc to airflow-platform-worker"
        placed[event["involvedObject"]["name"]] = pool_of.get(event["message"].rpartition(" ")[2])
    seen: dict[str, int] = {}
    for instance in instances:
        wanted = PLACES[instance["task_id"]]
        # A task is done a moment before its log is uploaded.
        named = f"its pod in the log of task {instance['task_id']}"
        for pod in wait_for(named, lambda one=instance: _pods_of(airflow, one, placed), seconds=30):
            if placed[pod] != wanted:
                raise Problem(f"pod {pod} ran on pool {placed[pod]}, not on {wanted}", "Look at the policy's settings.")
            seen[wanted] = seen.get(wanted, 0) + 1
    return ", ".join(f"{count} on {pool}" for pool, count in sorted(seen.items()))


def _pods_of(airflow: Airflow, instance: dict, placed: dict[str, str]) -> list[str]:
    log = "\n".join(airflow.log(instance))
    return [name for name in placed if name in log]


def _task_line(lines: list[str]) -> str:
    """The last line that the task itself printed."""
    own = [line for line in lines if line.startswith("[base]")]
    return (own or lines)[-1]
