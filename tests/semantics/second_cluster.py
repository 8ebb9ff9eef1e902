"""A second cluster, of one node, with what tasks of the first one need there: a namespace and an account."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes import config
from kubernetes.client import ApiClient
from local.cluster import kind, node, registry, settings
from local.cluster.console import run, wait_for

#: The context of `SecondCluster.kubeconfig` that names this cluster; the other one leads nowhere.
CONTEXT, NOWHERE = "second", "nowhere"
#: What docs/launcher.md says an account needs for another cluster's pods.
RIGHTS = [
    {
        "apiGroups": [""],
        "resources": ["pods"],
        "verbs": ["create", "delete", "get", "list", "patch", "watch"],
    },
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list"]},
]
ACCOUNT = {"name": "airflow", "namespace": settings.TASK_NAMESPACE}
#: A ConfigMap that only this cluster has: a pod that reads it runs here.
PLACE = {"PLACE": "the second cluster"}


@dataclass(frozen=True)
class SecondCluster:
    """``client`` is an administrator's, on the host; ``kubeconfig`` the account's, in a pod of the first cluster."""

    client: ApiClient
    kubeconfig: dict


@contextmanager
def running() -> Iterator[SecondCluster]:
    """Make the cluster, and remove it at the end.

    :raises Problem: it could not be made.
    """
    name = settings.SECOND_CLUSTER
    kind.remove(name)  # of an earlier session that was interrupted
    image = node.image()
    with tempfile.TemporaryDirectory() as folder:
        admin, wanted = Path(folder, "kubeconfig"), Path(folder, "kind.yaml")
        wanted.write_text(yaml.safe_dump(kind.of_nodes([{"role": "control-plane"}], own_image=image is not None)))
        try:
            words = ["create", "cluster", "--name", name, "--config", str(wanted), "--kubeconfig", str(admin)]
            kind.kind(*words, "--wait", "180s", *(["--image", image] if image else []), doing="a second cluster")
            kind.trust_registry(kind.nodes(name))
            _prepare(admin)
            yield SecondCluster(config.new_client_from_config(str(admin)), _kubeconfig(admin, name))
        finally:
            kind.remove(name)


def _prepare(admin: Path) -> None:
    meta = {"namespace": settings.TASK_NAMESPACE}
    pull = {".dockerconfigjson": registry.docker_config()}
    subject = {"kind": "ServiceAccount", **ACCOUNT}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT["name"]}
    rbac = "rbac.authorization.k8s.io/v1"
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.TASK_NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": ACCOUNT},
        {"apiVersion": rbac, "kind": "Role", "metadata": ACCOUNT, "rules": RIGHTS},
        {"apiVersion": rbac, "kind": "RoleBinding", "metadata": ACCOUNT, "roleRef": role, "subjects": [subject]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta | {"name": "semantics-place"}, "data": PLACE},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": meta | {"name": settings.PULL_SECRET},
            "stringData": pull,
        },
    ]
    _kubectl(admin, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    # A controller makes it: until then no pod can be created.
    def account() -> str:
        return _kubectl(admin, "get", "serviceaccount", "default", "-n", settings.TASK_NAMESPACE, "--ignore-not-found")

    wait_for("the default service account", account, seconds=60, every=0.5)


def _kubeconfig(admin: Path, name: str) -> dict:
    (cluster,) = yaml.safe_load(admin.read_text())["clusters"]
    authority = cluster["cluster"]["certificate-authority-data"]
    words = ["docker", "inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{settings.NETWORK}").IPAddress}}}}']
    address = run([*words, *kind.nodes(name)], log="kind").strip()
    token = _kubectl(admin, "create", "token", ACCOUNT["name"], "-n", ACCOUNT["namespace"], "--duration=12h").strip()

    def entry(name: str, server: str) -> dict:
        return {"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [entry(CONTEXT, f"https://{address}:6443"), entry(NOWHERE, "https://127.0.0.1:1")],
        "users": [{"name": "airflow", "user": {"token": token}}],
        "contexts": [{"name": one, "context": {"cluster": one, "user": "airflow"}} for one in (CONTEXT, NOWHERE)],
        "current-context": CONTEXT,
    }


def _kubectl(admin: Path, *words: str, stdin: str | None = None) -> str:
    command = [settings.STATE / "bin" / "kubectl", "--kubeconfig", admin, *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout
