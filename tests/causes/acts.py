"""What is done to a pod while its task is under way, where a fault does not come by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from kubernetes.client import ApiException, CoreV1Api, V1Eviction, V1ObjectMeta
from local.cluster import settings
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl
from tests.causes import fillers, objects, outages
from tests.faults import nodes
from tests.observe.pods import Pod

#: Seconds for a pod to run, with many others and after them, and for one to go.
RUNS, GOES = 2400, 120
#: Seconds for which what a task waits for stays away, at most.
STAYS = 60
#: Seconds for which a node stands still once its pod is being deleted: longer than a pod takes to be there.
HOLDS = 15
#: Seconds for which a second pod works.
SHORT = 5


class _Over(Exception):
    """What was to be provoked cannot be any more."""


class Subject(Protocol):
    """A task under way, as an act sees it."""

    core: CoreV1Api
    over: bool
    refusal: dict | None
    asked_for: dict | None

    def pod(self) -> Pod | None:
        """Its newest pod."""

    def told(self) -> bool:
        """Whether its log has named the fault, or the task is over."""

    def shown(self) -> float | None:
        """When Kubernetes has shown the fault."""


Act = Callable[[Subject], None]


def kill(subject: Subject) -> None:
    """SIGKILL for the container's first process, from its node."""
    pod = _running(subject)
    container = pod.container()["containerID"].rpartition("/")[2]
    nodes.Container(pod.manifest["spec"]["nodeName"], container, "base").kill()


def evict(subject: Subject) -> None:
    """As a drain does."""
    pod = _running(subject)
    eviction = V1Eviction(metadata=V1ObjectMeta(name=pod.name, namespace=settings.TASK_NAMESPACE))
    subject.core.create_namespaced_pod_eviction(pod.name, settings.TASK_NAMESPACE, eviction)


def delete(subject: Subject) -> None:
    """As a person does."""
    kubectl("delete", "pod", _running(subject).name, "-n", settings.TASK_NAMESPACE, "--wait=false")


def delete_by_force(subject: Subject) -> None:
    """As a person does who does not wait for its end."""
    words = ["delete", "pod", _running(subject).name, "-n", settings.TASK_NAMESPACE, "--force", "--grace-period=0"]
    kubectl(*words, "--wait=false")


def preempt(subject: Subject) -> None:
    """A pod of higher priority that has room only where this one is; it goes again."""
    pod = _running(subject)
    node = pod.manifest["spec"]["nodeName"]
    with fillers.room_taken(subject.core, node, "causes-higher", but=50, without=[pod.uid]):
        wait_for("the pod to be displaced", lambda: pod.deleted, seconds=GOES, every=0.2)


def make_room(subject: Subject) -> None:
    """What takes the node's room goes, once the log has said that the task waits for it."""
    _until_told(subject)
    _delete(fillers.ROOM)


def free_quota(subject: Subject) -> None:
    """What fills the quota goes, once the log has said that the task waits for it."""
    _until_told(subject)
    _ask(subject, fillers.pod("task-00000000", cpu="5m", priority="causes-full"))
    _delete(fillers.QUOTA)


def open_gate(subject: Subject) -> None:
    """Whoever holds the pod back lets it go, once the log has said that it is held."""
    _until_told(subject)
    gates = json.dumps({"spec": {"schedulingGates": None}})
    kubectl("patch", "pod", subject.pod().name, "-n", settings.TASK_NAMESPACE, "--type=merge", "-p", gates)


def remove_webhook(subject: Subject) -> None:
    """What must allow the pod, and does not answer, goes, once the log has said that it is waited for."""
    pod = fillers.pod("task-00000000", cpu="5m")
    pod["metadata"]["labels"] = {"causes": "webhook"}
    _ask(subject, pod)
    wait_for("the task's beginning", subject.shown, seconds=RUNS, every=0.2)
    with suppress(Problem):
        wait_for("a line that names it", subject.told, seconds=STAYS, every=0.5)
    kubectl("delete", "validatingwebhookconfiguration", objects.WEBHOOK, "--ignore-not-found")


def close_node(subject: Subject) -> None:
    """A person closes its node to pods like it."""
    pod = _first_pod(subject)
    with outages.closed(_node(pod)):
        _gone(pod)


def press_node(subject: Subject) -> None:
    """Its node is short of memory until it has stopped the pod."""
    pod = _first_pod(subject)
    with outages.short_of_memory(_node(pod)):
        wait_for("the pod's eviction", lambda: pod.phase == "Failed" or pod.deleted, seconds=GOES, every=0.2)


def pause_node(subject: Subject) -> None:
    """Its node stands still until Kubernetes has given it up, and the log has said so; then it goes on."""
    pod = _first_pod(subject)
    with outages.paused(_node(pod)):
        _until_told(subject)
        wait_for("the pod's deletion", lambda: _is_being_deleted(pod), seconds=GOES, every=0.2)
        # Were there to be a second pod, it would be there by then.
        time.sleep(HOLDS)


def remove_node(subject: Subject) -> None:
    """Its node is away for good, and somebody has removed it from the cluster."""
    pod = _first_pod(subject)
    with outages.removed(_node(pod), pod.container()["containerID"].rpartition("/")[2]):
        _gone(pod)


def _first_pod(subject: Subject) -> Pod:
    """The running pod of a task that has a second one, which is to end soon."""
    pod = _running(subject)
    kubectl(
        "patch", "configmap", objects.TURNS, "-n", settings.TASK_NAMESPACE, "--type=merge",
        "-p", json.dumps({"data": {pod.labels["task_id"]: str(SHORT)}}),
    )  # fmt: skip
    return pod


def _node(pod: Pod) -> str:
    return pod.manifest["spec"]["nodeName"]


def _gone(pod: Pod) -> None:
    wait_for("the end of the pod", lambda: pod.deleted, seconds=GOES, every=0.2)


def _is_being_deleted(pod: Pod) -> bool:
    return bool(pod.manifest["metadata"].get("deletionTimestamp"))


def _ask(subject: Subject, pod: dict) -> None:
    """Ask for such a pod: whoever asks is told what the launcher was told."""
    subject.asked_for = pod
    try:
        subject.core.create_namespaced_pod(settings.TASK_NAMESPACE, pod, dry_run="All")
    except ApiException as error:
        answer = json.loads(error.body)
        subject.refusal = {"status": error.status, "reason": answer["reason"], "message": answer["message"]}


def _running(subject: Subject) -> Pod:
    """Wait for its first container to run; the pod. :raises Problem: the task has ended without."""

    def found() -> Pod | None:
        pod = subject.pod()
        runs = pod is not None and "running" in pod.container().get("state", {})
        if not runs and subject.over:
            raise _Over("the task has ended, and its pod was not seen to run")
        return pod if runs else None

    return wait_for("a running pod", found, seconds=RUNS, every=0.2)


def _until_told(subject: Subject) -> None:
    wait_for("the fault", subject.shown, seconds=RUNS, every=0.2)
    # It may never be told: then it was away for long enough.
    with suppress(Problem):
        wait_for("a line that names it", subject.told, seconds=STAYS, every=0.5)


def _delete(name: str) -> None:
    words = ["delete", "pod", name, "-n", settings.TASK_NAMESPACE, "--ignore-not-found", "--now", "--wait=false"]
    kubectl(*words)
