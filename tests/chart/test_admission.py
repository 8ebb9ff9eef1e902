"""Kubernetes' own API server refuses what a hostile DAG asks for, with a reason; what the platform makes passes."""

import copy
import json
import time

import pytest
import yaml
from kubernetes import utils
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from tests.chart import api_server
from tests.chart.release import render

pytestmark = api_server.needs_api_server

SETTINGS = (
    'tasks.namespaces=["support", "research"]',
    'admissionPolicy.teams.research={"dagFolders": ["research"], "serviceAccounts": ["airflow-task", "researcher"]}',
    'admissionPolicy.teams.support.imageRepositories=["support", "ticket-extract", "python.slim"]',
)
SCHEDULER = "system:serviceaccount:airflow:airflow-scheduler"
REGISTRY = "localhost:5001"


def metadata(name, namespace=None):
    return {"name": name, **({"namespace": namespace} if namespace else {})}


@pytest.fixture(scope="module")
def objects():
    return render(*SETTINGS, values=("common", "kind", "kind-security"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, objects):
    """An API server with the policies of a release, and what a namespace has that pods are made in."""
    with api_server.running(tmp_path_factory.mktemp("api-server")) as server:
        client = server.client()
        accounts = {
            "airflow": ["airflow-worker"],
            "support": ["airflow-task"],
            "research": ["airflow-task", "researcher"],
        }
        for namespace, names in accounts.items():
            utils.create_from_dict(client, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(namespace)})
            for name in ("default", *names):
                account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, namespace)}
                utils.create_from_dict(client, account)
        for one in objects:
            if one["kind"].startswith("ValidatingAdmissionPolicy"):
                utils.create_from_dict(client, one)
        yield server


@pytest.fixture(scope="module")
def create(server):
    """Ask for a pod, in the name of a user; what the API server says against it, "" where it takes it."""

    def create(pod, user=SCHEDULER):
        body = {"apiVersion": "v1", "kind": "Pod", **pod}
        try:
            CoreV1Api(server.client(user)).create_namespaced_pod(pod["metadata"]["namespace"], body, dry_run="All")
        except ApiException as error:
            return json.loads(error.body)["message"]
        return ""

    # A policy comes into force a moment after it was made.
    deadline = time.monotonic() + 60
    while not (
        create(changed(TASK, ("spec", "nodeName"), "n")) and create(changed(TASK, ("metadata", "namespace"), "airflow"))
    ):
        assert time.monotonic() < deadline, "the policies do not come into force"
        time.sleep(0.2)
    return create


#: As the platform makes it for a task that asks for nothing special.
TASK = {
    "metadata": {
        "name": "task",
        "namespace": "support",
        "annotations": {"airflow-platform/dag-file": "support/reports/dag.py"},
        "labels": {"dag_id": "report", "task_id": "make"},
    },
    "spec": {
        "serviceAccountName": "airflow-task",
        "automountServiceAccountToken": False,
        "containers": [{"name": "base", "image": f"{REGISTRY}/ticket-extract:1.0.0", "securityContext": {}}],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "dsn", "secret": {"secretName": "tickets"}}],
    },
}


def changed(pod, path, value):
    """A copy of the pod with this value in this place."""
    made = copy.deepcopy(pod)
    part = made
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return made


BASE = ("spec", "containers", 0)
CONTEXT = (*BASE, "securityContext")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "name"), "task"),
        ((*BASE, "image"), f"{REGISTRY}/ticket-extract@sha256:{'0' * 64}"),
        # Of no registry that is named.
        ((*BASE, "image"), "python.slim:3.13"),
        ((*BASE, "image"), f"python.slim@sha256:{'0' * 64}"),
        ((*BASE, "image"), f"{REGISTRY}/support/report:1.0.0"),
        ((*CONTEXT, "capabilities"), {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
        ((*BASE, "ports"), [{"containerPort": 8080}]),
        (("spec", "priorityClassName"), ""),
        (("spec", "volumes"), [{"name": "model", "image": {"reference": f"{REGISTRY}/support/model:1"}}]),
    ],
)
def test_a_pod_that_keeps_to_its_team_is_taken(create, path, value):
    assert create(changed(TASK, path, value)) == ""


