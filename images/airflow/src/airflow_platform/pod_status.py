"""What a pod's status says: plain functions of the pod as the Kubernetes API gives it (a dict)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

#: The scheduling gate of a pod that Kueue holds back (pkg/controller/jobs/pod/constants of sigs.k8s.io/kueue).
_KUEUE_GATE = "kueue.x-k8s.io/admission"
#: And the label that the pod has from then on.
_KUEUE_LABEL = "kueue.x-k8s.io/managed"

_SIDECAR_OF_ISTIO = "istio-proxy"


def phase(pod: dict[str, Any]) -> str:
    """The pod's phase."""
    return pod.get("status", {}).get("phase", "Pending")


def created_at(pod: dict[str, Any]) -> float:
    """Seconds since the epoch."""
    return _seconds(pod["metadata"]["creationTimestamp"])


def scheduled_at(pod: dict[str, Any]) -> float | None:
    """Seconds since the epoch when the pod got its node; None while it has none."""
    condition = _condition(pod, "PodScheduled")
    return _seconds(condition["lastTransitionTime"]) if condition.get("status") == "True" else None


def is_unscheduled(pod: dict[str, Any]) -> bool:
    """Whether the scheduler has looked for a node, and found none."""
    return not pod["spec"].get("nodeName") and _condition(pod, "PodScheduled").get("status") == "False"


def held(pod: dict[str, Any]) -> bool:
    """Whether Kueue has yet to admit the pod, to a quota that is full perhaps."""
    return any(one["name"] == _KUEUE_GATE for one in pod["spec"].get("schedulingGates") or [])


def queued(pod: dict[str, Any]) -> bool:
    """Whether Kueue admits the pod, or has admitted it."""
    return (pod["metadata"].get("labels") or {}).get(_KUEUE_LABEL) == "true"


def ended_at(pod: dict[str, Any]) -> float:
    """Seconds since the epoch when the last container ended; where none did, when the pod was created."""
    ends = [((one.get("state") or {}).get("terminated") or {}).get("finishedAt") for one in statuses(pod)]
    return max([created_at(pod), *(_seconds(end) for end in ends if end)])


def ended(pod: dict[str, Any], base: str, xcom_sidecar: bool) -> bool:
    """Whether the task's work is over: the pod's, or the base container's where a sidecar outlives it."""
    if phase(pod) in ("Succeeded", "Failed"):
        return True
    return _outlived(pod, xcom_sidecar) and exit_code(pod, base) is not None


def succeeded(pod: dict[str, Any], base: str, xcom_sidecar: bool) -> bool:
    """Whether a pod that has ended did well."""
    if _outlived(pod, xcom_sidecar):
        return exit_code(pod, base) == 0
    return phase(pod) == "Succeeded"


def deleted_before_it_ran(pod: dict[str, Any]) -> bool:
    """Whether a pod that is being deleted, or is gone, waits or waited until then, and not for its own trigger.

    Where a container was not created yet, kubelet says at the end that it has failed with 137, "could not be located"
    (pkg/kubelet/status, ``TerminatePod``); but such a container has no id. One whose end was not seen may have run in
    the meantime.
    """
    metadata = pod["metadata"]
    checked = (metadata.get("labels") or {}).get("already_checked") == "True"
    if not metadata.get("deletionTimestamp") or checked:
        return False
    containers = pod.get("status", {}).get("containerStatuses") or []
    # An init container that has run has done something.
    never_created = bool(containers) and not any(one.get("containerID") for one in statuses(pod))
    return phase(pod) == "Pending" or (phase(pod) == "Failed" and never_created)


def node_given_up_at(pod: dict[str, Any], base: str) -> float | None:
    """When Kubernetes has given up the pod's node, or the pod on it, in seconds since the epoch; None: it has not.

    It marks the pods of a node that is not ready, and gives no reason, while kubelet has one (pkg/controller/util/node,
    ``MarkPodsNotReady``); and it deletes those that do not tolerate the node's taints (pkg/controller/tainteviction).
    """
    taken, ready = _condition(pod, "DisruptionTarget"), _condition(pod, "Ready")
    if taken.get("status") == "True" and taken.get("reason") == "DeletionByTaintManager":
        return _seconds(taken["lastTransitionTime"])
    runs = phase(pod) == "Running" and exit_code(pod, base) is None
    marked = runs and ready.get("status") == "False" and not ready.get("reason")
    return _seconds(ready["lastTransitionTime"]) if marked else None


def exit_code(pod: dict[str, Any], container: str) -> int | None:
    """The container's exit code; None while it has none."""
    return _terminated(pod, container).get("exitCode")


def described(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod for a log: where it ran, its containers' images and resources, its status. No environment, no volumes."""
    spec = pod["spec"]

    def containers(kind: str) -> list[dict[str, Any]]:
        return [{key: one.get(key) for key in ("name", "image", "resources")} for one in spec.get(kind) or []]

    return {
        "metadata": {key: pod["metadata"].get(key) for key in ("name", "namespace", "uid", "labels")},
        "spec": {
            "nodeName": spec.get("nodeName"),
            "nodeSelector": spec.get("nodeSelector"),
            "initContainers": containers("initContainers"),
            "containers": containers("containers"),
        },
        "status": pod.get("status", {}),
    }


def _outlived(pod: dict[str, Any], xcom_sidecar: bool) -> bool:
    return xcom_sidecar or any(one["name"] == _SIDECAR_OF_ISTIO for one in pod["spec"].get("containers", []))


def statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Of all containers, in the order in which they start."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _terminated(pod: dict[str, Any], container: str) -> dict[str, Any]:
    found = (one for one in statuses(pod) if one["name"] == container)
    return (next(found, {}).get("state") or {}).get("terminated") or {}


def _condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
