"""Pods that take what a task wants: the room on a node, or a quota."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from kubernetes.client import CoreV1Api
from kubernetes.utils import parse_quantity
from local.cluster import images, registry, settings
from local.cluster.console import wait_for
from local.cluster.kind import kubectl

#: Names of the pods.
ROOM, QUOTA, HIGHER = "causes-room", "causes-quota", "causes-higher"


def image() -> str:
    """An image that has a shell and Python, as a pod of the cluster names it."""
    (one,) = (one for one in images.tasks() if one.name == "ticket-extract")
    return registry.reference(one)


def pod(name: str, *, cpu: str, priority: str = "", selector: dict[str, str] | None = None) -> dict:
    """A pod that only waits, on whatever node has these labels."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": settings.TASK_NAMESPACE},
        "spec": {
            **({"priorityClassName": priority} if priority else {}),
            "nodeSelector": selector or {},
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": settings.PULL_SECRET}],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image(),
                    "command": ["sleep", "1800"],
                    "resources": {"requests": {"cpu": cpu}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


@contextmanager
def running(*pods: dict) -> Iterator[None]:
    """Around what needs these pods: they run, and are gone at the end."""
    names = [one["metadata"]["name"] for one in pods]
    everything = {"apiVersion": "v1", "kind": "List", "items": list(pods)}
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps(everything))
        for name in names:
            wait_for(f"pod {name}", lambda name=name: _phase(name) == "Running", seconds=120, every=0.3)
        yield
    finally:
        kubectl("delete", "pod", *names, "-n", settings.TASK_NAMESPACE, "--ignore-not-found", "--now")


@contextmanager
def room_taken(core: CoreV1Api, node: str, priority: str, *, but: int, without: Collection[str] = ()) -> Iterator[None]:
    """Around what needs a node with no room left.

    :param but: thousandths of a processor that are left.
    :param without: the ``uid``s of pods whose room is taken, too.
    """
    cpu = f"{free(core, node, without) - but}m"
    name = HIGHER if without else ROOM
    with running(pod(name, cpu=cpu, priority=priority, selector={"kubernetes.io/hostname": node})):
        yield


def free(core: CoreV1Api, node: str, without: Collection[str] = ()) -> int:
    """Thousandths of a processor that a node's pods have not asked for."""
    allocatable = _thousandths(core.read_node(node).status.allocatable["cpu"])
    return allocatable - sum(
        _thousandths(((one.resources and one.resources.requests) or {}).get("cpu", "0"))
        for other in core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={node}").items
        if other.metadata.uid not in without and other.status.phase in ("Pending", "Running")
        for one in other.spec.containers
    )


def _thousandths(quantity: str) -> int:
    return int(parse_quantity(quantity) * 1000)


def _phase(name: str) -> str:
    return kubectl("get", "pod", name, "-n", settings.TASK_NAMESPACE, "-o", "jsonpath={.status.phase}")