HOSTILE = {
    "another team's namespace": (
        ("metadata", "namespace"),
        "research",
        "namespace research takes pods of DAGs in research/,",
    ),
    "a DAG of no team": (("metadata", "annotations"), {}, "this DAG's file is not known"),
    "a folder whose name begins alike": (
        ("metadata", "annotations"),
        {"airflow-platform/dag-file": "support-of-others/dag.py"},
        "this DAG's file is support-of-others/dag.py",
    ),
    "another team's account": (
        ("spec", "serviceAccountName"),
        "default",
        "service account default is not for tasks in namespace support",
    ),
    "another team's image": (
        (*BASE, "image"),
        f"{REGISTRY}/research/model:1",
        "image localhost:5001/research/model:1 is not of",
    ),
    "an image from anywhere": (
        (*BASE, "image"),
        "docker.io/library/alpine:3",
        "image docker.io/library/alpine:3 is not of",
    ),
    "a repository whose name begins alike": ((*BASE, "image"), f"{REGISTRY}/ticket-extract-of-others:1", "is not of"),
    "a registry named like a repository": ((*BASE, "image"), "python.slim:5000/miner:1", "is not of"),
    "an image from anywhere before it": (
        ("spec", "initContainers"),
        [{"name": "first", "image": "docker.io/library/alpine:3"}],
        "image docker.io/library/alpine:3 is not of",
    ),
    "an image from anywhere as a volume": (
        ("spec", "volumes"),
        [{"name": "tools", "image": {"reference": "docker.io/library/alpine:3"}}],
        "image docker.io/library/alpine:3 is not of",
    ),
    "a folder of the node": (
        ("spec", "volumes"),
        [{"name": "root", "hostPath": {"path": "/"}}],
        "mounts a folder of its node",
    ),
    "a privileged container": (CONTEXT, {"privileged": True}, "has a privileged container"),
    "a privileged container before it": (
        ("spec", "initContainers"),
        [{"name": "first", "image": f"{REGISTRY}/support/a:1", "securityContext": {"privileged": True}}],
        "has a privileged container",
    ),
    "more capabilities": ((*CONTEXT, "capabilities"), {"add": ["SYS_ADMIN"]}, "adds capabilities"),
    "the node's network": (("spec", "hostNetwork"), True, "uses its node's network"),
    "the node's processes": (("spec", "hostPID"), True, "uses its node's network or processes"),
    "a port of the node": ((*BASE, "ports"), [{"containerPort": 80, "hostPort": 80}], "takes a port of its node"),
    "a node": (("spec", "nodeName"), "control-plane", "names a node"),
    "the cluster's priority": (
        ("spec", "priorityClassName"),
        "system-node-critical",
        "a priority of the cluster's own",
    ),
}


@pytest.mark.parametrize("spec", HOSTILE)
def test_a_hostile_pod_is_refused_with_a_reason(create, spec):
    path, value, reason = HOSTILE[spec]
    said = create(changed(TASK, path, value))
    assert reason in said
    assert "ValidatingAdmissionPolicy 'airflow.airflow-task-pods'" in said


def test_a_team_has_its_own_accounts(create):
    pod = changed(changed(TASK, ("metadata", "namespace"), "research"), ("spec", "serviceAccountName"), "researcher")
    assert create(changed(pod, ("metadata", "annotations", "airflow-platform/dag-file"), "research/dag.py")) == ""


@pytest.mark.parametrize(
    "user", ["somebody", *(f"system:serviceaccount:airflow:{name}" for name in ("ci-runner", "second-scheduler"))]
)
def test_who_is_not_of_the_release_is_not_judged(create, user):
    assert create(changed(TASK, ("spec", "nodeName"), "n"), user=user) == ""
    beside_the_platform = changed(
        changed(TASK, ("metadata", "namespace"), "airflow"), ("spec", "serviceAccountName"), "default"
    )
    assert create(beside_the_platform, user=user) == ""


def test_a_pod_keeps_its_image(server, create):
    core = CoreV1Api(server.client(SCHEDULER))
    core.create_namespaced_pod(
        "support", {"apiVersion": "v1", "kind": "Pod", **changed(TASK, ("metadata", "name"), "kept")}
    )
    core.patch_namespaced_pod("kept", "support", {"metadata": {"labels": {"done": "True"}}})
    image = {"name": "base", "image": f"{REGISTRY}/ticket-extract:2.0.0"}
    with pytest.raises(ApiException, match="image of a pod that exists may not be changed"):
        core.patch_namespaced_pod("kept", "support", {"spec": {"containers": [image]}})


def test_a_pod_that_somebody_debugs_can_be_changed_as_before(server, create):
    core = CoreV1Api(server.client(SCHEDULER))
    core.create_namespaced_pod(
        "support", {"apiVersion": "v1", "kind": "Pod", **changed(TASK, ("metadata", "name"), "debugged")}
    )
    # As `kubectl debug` does it, in the name of a person.
    debugger = {"name": "debugger", "image": "docker.io/library/busybox:1"}
    CoreV1Api(server.client("somebody")).patch_namespaced_pod_ephemeralcontainers(
        "debugged", "support", {"spec": {"ephemeralContainers": [debugger]}}
    )
    core.patch_namespaced_pod("debugged", "support", {"metadata": {"labels": {"done": "True"}}})
    image = {"name": "base", "image": f"{REGISTRY}/ticket-extract:2.0.0"}
    with pytest.raises(ApiException, match="image of a pod that exists may not be changed"):
        core.patch_namespaced_pod("debugged", "support", {"spec": {"containers": [image]}})


@pytest.fixture(scope="module")
def worker(objects):
    """The worker pod as the executor makes it of the chart's template."""
    (text,) = (one["data"]["worker-pod.yaml"] for one in objects if "worker-pod.yaml" in one.get("data", {}))
    pod = yaml.safe_load(text)
    pod["metadata"]["namespace"] = "airflow"
    return pod


def test_a_worker_pod_as_the_chart_makes_it_is_taken(create, worker):
    assert create(worker) == ""


