"""Parts of the platform and of what it stands on: found, killed, stopped, taken away, and brought back."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime

from local.cluster import settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl
from tests.faults import nodes
from tests.faults.nodes import Container

#: Seconds for a component to be back after its kill, and for a workload after it was away.
BACK = 240
#: The static pods of a kubeadm control plane; the API server first, so that it is the first to be stopped.
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
#: etcd's own API as JSON, with the certificates that kubeadm makes for its health check.
ETCD = (
    "curl --silent --show-error --fail --max-time 20 --cacert /etc/kubernetes/pki/etcd/ca.crt "
    "--cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key "
    "--data-binary @- https://127.0.0.1:2379"
)


def pods(component: str) -> list[dict]:
    """Pods of a component of the release whose container of the same name runs."""
    selector = f"app.kubernetes.io/instance={settings.RELEASE},app.kubernetes.io/component={component}"
    found = json.loads(kubectl("get", "pods", "-n", settings.NAMESPACE, "-l", selector, "-o", "json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and _running(pod, component)]


def container(pod: dict, name: str) -> Container:
    """A running container of a pod. :raises Problem: it does not run."""
    status = _running(pod, name)
    if status is None:
        raise Problem(f"pod {pod['metadata']['name']}: its container {name} does not run", "`make status` may say why.")
    return Container(pod["spec"]["nodeName"], status["containerID"].rpartition("/")[2], name)


def _running(pod: dict, name: str) -> dict | None:
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status["name"] == name and "running" in status["state"]:
            return status
    return None


def kill(component: str, *, whole_pod: bool) -> None:
    """Kill all pods of a component at once, as a node that is lost would: its processes, or the pods by force."""
    found = wait_for(f"a running {component}", lambda: pods(component), seconds=BACK)
    for pod in found:  # type: ignore[attr-defined]
        if whole_pod:
            words = ["delete", "pod", pod["metadata"]["name"], "-n", settings.NAMESPACE]
            kubectl(*words, "--force", "--grace-period=0", "--wait=false")
        else:
            container(pod, component).kill()


def wait_alive(airflow: Airflow, component: str, since: float) -> None:
    """Wait for a heartbeat of the scheduler or the triggerer that is newer than ``since``, seconds since the epoch.

    :raises Problem: there is none in time.
    """

    def beats() -> bool:
        heartbeat = airflow.call("GET", "monitor/health")[component][f"latest_{component}_heartbeat"]
        return heartbeat is not None and seconds(heartbeat) > since

    wait_for(f"a heartbeat of the {component}", beats, seconds=BACK)


def renew() -> None:
    """New pods for those that were restarted: kubelet would hold back their next restart for what was done before."""
    selector = f"app.kubernetes.io/instance={settings.RELEASE}"
    for pod in json.loads(kubectl("get", "pods", "-n", settings.NAMESPACE, "-l", selector, "-o", "json"))["items"]:
        if any(one["restartCount"] for one in pod["status"].get("containerStatuses", [])):
            kubectl("delete", "pod", pod["metadata"]["name"], "-n", settings.NAMESPACE)


def wait_well(airflow: Airflow) -> None:
    """Wait until every workload of the release and of the stand-ins is ready and Airflow says that it is healthy.

    :raises Problem: it is not, in time.
    """
    kubectl("wait", "nodes", "--all", "--for=condition=Ready", f"--timeout={BACK}s")
    for namespace in (settings.STAND_INS, settings.NAMESPACE):
        words = ["get", "deployments,statefulsets", "-n", namespace, "-o", "name"]
        for name in kubectl(*words).split():
            kubectl("rollout", "status", name, "-n", namespace, f"--timeout={BACK}s")

    def healthy() -> bool:
        health = airflow.call("GET", "monitor/health")
        return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer"))

    wait_for("a healthy Airflow", healthy, seconds=BACK)


@contextlib.contextmanager
def scaled(namespace: str, workload: str, replicas: int) -> Iterator[None]:
    """A workload (``statefulset/s3``) with another number of pods, all of them ready; as before at the end."""
    before = json.loads(kubectl("get", workload, "-n", namespace, "-o", "json"))["spec"]["replicas"]
    try:
        _scale(namespace, workload, replicas)
        yield
    finally:
        _scale(namespace, workload, before)
        _disown_replicas(namespace, workload)


def _disown_replicas(namespace: str, workload: str) -> None:
    """What `kubectl scale` has written is its own, and Helm 4 would refuse to set another number of pods."""
    found = json.loads(kubectl("get", workload, "-n", namespace, "-o", "json", "--show-managed-fields"))
    for number, owner in enumerate(found["metadata"]["managedFields"]):
        if owner.get("subresource") == "scale":
            step = {"op": "remove", "path": f"/metadata/managedFields/{number}"}
            kubectl("patch", workload, "-n", namespace, "--type=json", "--patch", json.dumps([step]))


def _scale(namespace: str, workload: str, replicas: int) -> None:
    kubectl("scale", workload, "-n", namespace, f"--replicas={replicas}")

    def done() -> bool:
        status = json.loads(kubectl("get", workload, "-n", namespace, "-o", "json"))["status"]
        return status.get("replicas", 0) == status.get("readyReplicas", 0) == replicas

    wait_for(f"{replicas} pods of {workload}", done, seconds=BACK)


@contextlib.contextmanager
def frozen(*containers: Container, may_be_gone: bool = False) -> Iterator[None]:
    """Containers whose processes are stopped where they are; they go on at the end.

    :raises Problem: one could not be stopped, and it was not to be expected that it has gone.
    """
    with contextlib.ExitStack() as stack:
        for one in containers:
            stack.callback(_thaw, one)
            with contextlib.suppress(*([Problem] if may_be_gone else [])):
                one.freeze()
        yield


@contextlib.contextmanager
def broker_frozen() -> Iterator[None]:
    """A broker that takes connections, as the kernel does for it, and answers nothing."""
    pod = json.loads(kubectl("get", "pod", "redis-0", "-n", settings.STAND_INS, "-o", "json"))
    with frozen(container(pod, "redis")):
        yield


def _thaw(one: Container) -> None:
    # What was killed meanwhile is gone, and need not go on.
    with contextlib.suppress(Problem):
        one.thaw()


@contextlib.contextmanager
def control_plane_frozen() -> Iterator[None]:
    """No control plane; it comes back without its history: etcd compacted to its last revision, and an API server that
    has started anew, so that every watch that goes on where it was is told 410 Gone."""
    words = ["get", "pods", "-n", "kube-system", "-l", "tier=control-plane", "-o", "json"]
    found = {pod["metadata"]["labels"]["component"]: pod for pod in json.loads(kubectl(*words))["items"]}
    parts = {name: container(found[name], name) for name in CONTROL_PLANE}
    try:
        with frozen(*parts.values()):
            yield
            etcd = parts["etcd"]
            etcd.thaw()
            answer = nodes.run(etcd.node, f"{ETCD}/v3/kv/range", stdin=json.dumps({"key": "AA=="}))
            revision = json.loads(answer)["header"]["revision"]
            nodes.run(etcd.node, f"{ETCD}/v3/kv/compaction", stdin=json.dumps({"revision": revision}))
            # Where it is frozen, the signal waits for the thaw.
            parts["kube-apiserver"].kill()
    finally:
        wait_for("the API server", lambda: kubectl("get", "--raw", "/readyz", "--request-timeout=5s"), seconds=BACK)


def seconds(text: str) -> float:
    """A time of an API, in seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def now() -> float:
    """Seconds since the epoch; the nodes are containers of this machine, and have its clock."""
    return time.time()
