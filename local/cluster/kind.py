"""The kind cluster: made, found whole, or made again."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import yaml
from local.cluster import node, settings
from local.cluster.console import Problem, run, step, wait_for

#: {worker's pool: taints}, a worker for each.
POOLS = {"light": [], "gpu": [{"key": "node-pool", "value": "gpu", "effect": "NoSchedule"}]}


def kind(*words: str, log: str = "kind", doing: str = "") -> str:
    """Run the pinned kind."""
    return run([settings.STATE / "bin" / "kind", *words], log=log, doing=doing or f"kind {words[0]}")


def kubectl(*words: str, stdin: str | None = None) -> str:
    """Run the pinned kubectl on the local cluster; its standard output.

    :raises Problem: kubectl's own words.
    """
    command = [settings.STATE / "bin" / "kubectl", "--kubeconfig", settings.kubeconfig(), *words]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Problem(f"{command[0]} is not there", "Run `make up`, which puts it there.") from None
    if done.returncode:
        raise Problem(f"kubectl {' '.join(words[:4])}: {done.stderr.strip()}", "See `make status`.")
    return done.stdout


def apply(objects: list[dict], *words: str) -> None:
    """Server-side: a CustomResourceDefinition is too large for the annotation of the other way.

    :param words: more for kubectl, such as a namespace.

    :raises Problem: kubectl's own words.
    """
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "--force-conflicts", *words, "-f", "-", stdin=listed)


def is_up() -> bool:
    """Whether the cluster is there, all its nodes are Ready and so is its network."""
    return _exists() and _write_kubeconfig() and _ready() and _network_is_ready()


def ensure() -> None:
    """A cluster that is whole.

    :raises Problem: it could not be made.
    """
    if not is_up() and not _repair():
        _make()
    # Each time: what made the cluster may have been interrupted before it came to this.
    if _nodes_are_own():
        _keep_dns_inside()
    trust_registry(nodes())


def _repair() -> bool:
    """Bring back a cluster whose nodes were stopped; one that does not come back is removed."""
    if not _exists():
        return False
    with step("Cluster: there, but not whole; starting its nodes") as current:
        if _start_again():
            return True
        current.note("they do not come back: making it again")
        remove()
    return False


def _make() -> None:
    image = node.image()
    with step("Cluster: creating it with kind") as current:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "kind.yaml")
            config.write_text(yaml.safe_dump(configuration(own_image=image is not None)))
            words = ["create", "cluster", "--name", settings.CLUSTER, "--config", str(config), "--wait", "180s"]
            words += ["--kubeconfig", str(settings.kubeconfig())]
            kind(*words, *(["--image", image] if image else []), doing="creating the cluster")
        wait_for("the nodes", _ready, seconds=120)
        current.note(f"3 nodes, {image or 'the image of kind'}")
    os.chmod(settings.kubeconfig(), 0o600)


def remove(cluster: str = settings.CLUSTER) -> None:
    """Delete a cluster, whatever state it is in: its containers and their volumes, as ``kind delete`` does."""
    if names := nodes(cluster):
        run(["docker", "rm", "--force", "--volumes", *names], log="kind", doing="removing the nodes")


def configuration(own_image: bool) -> dict:
    """kind's configuration: one control plane and a worker for each pool.

    :param own_image: the nodes run the image of :mod:`local.cluster.node`, which also boots on cgroup v1.
    """
    ports = [
        {"containerPort": node_port, "hostPort": settings.port(name), "listenAddress": "127.0.0.1"}
        for name, (_, _, node_port) in settings.PORTS.items()
        if node_port
    ]
    workers = []
    for pool, taints in POOLS.items():
        join = {"kind": "JoinConfiguration", "nodeRegistration": {"taints": taints}}
        worker = {"role": "worker", "labels": {"node-pool": pool}}
        workers.append(worker | ({"kubeadmConfigPatches": [yaml.safe_dump(join)]} if taints else {}))
    return of_nodes([{"role": "control-plane", "extraPortMappings": ports}, *workers], own_image=own_image)


def of_nodes(wanted: list[dict], own_image: bool) -> dict:
    """kind's configuration of a cluster with these nodes, which run our own image or kind's."""
    kubelet = {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", "maxPods": 250}
    if own_image:
        # Kubernetes 1.35 and newer refuse cgroup v1 unless told; containerd in the image uses cgroupfs.
        kubelet |= {"failCgroupV1": False, "cgroupDriver": "cgroupfs", "failSwapOn": False}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": wanted,
        "kubeadmConfigPatches": [yaml.safe_dump(kubelet)],
    }


def _exists() -> bool:
    return settings.CLUSTER in kind("get", "clusters").splitlines()


def _write_kubeconfig() -> bool:
    try:
        kind("export", "kubeconfig", "--name", settings.CLUSTER, "--kubeconfig", str(settings.kubeconfig()))
    except Problem:
        return False
    os.chmod(settings.kubeconfig(), 0o600)
    return True


def _ready() -> bool:
    try:
        items = json.loads(kubectl("get", "nodes", "-o", "json", "--request-timeout=5s"))["items"]
    except Problem:
        return False
    # A benchmark that was killed leaves a node which is none of kind's, and never Ready.
    ready = [
        condition["status"] == "True"
        for found in items
        if found["metadata"]["name"].startswith(f"{settings.CLUSTER}-")
        for condition in found["status"].get("conditions", [])
        if condition["type"] == "Ready"
    ]
    return len(ready) == len(POOLS) + 1 and all(ready)


def nodes(cluster: str = settings.CLUSTER) -> list[str]:
    """Names of a cluster's containers, one a node, running or not."""
    words = [
        "docker",
        "ps",
        "-a",
        "--format",
        "{{.Names}}",
        "--filter",
        f"label=io.x-k8s.kind.cluster={cluster}",
    ]
    return sorted(subprocess.check_output(words, text=True).split())