def test_a_worker_pod_as_an_upgrade_or_a_cloud_changes_it_is_taken(create, worker):
    pod = copy.deepcopy(worker)
    fetch = pod["spec"]["initContainers"][0]
    fetch["image"] = fetch["image"].rpartition(":")[0] + ":v0.0.0"
    (ref,) = (one for one in fetch["env"] if one["name"] == "GITSYNC_REF")
    ref["value"] = "before"
    pod["spec"]["volumes"].append({"name": "aws", "emptyDir": {}})
    for one in (fetch, *pod["spec"]["containers"]):
        one["env"].append({"name": "AWS_ROLE_ARN", "value": "arn"})
        one["volumeMounts"].append({"name": "aws", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount"})
    # A DAG's own init container, which looks at the DAGs.
    mount = {"name": "dags", "mountPath": "/git", "readOnly": True}
    pod["spec"]["initContainers"].append({"name": "look", "image": f"{REGISTRY}/airflow:1", "volumeMounts": [mount]})
    assert create(pod) == ""
    mount["readOnly"] = False
    assert "for git-sync-once alone" in create(pod)


def test_the_name_of_git_sync_gives_another_container_nothing(create, worker):
    base = {"name": "git-sync-once", "volumeMounts": [{"name": "git-credentials", "mountPath": "/a"}]}
    pod = changed(worker, ("spec", "initContainers"), [])
    pod["spec"]["containers"][0].update(base)
    assert "git-sync-once, which has the credentials of git, stays as the chart makes it" in create(pod)


DATABASE = {"name": "airflow-database", "key": "url"}
GIT = {"name": "git-credentials", "key": "password"}
FETCH = ("spec", "initContainers", 0)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ((*BASE, "env"), [{"name": "URL", "valueFrom": {"secretKeyRef": DATABASE}}], "no Secret but those"),
        ((*BASE, "envFrom"), [{"secretRef": {"name": "airflow-generated"}}], "no Secret but those"),
        (("spec", "volumes"), [{"name": "a", "secret": {"secretName": "airflow-generated"}}], "no Secret but those"),
        (
            ("spec", "volumes"),
            [{"name": "a", "projected": {"sources": [{"secret": {"name": "airflow-generated"}}]}}],
            "no Secret but those",
        ),
        (("spec", "serviceAccountName"), "default", "has the service account airflow-worker"),
        (("metadata", "labels"), {"app.kubernetes.io/component": "api-server"}, "keeps the labels app.kubernetes.io/"),
        ((*BASE, "image"), "docker.io/library/alpine:3", "is not of localhost:5001/airflow"),
        (
            ("spec", "volumes"),
            [{"name": "a", "image": {"reference": "docker.io/library/alpine:3"}}],
            "is not of localhost:5001/airflow",
        ),
        # Of the registry of tasks, and of no repository that is named.
        ((*BASE, "image"), f"{REGISTRY}/tools/alpine:3", "is not of localhost:5001/airflow"),
        ((*BASE, "env"), [{"name": "A", "valueFrom": {"secretKeyRef": GIT}}], "no Secret but those"),
        ((*BASE, "envFrom"), [{"secretRef": {"name": "git-credentials"}}], "no Secret but those"),
        ((*BASE, "volumeMounts"), [{"name": "git-credentials", "mountPath": "/a"}], "for git-sync-once alone"),
        ((*BASE, "volumeMounts"), [{"name": "git-tmp", "mountPath": "/a"}], "for git-sync-once alone"),
        ((*FETCH, "command"), ["sh"], "stays as the chart makes it"),
        ((*FETCH, "args"), ["--exechook-command=/a"], "stays as the chart makes it"),
        ((*FETCH, "image"), f"{REGISTRY}/airflow:1", "stays as the chart makes it"),
        ((*FETCH, "restartPolicy"), "Always", "stays as the chart makes it"),
        ((*FETCH, "env"), [{"name": "GITSYNC_EXECHOOK_COMMAND", "value": "/a"}], "stays as the chart makes it"),
        ((*FETCH, "env"), [{"name": "GITSYNC_REPO", "value": "https://example.com"}], "stays as the chart makes it"),
        ((*FETCH, "volumeMounts"), [{"name": "tmp", "mountPath": "/usr/bin"}], "stays as the chart makes it"),
        ((*FETCH, "name"), "other", "no Secret but those"),
        (CONTEXT, {"privileged": True}, "has a privileged container"),
        (("spec", "nodeName"), "control-plane", "names a node"),
    ],
)
def test_a_hostile_worker_pod_is_refused_with_a_reason(create, worker, path, value, reason):
    pod = changed(worker, path, value)
    if path == ("spec", "volumes"):  # Mounts of those that are gone would be refused for that.
        pod["spec"]["containers"] = [{**one, "volumeMounts": []} for one in pod["spec"]["containers"]]
        pod["spec"]["initContainers"] = [{**one, "volumeMounts": []} for one in pod["spec"]["initContainers"]]
    said = create(pod)
    assert reason in said
    assert "ValidatingAdmissionPolicy 'airflow.airflow-worker-pods'" in said
