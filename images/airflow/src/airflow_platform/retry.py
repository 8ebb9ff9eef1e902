"""Which ends of a pod cost its task no retry: the infrastructure took the pod, and it has stopped for certain.

Never is a second pod started while the first may still run. A pod has stopped where its phase says so; where its node
is silent, Kubernetes leaves it as it is until the node answers or is removed from the cluster.
"""

from __future__ import annotations

from typing import Any

from airflow_platform import pod_status
from airflow_platform.diagnosis import Verdict

#: Causes by which the cluster took the pod, or its node did not carry it.
TAKEN = {
    "preempted", "drained", "node-lost", "node-removed", "node-shutdown", "stopped-by-node", "disrupted", "evicted",
    "rejected-by-node", "container-lost", "deleted-before-start",
}  # fmt: skip
#: Of these, where kubelet was asked to stop the pod, and removes its object once it has.
_ASKED = {"preempted", "drained"}
#: By whom nobody knows, so that it is for the platform's values to say.
_DELETED = "deleted"


def costs_no_retry(verdict: Verdict | None, pod: dict[str, Any] | None, *, gone: bool, deleted_too: bool) -> bool:
    """Whether a task may be started again for nothing.

    Args:
        verdict: on the end of its pod.
        pod: as it was seen last; None where nobody has seen it: then it may have done its work.
        gone: whether the pod's object is no more.
        deleted_too: whether pods that somebody has deleted count.
    """
    if verdict is None or pod is None or verdict.kind != "infrastructure":
        return False
    if verdict.cause == "evicted" and verdict.container:
        return False  # it used more than it had asked for: another node would run short as well
    # Where it ended unseen, it was asked to stop and is gone. With a grace period of 0, nobody has waited for its end.
    forced = pod["metadata"].get("deletionGracePeriodSeconds") == 0
    stopped = pod_status.phase(pod) == "Failed" or (gone and verdict.cause in _ASKED and not forced)
    return stopped and (verdict.cause in TAKEN or (verdict.cause == _DELETED and deleted_too))
