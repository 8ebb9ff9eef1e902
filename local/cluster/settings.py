"""Names, ports and paths of the local cluster: the one place where they stand."""

from __future__ import annotations

import os
from pathlib import Path

from local.cluster.problem import Problem

REPO = Path(__file__).resolve().parents[2]
#: What a run leaves for people and tools: kubeconfig, bin/, access.json, logs. Ignored by git, mode 700.
STATE = REPO / ".local"
#: Slow builds, outside the clone, keyed by their inputs.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-platform"

CLUSTER = os.environ.get("AIRFLOW_PLATFORM_CLUSTER", "airflow-platform")
#: One of one node, which tests of several clusters make and remove.
SECOND_CLUSTER = f"{CLUSTER}-second"
REGISTRY_CONTAINER = f"{CLUSTER}-registry"
#: Blobs that were pushed once stay here, so that a new cluster need not have them pushed again. A cache.
REGISTRY_VOLUME = "airflow-platform-registry"
#: The Docker network that kind makes its nodes in.
NETWORK = "kind"

#: The major version of the Helm that installs.
HELM = os.environ.get("AIRFLOW_PLATFORM_HELM") or "4"

RELEASE = "airflow"
NAMESPACE = "airflow"
STAND_INS = "local"
TASK_NAMESPACE = "support"
PULL_SECRET = "registry"

#: Host ports, all on 127.0.0.1: {name: (environment variable, default, NodePort or None)}.
PORTS = {
    "ui": ("AIRFLOW_PLATFORM_UI_PORT", 8080, 30080),
    "git": ("AIRFLOW_PLATFORM_GIT_PORT", 8081, 30081),
    "s3": ("AIRFLOW_PLATFORM_S3_PORT", 8082, 30900),
    "registry": ("AIRFLOW_PLATFORM_REGISTRY_PORT", 5001, None),
}


def port(name: str) -> int:
    """The host port of ``name``, one of :data:`PORTS`. :raises Problem: what its variable holds is none."""
    variable, default, _ = PORTS[name]
    given = os.environ.get(variable) or str(default)
    if not (given.isdecimal() and 0 < int(given) < 2**16):
        raise Problem(f"{variable}={given}: that is not a port", "Give a number from 1 to 65535, or unset it.")
    return int(given)


def registry() -> str:
    """The registry as the host, the nodes and the pods name it."""
    return f"localhost:{port('registry')}"


def kubeconfig() -> Path:
    """The kubeconfig of the local cluster."""
    return STATE / "kubeconfig"
