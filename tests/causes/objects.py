"""What of the cluster and of Airflow the faults need: classes, quotas, namespaces, volumes, rules, connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import yaml
from local.cluster import settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl

CLOSED, ENDS = "causes-closed", "causes-ends"
#: Connections: one that may create pods everywhere, one whose token nobody knows, one to where no cluster is.
EVERYWHERE, UNKNOWN, AWAY = CONNECTIONS = ("causes_everywhere", "causes_unknown", "causes_away")
#: What must allow pods, and is not there.
WEBHOOK = "causes-webhook"
#: The ConfigMap that says for how many seconds the next pod of a task works.
TURNS = "causes-turns"
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
        *_rules(),
        *_volumes(),
        _of_the_cluster("Namespace", CLOSED),
        _of_the_cluster("RuntimeClass", "causes", "node.k8s.io/v1", handler="causes"),
        _named("Secret", "causes-settings", stringData={"user": "report"}),
        _named("ConfigMap", "causes-settings", data={"run": "neither a script nor a program"}),
        _named("ConfigMap", TURNS, data={}),
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


def _rules() -> list[dict]:
    """Of admission: a policy that denies, and a webhook that does not answer, of the pods that have a label."""
    api = "admissionregistration.k8s.io/v1"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}

    def labelled(value: str) -> dict:
        return {"objectSelector": {"matchLabels": {"causes": value}}}

    denies = {"expression": "false", "message": "reports run at night only"}
    constraints = {"resourceRules": [pods], **labelled("policy")}
    policy = {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": [denies]}
    service = {"name": "causes-none", "namespace": settings.TASK_NAMESPACE}
    webhook = {
        "name": "pods.causes.example",
        "clientConfig": {"service": service},
        "rules": [pods],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 2,
        **labelled("webhook"),
    }
    binding = {"policyName": "causes-policy", "validationActions": ["Deny"]}
    return [
        _of_the_cluster("ValidatingAdmissionPolicy", "causes-policy", api, spec=policy),
        _of_the_cluster("ValidatingAdmissionPolicyBinding", "causes-policy", api, spec=binding),
        _of_the_cluster("ValidatingWebhookConfiguration", WEBHOOK, api, webhooks=[webhook]),
    ]


def _volumes() -> list[dict]:
    """A claim that nobody will give a volume, and one with a volume that is on the node of the pool "light"."""
    size = {"resources": {"requests": {"storage": "1Mi"}}, "accessModes": ["ReadWriteOnce"]}
    light = {"matchExpressions": [{"key": "node-pool", "operator": "In", "values": ["light"]}]}
    local = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "causes-local",
        "local": {"path": "/tmp"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [light]}},
    }
    return [
        _of_the_cluster("PersistentVolume", "causes-elsewhere", spec=local),
        _named("PersistentVolumeClaim", "causes-elsewhere", spec={**size, "storageClassName": "causes-local"}),
        _named("PersistentVolumeClaim", "causes-unbound", spec={**size, "storageClassName": "causes-none"}),
    ]


@contextmanager
def ending() -> Iterator[None]:
    """Around what needs a namespace that is being deleted, which something in it holds up."""
    finalizers = {"name": "holds", "namespace": ENDS, "finalizers": ["causes.example/holds"]}
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": finalizers}
    try:
        for one in (_of_the_cluster("Namespace", ENDS), held):
            kubectl("apply", "-f", "-", stdin=json.dumps(one))
        kubectl("delete", "namespace", ENDS, "--wait=false")
        yield
    finally:
        with suppress(Problem):  # it is gone
            kubectl("patch", "configmap", "holds", "-n", ENDS, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        kubectl("wait", "namespace", ENDS, "--for=delete", "--timeout=60s")


@contextmanager
def made(airflow: Airflow) -> Iterator[None]:
    """Around what needs them: they are there, and gone at the end."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": everything()})
    try:
        kubectl("apply", "-f", "-", stdin=content)
        wait_for("the quotas", _counted, seconds=30, every=0.2)
        _connect(airflow)
        with ending():
            yield
    finally:
        for name in CONNECTIONS:
            with suppress(Problem, OSError):
                airflow.call("DELETE", f"connections/{name}")
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=content)


def _counted() -> bool:
    found = json.loads(kubectl("get", "resourcequotas", "-n", settings.TASK_NAMESPACE, "-o", "json"))["items"]
    return set(QUOTAS) <= {one["metadata"]["name"] for one in found if one.get("status", {}).get("hard")}


def _connect(airflow: Airflow) -> None:
    """Connections to this cluster, by an account that may create pods in every namespace and by nobody; and to none."""
    token = kubectl("create", "token", "causes", "-n", settings.TASK_NAMESPACE, "--duration=2h").strip()
    server = "https://kubernetes.default.svc"
    for name, where, user in (
        (EVERYWHERE, server, token),
        (UNKNOWN, server, "of-nobody"),
        (AWAY, "https://127.0.0.1:1", token),
    ):
        extra = json.dumps({"kube_config": json.dumps(_kubeconfig(where, user))})
        body = {"connection_id": name, "conn_type": "kubernetes", "extra": extra}
        try:
            airflow.call("POST", "connections", **body)
        except Problem as problem:
            if ": 409 " not in str(problem):
                raise
            airflow.call("PATCH", f"connections/{name}", **body)


def _kubeconfig(server: str, token: str) -> dict:
    own = yaml.safe_load(settings.kubeconfig().read_text())["clusters"][0]["cluster"]
    cluster = {"server": server, "certificate-authority-data": own["certificate-authority-data"]}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "causes", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "causes"}}],
        "current-context": "here",
    }
