"""What a pod's status says, in words: plain functions of the pod as the Kubernetes API gives it (a dict)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

#: Reasons of a waiting container that do not pass by themselves (kubelet, pkg/kubelet/images/types.go).
_FATAL = {"InvalidImageName", "ErrImageNeverPull"}
_PULL = {"ErrImagePull", "ImagePullBackOff"}
#: What in a pull's message means that it may work later, as the stock operator has it
#: (airflow.providers.cncf.kubernetes.utils.pod_manager, ``detect_pod_terminate_early_issues``).
_TRANSIENT = (
    "pull qps exceeded", "rate limit", "too many requests", "quota exceeded", "temporarily unavailable", "timeout",
    "account limit", "bad gateway", "service unavailable", "gateway timeout",
)  # fmt: skip
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
    never_created = bool(containers) and not any(one.get("containerID") for one in containers)
    return phase(pod) == "Pending" or (phase(pod) == "Failed" and never_created)


def exit_code(pod: dict[str, Any], container: str) -> int | None:
    """The container's exit code; None while it has none."""
    return _terminated(pod, container).get("exitCode")


def cannot_start(pod: dict[str, Any]) -> str:
    """Why the pod will never start; empty where it may."""
    for status in _statuses(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        reason, message = waiting.get("reason"), waiting.get("message") or ""
        transient = any(word in message.lower() for word in _TRANSIENT)
        if reason in _FATAL or (reason in _PULL and not transient):
            return f"Image {status.get('image')} of container {status['name']} cannot be pulled: {reason}: {message}"
    return ""


def waits_for(pod: dict[str, Any], base: str) -> str:
    """What a pod waits for that has not started, or whose work is done; empty where it runs, or is about to."""
    if phase(pod) == "Running" and exit_code(pod, base) is not None:
        going_on = [one["name"] for one in _statuses(pod) if "running" in (one.get("state") or {})]
        return f"for the end of container {', '.join(going_on)}; {base} has ended" if going_on else ""
    if phase(pod) != "Pending":
        return ""
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"for a node: {scheduled.get('message') or scheduled.get('reason')}"
    for status in _statuses(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"container {status['name']}: {waiting['reason']}: {waiting.get('message') or ''}".rstrip(": ")
    return ""


def why_failed(pod: dict[str, Any], base: str) -> str:
    """Why a pod that has ended did not succeed."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    failed = [one for one in _statuses(pod) if (one.get("state", {}).get("terminated") or {}).get("exitCode")]
    # The base container first, then whatever else failed.
    for one in sorted(failed, key=lambda one: one["name"] != base):
        terminated = one["state"]["terminated"]
        limit = _memory_limit(pod, one["name"])
        how = terminated.get("reason") or "Error"
        if how == "OOMKilled" and limit:
            how = f"OOMKilled, its memory limit is {limit}"
        said = (terminated.get("message") or "").strip()
        return f"Pod {name} failed: container {one['name']} ended with exit code {terminated['exitCode']} ({how})" + (
            f": {said}" if said else ""
        )
    return f"Pod {name} failed: {status.get('reason') or status.get('phase')}: {status.get('message') or ''}".rstrip(
        ": "
    )


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


def _statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _terminated(pod: dict[str, Any], container: str) -> dict[str, Any]:
    statuses = (one for one in _statuses(pod) if one["name"] == container)
    return (next(statuses, {}).get("state") or {}).get("terminated") or {}


def _condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})


def _memory_limit(pod: dict[str, Any], container: str) -> str | None:
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    found = next((one for one in containers if one["name"] == container), {})
    return ((found.get("resources") or {}).get("limits") or {}).get("memory")


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
