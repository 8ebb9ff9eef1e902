"""What the cluster promises: nodes, pod security, network policy, volumes, a private registry, kept secrets."""

import json
import subprocess

import pytest
import requests
from local.cluster import access, postgres, registry, releases, settings
from local.cluster.console import Problem, wait_for


def test_a_node_for_each_pool_the_second_tainted(get):
    nodes = {node["metadata"]["labels"].get("node-pool"): node for node in get("nodes")["items"]}
    assert {"light", "gpu"} <= set(nodes)
    taints = [taint for taint in nodes["gpu"]["spec"].get("taints", []) if taint["key"] == "node-pool"]
    assert taints == [{"key": "node-pool", "value": "gpu", "effect": "NoSchedule"}]


@pytest.mark.parametrize("namespace", ["airflow", "local", "support"])
def test_a_pod_that_is_not_restricted_is_refused(kubectl, namespace):
    pod = _pod("privileged", namespace, ["true"])
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(Problem, match='violates PodSecurity "restricted'):
        kubectl("create", "-f", "-", stdin=json.dumps(pod))


@pytest.mark.parametrize(("port", "phase"), [(9000, "Succeeded"), (5432, "Failed")])
def test_a_pod_of_a_task_reaches_s3_and_not_the_database(kubectl, get, port, phase):
    """What the chart's NetworkPolicies say of its namespace holds."""
    host = {9000: "s3.local.svc", 5432: "postgres.local.svc"}[port]
    # A policy comes into force on a new pod within seconds, not before its first packet.
    ask = f"socket.create_connection(('{host}', {port}), 3).close(); time.sleep(0.5)"
    command = ["python", "-c", f"import socket, time\nfor _ in range(20): {ask}\nprint('reached')"]
    ended, log = _run(kubectl, get, "network", command)
    assert ended == phase
    assert "reached" in log if phase == "Succeeded" else "timed out" in log or "refused" in log


