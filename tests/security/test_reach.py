"""What the pod of a task reaches, and what it holds."""

import json

import pytest
from local.cluster import images, registry, releases, settings
from local.cluster.console import wait_for

SECRETS = ("SQL_ALCHEMY_CONN", "FERNET_KEY", "JWT_SECRET", "SECRET_KEY", "BROKER", "PASSWORD", "AIRFLOW_CONN")


@pytest.fixture(scope="module")
def seen(airflow, ended):
    """What the task says of its pod."""
    instance = ended("security_probe")["look_around"]
    assert instance["state"] == "success"
    return [line.removeprefix("[base] ") for line in airflow.log(instance)]


def test_a_task_reaches_s3_and_nothing_of_the_platform(seen):
    places = dict(line.removeprefix("place ").split(": ") for line in seen if line.startswith("place "))
    closed = dict.fromkeys(("database", "broker", "git", "kubernetes", "api-server"), "not reached")
    assert places == {"s3": "reached", **closed}


def test_a_task_holds_no_secret_of_the_platform_and_no_token(seen):
    variables = [line.removeprefix("variable ") for line in seen if line.startswith("variable ")]
    assert "PATH" in variables
    assert [name for name in variables if any(secret in name for secret in SECRETS)] == []
    assert [line for line in seen if line.startswith("token ")] == []


STAND_IN_PORT = 10250  # The kubelet's, on every node.


@pytest.fixture
def scratch(kubectl):
    """A namespace of its own."""
    name = "security-metadata"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    found = json.loads(kubectl("get", "secret", settings.PULL_SECRET, "-n", settings.NAMESPACE, "-o", "json"))
    secret = {key: found[key] for key in ("apiVersion", "kind", "type", "data")}
    secret["metadata"] = {"name": settings.PULL_SECRET, "namespace": name}
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
        kubectl("apply", "-f", "-", stdin=json.dumps(secret))
        yield name
    finally:
        kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=60s")


def test_a_clouds_metadata_address_is_closed_where_anything_else_is_open(kubectl, get, scratch):
    """By a stand-in: what the chart says of that address is said of a node's, and another node's answers."""
    nodes = {one["metadata"]["labels"].get("node-pool", "none"): one for one in get("nodes")["items"]}
    excepted, other = (
        next(one["address"] for one in nodes[pool]["status"]["addresses"] if one["type"] == "InternalIP")
        for pool in ("none", "gpu")
    )
    settings_of_the_release = (
        f'networkPolicies.egress.s3={{"to": [], "ports": [{STAND_IN_PORT}]}}',
        f'tasks.namespaces=["{scratch}"]',
    )
    more = ["--show-only", "templates/tasks/networkpolicy.yaml"]
    more += [word for one in settings_of_the_release for word in ("--set-json", one)]
    rendered = releases.render(settings.NAMESPACE, more)
    assert "169.254.169.254/32" in rendered
    kubectl("apply", "-f", "-", stdin=rendered.replace("169.254.169.254/32", f"{excepted}/32"))
    probe = (settings.REPO / "tests" / "security" / "dags" / "security" / "probe.py").read_text()
    (image,) = (one for one in images.tasks() if one.name == "ticket-extract")
    places = [f"metadata={excepted}:{STAND_IN_PORT}", f"other={other}:{STAND_IN_PORT}"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": scratch},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "nodeSelector": {"node-pool": "light"},
            "imagePullSecrets": [{"name": settings.PULL_SECRET}],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "probe",
                    "image": registry.reference(image),
                    "command": ["python", "-u", "-c", probe, *places],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    ended = ("the probe", lambda: get("pod", "probe", "-n", scratch)["status"]["phase"] == "Succeeded")
    wait_for(*ended, seconds=120)
    log = kubectl("logs", "probe", "-n", scratch).splitlines()
    assert "place metadata: not reached" in log
    assert "place other: reached" in log