def _nodes_are_own() -> bool:
    """Whether the nodes run the image of :mod:`local.cluster.node`, not kind's."""
    words = ["docker", "inspect", "-f", "{{.Config.Image}}", *nodes()]
    return node.REPOSITORY in subprocess.check_output(words, text=True)


def _start_again() -> bool:
    """Start the nodes' containers; False where the cluster cannot come back and has to be made again.

    :raises Problem: it came back, but is not well: to make it again would lose its data without being asked.
    """
    names = nodes()
    if len(names) != len(POOLS) + 1:
        return False
    done = subprocess.run(["docker", "start", *names], capture_output=True, check=False)
    if done.returncode or not _write_kubeconfig():
        return False
    try:
        wait_for("the API server", lambda: kubectl("get", "--raw", "/readyz", "--request-timeout=5s"), seconds=120)
    except Problem:
        return False
    try:
        wait_for("the nodes", _ready, seconds=180)
        if _nodes_are_own():
            # kube-router keeps to the addresses that nodes had when it started.
            kubectl("delete", "pods", "-n", "kube-system", "-l", "k8s-app=kube-router", "--wait=true")
        wait_for("the pod network", _network_is_ready, seconds=120)
    except Problem as problem:
        raise Problem(
            f"the cluster is there, but not well: {problem}",
            "`make status` says more. `make down` removes it with its data, `make up` then makes a new one.",
        ) from None
    return True


def _network_is_ready() -> bool:
    """Whether all of ``kube-system`` is Ready and runs since its node does.

    What the API server knows of a node whose machine has just started is from before that, and says Ready.
    """
    words = ["docker", "inspect", "-f", "{{.Name}} {{.State.StartedAt}}", *nodes()]
    lines = subprocess.check_output(words, text=True).splitlines()
    # Kubernetes gives whole seconds.
    started = {name.removeprefix("/"): when[:19] for name, when in map(str.split, lines)}
    try:
        pods = json.loads(kubectl("get", "pods", "-n", "kube-system", "-o", "json", "--request-timeout=5s"))["items"]
    except Problem:
        return False
    return all(
        container["ready"] and _since(container) >= started[pod["spec"]["nodeName"]]
        for pod in pods
        for container in pod["status"].get("containerStatuses", [])
    )


def _since(container: dict) -> str:
    return container["state"].get("running", {}).get("startedAt", "")[:19]


def _keep_dns_inside() -> None:
    """Take the upstream resolver out of CoreDNS: a pod cannot reach Docker's, and without one CoreDNS crash-loops."""
    found = json.loads(kubectl("get", "configmap", "coredns", "-n", "kube-system", "-o", "json"))
    corefile = _without_upstream(found["data"]["Corefile"])
    if corefile == found["data"]["Corefile"]:
        return
    found["data"]["Corefile"] = corefile
    found["metadata"] = {"name": "coredns", "namespace": "kube-system"}
    kubectl("replace", "-f", "-", stdin=json.dumps(found))
    kubectl("rollout", "restart", "deployment/coredns", "-n", "kube-system")


def _without_upstream(corefile: str) -> str:
    """``corefile`` without ``forward``, on one line or with a block, and without ``loop``, which looks for one."""
    kept, skipping = [], False
    for line in corefile.splitlines():
        word = line.strip().partition(" ")[0]
        skipping = skipping or word == "forward"
        if not skipping and word != "loop":
            kept.append(line)
        if skipping and (line.strip() == "}" or (not line.rstrip().endswith("{") and word == "forward")):
            skipping = False
    return "\n".join(kept) + "\n"


def trust_registry(names: list[str]) -> None:
    """Tell each node's containerd where the registry is that pods name by its host port."""
    hosts = f'[host."http://{settings.REGISTRY_CONTAINER}:5000"]\n'
    folder = f"/etc/containerd/certs.d/{settings.registry()}"
    for name in names:
        script = f"mkdir -p {folder} && cat > {folder}/hosts.toml"
        words = ["docker", "exec", "-i", name, "sh", "-c", script]
        subprocess.run(words, input=hosts, text=True, check=True, capture_output=True)
