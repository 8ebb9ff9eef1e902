"""What is done to a whole node, and undone: it is closed, short of memory, stands still, or is gone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import yaml
from local.cluster import kind
from local.cluster.console import Problem, run, wait_for
from local.cluster.kind import kubectl
from tests.faults import nodes

#: Seconds for a node to be as it was.
BACK = 180
CLOSED = "causes.example/closed"
CONFIG = "/var/lib/kubelet/config.yaml"
#: The same, as it was before this test changed it.
BEFORE = f"{CONFIG}.causes"


@contextmanager
def closed(node: str) -> Iterator[None]:
    """Closed to all pods that do not tolerate it, and to those that it has."""
    try:
        kubectl("taint", "node", node, f"{CLOSED}=:NoExecute", "--overwrite")
        yield
    finally:
        mend(node)


@contextmanager
def short_of_memory(node: str) -> Iterator[None]:
    """Kubelet is told that it has too little: it stops pods, one every ten seconds, those that use most first."""
    try:
        config = yaml.safe_load(nodes.run(node, f"cat {CONFIG}")) | _never_enough(node)
        nodes.run(node, f"cp {CONFIG} {BEFORE} && cat > {CONFIG}", stdin=yaml.safe_dump(config))
        nodes.run(node, "systemctl restart kubelet")
        yield
    finally:
        mend(node)


def _never_enough(node: str) -> dict:
    """A threshold that each node is below: all that it has. A soft one, which leaves alone what pods may ask for."""
    capacity = json.loads(kubectl("get", "node", node, "-o", "json"))["status"]["capacity"]["memory"]
    return {
        "evictionSoft": {"memory.available": capacity},
        "evictionSoftGracePeriod": {"memory.available": "1s"},
        "evictionMaxPodGracePeriod": 5,
    }


@contextmanager
def paused(node: str) -> Iterator[None]:
    """All its processes stand still, kubelet's and the pods'."""
    try:
        # With cgroup v1, runc gives up on processes that are busy starting others.
        wait_for(f"node {node} to stand still", lambda: _pause(node), seconds=BACK)
        yield
    finally:
        mend(node)


def _pause(node: str) -> bool:
    run(["docker", "pause", node], log="causes", doing="pausing the node")
    return True


@contextmanager
def removed(node: str, container: str) -> Iterator[None]:
    """Kubelet is stopped and a container with it, as when the machine is gone; and the node's object is deleted."""
    was = json.loads(kubectl("get", "node", node, "-o", "json"))
    try:
        nodes.run(node, "systemctl stop kubelet")
        nodes.run(node, f"{nodes.CTR} kill --signal SIGKILL {container}")
        kubectl("delete", "node", node, "--wait=false")
        yield
    finally:
        wait_for(f"the object of node {node}", lambda: _make_again(was), seconds=BACK)
        mend(node)


def _make_again(was: dict) -> bool:
    """Kubelet would do it, but the node would be given other addresses for its pods than its network has."""
    metadata = {key: was["metadata"].get(key) for key in ("name", "labels", "annotations")}
    spec = {key: was["spec"][key] for key in ("podCIDR", "podCIDRs", "providerID", "taints") if key in was["spec"]}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(node))
    return True


def mend_all() -> None:
    """Undo what an interrupted run has left. :raises Problem: a node is not Ready in time."""
    for node in kind.nodes():
        mend(node)


def mend(node: str) -> None:
    """Undo all that is done here, whether it was or not. :raises Problem: the node is not Ready in time."""
    subprocess.run(["docker", "unpause", node], check=False, capture_output=True)
    script = f"if [ -e {BEFORE} ]; then mv {BEFORE} {CONFIG}; systemctl restart kubelet; fi; systemctl start kubelet"
    wait_for(f"node {node}", lambda: nodes.run(node, script) == "", seconds=BACK)
    wait_for(f"node {node} to be Ready", lambda: _is_ready(node), seconds=BACK)
    with suppress(Problem):  # it has none
        kubectl("taint", "node", node, f"{CLOSED}-")
    wait_for(f"node {node} to take pods", lambda: _takes_pods(node), seconds=BACK)
    wait_for(f"the network of node {node}", lambda: _network_is_ready(node), seconds=BACK)


def _is_ready(node: str) -> bool:
    conditions = json.loads(kubectl("get", "node", node, "-o", "json"))["status"].get("conditions") or []
    return {one["type"]: one["status"] for one in conditions}.get("Ready") == "True"


def _takes_pods(node: str) -> bool:
    """Whether Kubernetes has taken its own taints away."""
    taints = json.loads(kubectl("get", "node", node, "-o", "json"))["spec"].get("taints") or []
    return not any(
        one["key"].startswith("node.kubernetes.io/") and one["effect"] != "PreferNoSchedule" for one in taints
    )


def _network_is_ready(node: str) -> bool:
    """Whether what each node runs for the cluster's network runs there."""
    words = ["-n", "kube-system", f"--field-selector=spec.nodeName={node}", "-o", "json"]
    pods = json.loads(kubectl("get", "pods", *words))["items"]
    ready = [{one["type"]: one["status"] for one in pod["status"].get("conditions", [])}.get("Ready") for pod in pods]
    return bool(ready) and set(ready) == {"True"}
