"""What of the cluster and of Airflow the faults need: classes, quotas, a namespace, a Secret, a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import yaml
from local.cluster import settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl

CLOSED = "causes-closed"
CONNECTION = "causes_everywhere"
#: {class: its priority}; the lower ones are below all others, so that none but a task's pod is displaced.
PRIORITIES = {"causes-low": -20, "causes-higher": -10, "causes-full": 0, "causes-small": 0, "causes-limits": 0}
#: {quota: what it has}, each of the pods of the class of its name.
QUOTAS = {"causes-full": {"pods": "1"}, "causes-small": {"requests.cpu": "1"}, "causes-limits": {"limits.cpu": "4"}}


def _named(kind: str, name: str, api: str = "v1", namespace: str | None = settings.TASK_NAMESPACE, **more) -> dict:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **more}


def _of_the_cluster(kind: str, name: str, api: str = "v1", **more) -> dict:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **more}


def everything() -> list[dict]:
    """All objects."""
    rbac = "rbac.authorization.k8s.io"
    found = [
        _of_the_cluster(
            "PriorityClass",
            name,
            "scheduling.k8s.io/v1",
            value=value,
            preemptionPolicy="PreemptLowerPriority" if name == "causes-higher" else "Never",
        )
        for name, value in PRIORITIES.items()
    ]
    for name, hard in QUOTAS.items():
        of_class = {"scopeName": "PriorityClass", "operator": "In", "values": [name]}
        scope = {"matchExpressions": [of_class]}
        found.append(_named("ResourceQuota", name, spec={"hard": hard, "scopeSelector": scope}))
    account = {"kind": "ServiceAccount", "name": "causes", "namespace": settings.TASK_NAMESPACE}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "get", "list", "patch", "watch"]}
    return [
        *found,
        _of_the_cluster("Namespace", CLOSED),
        _named("Secret", "causes-settings", stringData={"user": "report"}),
        _named("ServiceAccount", "causes"),
        _of_the_cluster("ClusterRole", "causes", f"{rbac}/v1", rules=[rule]),
        _of_the_cluster(
            "ClusterRoleBinding",
            "causes",
            f"{rbac}/v1",
            roleRef={"apiGroup": rbac, "kind": "ClusterRole", "name": "causes"},
            subjects=[account],
        ),
    ]


@contextmanager
def made(airflow: Airflow) -> Iterator[None]:
    """Around what needs them: they are there, and gone at the end."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": everything()})
    try:
        kubectl("apply", "-f", "-", stdin=content)
        wait_for("the quotas", _counted, seconds=30, every=0.2)
        _connect(airflow)
        yield
    finally:
        with suppress(Problem, OSError):
            airflow.call("DELETE", f"connections/{CONNECTION}")
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=content)


def _counted() -> bool:
    found = json.loads(kubectl("get", "resourcequotas", "-n", settings.TASK_NAMESPACE, "-o", "json"))["items"]
    return set(QUOTAS) <= {one["metadata"]["name"] for one in found if one.get("status", {}).get("hard")}


def _connect(airflow: Airflow) -> None:
    """A connection to this cluster, with an account that may create pods in every namespace."""
    token = kubectl("create", "token", "causes", "-n", settings.TASK_NAMESPACE, "--duration=2h").strip()
    own = yaml.safe_load(settings.kubeconfig().read_text())["clusters"][0]["cluster"]
    authority = own["certificate-authority-data"]
    cluster = {"server": "https://kubernetes.default.svc", "certificate-authority-data": authority}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "causes", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "causes"}}],
        "current-context": "here",
    }
    body = {"conn_type": "kubernetes", "extra": json.dumps({"kube_config": json.dumps(kubeconfig)})}
    try:
        airflow.call("POST", "connections", connection_id=CONNECTION, **body)
    except Problem as problem:
        if ": 409 " not in str(problem):
            raise
        airflow.call("PATCH", f"connections/{CONNECTION}", connection_id=CONNECTION, **body)
