"""Whatever a hostile DAG asks for is refused, and the log of its task says why, in one line at its end."""

import re

import pytest

OURS = "policy airflow.airflow-task-pods"

#: Task to what its log says. Where Pod Security "restricted" judges first, in its words.
REASONS = {
    "folder_of_the_node": "Pod Security level restricted.*hostPath",
    "privileged": "Pod Security level restricted.*privileged",
    "capability": "Pod Security level restricted.*SYS_ADMIN",
    "network_of_the_node": "Pod Security level restricted.*host namespaces",
    "node": f"{OURS}.*names a node",
    "foreign_image": rf"{OURS}.*image docker\.io/library/alpine:3\.22 is not of",
    "image_of_another_team": rf"{OURS}.*image localhost:\d+/airflow:3\.3\.2 is not of",
    "foreign_init_image": rf"{OURS}.*image docker\.io/library/alpine:3\.22 is not of",
    "account": f"{OURS}.*service account default is not for tasks in namespace support",
    "priority": f"{OURS}.*a priority of the cluster's own components",
    "namespace_of_the_platform": "policy airflow.airflow-worker-pods.*keeps the labels",
    "namespace_of_the_cluster": "may not .* pods in namespace kube-system",
}


@pytest.mark.parametrize("task_id", REASONS)
def test_a_hostile_task_is_refused_with_a_reason(airflow, ended, task_id):
    instance = ended("security_hostile")[task_id]
    log = airflow.log(instance)
    assert instance["state"] == "failed"
    assert "it ran" not in log
    assert [line for line in log if re.search(REASONS[task_id], line)], "\n".join(log[-10:])


@pytest.mark.parametrize(
    ("task_id", "file"), [("namespace_of_another_team", "intruder/dag.py"), ("as_a_worker", "not known")]
)
def test_a_dag_of_another_team_has_no_pod_in_this_teams_namespace(airflow, ended, task_id, file):
    instance = ended("security_intruder")[task_id]
    log = "\n".join(airflow.log(instance))
    assert instance["state"] == "failed"
    reason = f"namespace support takes pods of DAGs in support/, security/, and this DAG's file is {file}"
    assert OURS in log
    assert reason in log


def test_a_refusal_says_what_to_do(airflow, ended):
    log = airflow.log(ended("security_hostile")["account"])
    assert [line for line in log if "Name one of these, or none." in line]