def test_the_default_storage_class_provisions(get):
    (default,) = [
        one["metadata"]["name"]
        for one in get("storageclasses")["items"]
        if one["metadata"]["annotations"].get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    claims = get("pvc", "-n", "local")["items"]
    assert claims
    assert {claim["status"]["phase"] for claim in claims} == {"Bound"}
    assert {claim["spec"]["storageClassName"] for claim in claims} == {default}


def test_the_registry_is_private():
    assert requests.get(f"http://{settings.registry()}/v2/", timeout=5).status_code == 401


def test_no_one_gets_in_without_the_password(found):
    credentials = {"username": found["user"], "password": "admin"}
    assert requests.post(f"{found['ui']}/auth/token", json=credentials, timeout=30).status_code == 401
    assert requests.get(f"{found['ui']}/api/v2/dags", timeout=30).status_code == 401


def test_access_json_is_for_its_owner_alone(found):
    assert access.FILE.stat().st_mode & 0o777 == 0o600
    assert settings.kubeconfig().stat().st_mode & 0o777 == 0o600
    assert set(found) >= {"ui", "user", "password", "git", "s3"}
    assert set(found["s3"]) >= {"endpoint", "bucket", "key", "secret"}


def test_an_upgrade_with_the_same_values_changes_no_secret_and_restarts_nothing(get):
    before = _pods_and_secrets(get, "airflow")
    releases.install_platform()
    assert _pods_and_secrets(get, "airflow") == before


def _pods_and_secrets(get, namespace):
    pods = {pod["metadata"]["uid"] for pod in get("pods", "-n", namespace, "-l", "app.kubernetes.io/instance")["items"]}
    secrets = {one["metadata"]["name"]: one.get("data") for one in get("secrets", "-n", namespace)["items"]}
    return pods, {name: data for name, data in secrets.items() if not name.startswith("sh.helm.")}


def test_a_release_without_helm(kubectl, get):
    """``helm template | kubectl apply``, as GitOps tools do, twice: it comes up, and its generated secrets stay."""
    name, tasks = "e2e-apply", "e2e-apply-tasks"
    secrets = [_copy(get, "airflow", one, name) for one in ("registry", "airflow-s3", "git-credentials")]
    database = {"metadata": {"name": "airflow-database", "namespace": name}, "apiVersion": "v1", "kind": "Secret"}
    url, authority = (releases.secret("airflow", "airflow-database", key) for key in ("url", "ca.crt"))
    database["stringData"] = {"url": f"{url}_apply", "ca.crt": authority}
    # Of tests that were killed.
    postgres.query("DROP DATABASE IF EXISTS airflow_apply WITH (FORCE)")
    try:
        postgres.query("CREATE DATABASE airflow_apply OWNER airflow")
        for one in (_namespace(name), _namespace(tasks), *secrets, database):
            kubectl("apply", "-f", "-", stdin=json.dumps(one))
        more = ["--set", "apiServer.service.type=ClusterIP,apiServer.service.nodePort=null"]
        rendered = releases.render(name, [*more, "--set", f"tasks.namespaces={{{tasks}}}"])
        kubectl("apply", "-f", "-", stdin=rendered)
        kubectl("wait", "deployments", "--all", "-n", name, "--for=condition=Available", "--timeout=240s")
        before = _pods_and_secrets(get, name)
        assert "airflow-generated" in before[1]
        kubectl("apply", "-f", "-", stdin=rendered)
        assert _pods_and_secrets(get, name) == before
    finally:
        kubectl("delete", "namespace", name, tasks, "--ignore-not-found", "--timeout=120s")
        of_no_namespace = "clusterroles,clusterrolebindings,priorityclasses"
        for one in get(of_no_namespace, "-l", "app.kubernetes.io/name=airflow-platform")["items"]:
            if one["metadata"]["name"].startswith(name):
                kubectl("delete", one["kind"], one["metadata"]["name"])
        postgres.query("DROP DATABASE IF EXISTS airflow_apply WITH (FORCE)")


def _namespace(name):
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _copy(get, namespace, name, to):
    found = get("secret", name, "-n", namespace)
    return {key: found[key] for key in ("apiVersion", "kind", "type", "data")} | {
        "metadata": {"name": name, "namespace": to}
    }


def test_components_may_do_no_more_than_they_need(kubectl):
    def may(account, verb, what, namespace="airflow"):
        resource, _, subresource = what.partition("/")
        command = [settings.STATE / "bin" / "kubectl", "--kubeconfig", settings.kubeconfig(), "auth", "can-i"]
        command += [verb, resource, f"--subresource={subresource}"]
        command += ["--as", f"system:serviceaccount:{account}", "-n", namespace]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"

    assert may("airflow:airflow-scheduler", "create", "pods")
    assert may("airflow:airflow-worker", "create", "pods", namespace="support")
    assert not may("airflow:airflow-worker", "create", "pods")
    assert not may("airflow:airflow-worker", "get", "secrets", namespace="support")
    assert not may("airflow:airflow-scheduler", "get", "secrets")
    assert not may("airflow:airflow-triggerer", "create", "pods", namespace="support")
    assert not may("airflow:airflow-api-server", "delete", "pods")
    assert not may("support:airflow-task", "get", "pods", namespace="support")
    for account in ("scheduler", "worker", "triggerer", "api-server", "dag-processor"):
        assert not may(f"airflow:airflow-{account}", "create", "pods/exec", namespace="support")
        # Two may see what takes room on the nodes, where the values say so (readPods), and do nothing there.
        sees = account in ("triggerer", "api-server")
        assert may(f"airflow:airflow-{account}", "list", "pods", namespace="kube-system") == sees
        for verb, what in (("get", "pods/log"), ("watch", "pods"), ("delete", "pods"), ("patch", "pods")):
            assert not may(f"airflow:airflow-{account}", verb, what, namespace="kube-system")


def _pod(name, namespace, command):
    from local.cluster import images

    task = next(image for image in images.tasks() if image.name == "ticket-extract")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"e2e-{name}", "namespace": namespace, "labels": {"e2e": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "nodeSelector": {"node-pool": "light"},
            "imagePullSecrets": [{"name": settings.PULL_SECRET}],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "base",
                    "image": registry.reference(task),
                    "command": command,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def _run(kubectl, get, name, command):
    """The phase and the log of a pod that ran to its end."""
    kubectl("create", "-f", "-", stdin=json.dumps(_pod(name, "support", command)))
    try:

        def phase():
            found = get("pod", f"e2e-{name}", "-n", "support")["status"]["phase"]
            return found if found in ("Succeeded", "Failed") else None

        return wait_for(f"pod e2e-{name}", phase, seconds=90), kubectl("logs", "-n", "support", f"e2e-{name}")
    finally:
        kubectl("delete", "pod", f"e2e-{name}", "-n", "support", "--now")
