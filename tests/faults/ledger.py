"""The ledger as the test sees it: a pod that no fault touches, reached from its own node."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from local.cluster import settings
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl
from tests.faults import ledger_server, nodes

NAME = "faults-ledger"
NAMESPACE = settings.TASK_NAMESPACE
IMAGE = "ticket-extract"


@dataclass(frozen=True)
class Entry:
    """``event`` of a task's process: start, end or terminated; ``time`` in seconds since the epoch."""

    run_id: str
    map_index: int
    try_number: int
    pod_uid: str
    process: str
    event: str
    lines: int
    time: float


@dataclass(frozen=True)
class Ledger:
    """The ledger's pod."""

    node: str
    address: str

    @property
    def url(self) -> str:
        """Where tasks reach it: by address, so that it needs neither DNS nor a Service."""
        return f"http://{self.address}:{ledger_server.PORT}"

    def entries(self, *run_ids: str) -> list[Entry]:
        """All entries of these runs, in the order in which they came. :raises Problem: it does not answer."""
        found = [Entry(**one) for one in json.loads(self._ask("/entries"))]
        return [one for one in found if one.run_id in run_ids]

    def open(self, gate: str, below: int) -> None:
        """Let the tasks of a gate that have a smaller number end."""
        self._ask(f"/gates/{gate}", below)

    def _ask(self, path: str, body: object = None) -> str:
        data = "" if body is None else "--data-binary @-"
        script = f"curl --silent --show-error --fail --max-time 30 {data} {self.url}{path}"
        return nodes.run(self.node, script, stdin=json.dumps(body))


@contextlib.contextmanager
def running() -> Iterator[Ledger]:
    """A new ledger; its pod goes at the end."""
    remove()
    everything = {"apiVersion": "v1", "kind": "List", "items": [_pod(), *_policies()]}
    kubectl("create", "-f", "-", stdin=json.dumps(everything))
    try:
        yield wait_for("the ledger's pod", _ready, seconds=120)  # type: ignore[misc]
    finally:
        remove()


def remove() -> None:
    """Delete the ledger's pod where there is one."""
    kubectl("delete", "pod", NAME, "-n", NAMESPACE, "--ignore-not-found", "--now")
    kubectl("delete", "networkpolicy", NAME, f"{NAME}-tasks", "-n", NAMESPACE, "--ignore-not-found")


def _ready() -> Ledger | None:
    pod = json.loads(kubectl("get", "pod", NAME, "-n", NAMESPACE, "-o", "json"))
    if pod["status"]["phase"] == "Failed":
        raise Problem("the ledger's pod failed", f"kubectl -n {NAMESPACE} logs {NAME}")
    ready = [one["status"] for one in pod["status"].get("conditions", []) if one["type"] == "Ready"]
    return Ledger(pod["spec"]["nodeName"], pod["status"]["podIP"]) if ready == ["True"] else None


def _policies() -> list[dict]:
    """The pods of tasks may write into the ledger."""
    ledger = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": NAME}}}
    ports = [{"protocol": "TCP", "port": ledger_server.PORT}]
    specs = {
        NAME: {**ledger, "policyTypes": ["Ingress"], "ingress": [{"ports": ports}]},
        f"{NAME}-tasks": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [ledger], "ports": ports}]},
    }
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        for name, spec in specs.items()
    ]


def _pod() -> dict:
    versions = yaml.safe_load((settings.REPO / "dags" / "images.yaml").read_text())
    server = Path(ledger_server.__file__).read_text()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": NAME}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": {"node-pool": "light"},
            "imagePullSecrets": [{"name": settings.PULL_SECRET}],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "ledger",
                    "image": f"{settings.registry()}/{IMAGE}:{versions[IMAGE]}",
                    "command": ["python", "-c", server],
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                    "readinessProbe": {"tcpSocket": {"port": ledger_server.PORT}, "periodSeconds": 1},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }
