"""The pod is taken away: by Kubernetes, by its node, or by somebody. Also: its node says nothing any more."""

from __future__ import annotations

from airflow_platform.diagnosis.case import Case, last_seen, seconds
from airflow_platform.diagnosis.verdict import Verdict, quoted

#: Seconds until a pod that has a node and that its kubelet has not taken up is told. Kubelet's own watch takes less
#: than one; a node is NotReady only after 50 s of silence (node_lifecycle_controller.go, ``nodeMonitorGracePeriod``).
_TAKEN_UP = 30
#: Seconds of silence that are worth to be counted.
_AWHILE = 10
#: Of Kueue's reasons for an eviction (apis/kueue/v1beta2/workload_types.go): a person's, or a limit that the pod has.
_DEACTIVATED = "WorkloadEvictedDueToDeactivated"
#: Of Kueue's preemptions (pkg/scheduler/preemption), that within one queue.
_OF_HIGHER_PRIORITY = "due to prioritization in the ClusterQueue"


def disrupted(case: Case) -> Verdict | None:
    """A condition says who takes the pod: DisruptionTarget (k8s.io/api, core/v1/types.go, and where each is set), or
    Kueue's TerminationTarget (sigs.k8s.io/kueue, pkg/controller/jobs/pod).
    """
    condition = case.condition("DisruptionTarget") or case.condition("TerminationTarget")
    at = seconds(condition.get("lastTransitionTime"))
    if condition.get("status") != "True" or _ended_before(case, at) or _given_up(case, at):
        return None
    reason = condition.get("reason") or ""
    if _DEACTIVATED in reason:
        return None  # somebody meant it: as where somebody deletes the pod
    if reason == "DeletionByTaintManager" and _was_well(case.node, at):
        # Somebody has closed it to pods like this one.
        reason = "EvictionByEvictionAPI"
    cause, object_kind, name, sentence = _disruption(case, reason, quoted(condition.get("message")))
    # Its node is away, and it may still run there. The garbage collector calls it failed without having asked a node.
    away = reason == "DeletionByPodGC" or (reason == "DeletionByTaintManager" and case.phase != "Failed")
    return Verdict(
        cause=cause,
        kind="infrastructure",
        object_kind=object_kind,
        object=name,
        final=case.phase == "Failed" or (case.deleted and not away),
        retry_helps=None if away else True,
        since=at,
        certain=not away,
        sentence=sentence,
    )


def _disruption(case: Case, reason: str, message: str) -> tuple[str, str, str, str]:
    """Cause, kind and name of the object, sentence."""
    pod, node = case.name, case.node_name or "of the pod"
    match reason:
        case "PreemptionByScheduler":  # pkg/scheduler/framework/preemption/executor.go
            return (
                "preempted", "pod", pod,
                f"Pod {pod} was stopped to make room on node {node} for a pod of higher priority; try again, or give "
                "the task a priority class that is as high.",
            )  # fmt: skip
        case "EvictionByEvictionAPI":  # pkg/registry/core/pod/storage/eviction.go
            return (
                "drained", "node", node,
                f"Node {node} is being emptied, for maintenance or to save it, and pod {pod} had to go; try again, it "
                "will run on another node.",
            )  # fmt: skip
        case "DeletionByTaintManager":  # pkg/controller/tainteviction
            or_closed = "" if case.node else ", or was closed to pods like this,"
            if case.phase == "Failed":
                return (
                    "node-lost", "node", node,
                    f"Node {node} was away{or_closed} and pod {pod} was stopped there; try again.",
                )  # fmt: skip
            return (
                "node-lost", "node", node,
                f"Node {node} is away{or_closed or ','} and Kubernetes deletes pod {pod}; until the node answers or is "
                "removed, the pod may still run there.",
            )  # fmt: skip
        case "DeletionByPodGC":  # pkg/controller/podgc
            return (
                "node-removed", "node", node,
                f"Node {node} is no longer part of the cluster, and Kubernetes deletes pod {pod}; if the machine still "
                "runs, so may the pod; make sure that it does not, then try again.",
            )  # fmt: skip
        case "TerminationByKubelet" if case.status.get("reason") == "Preempting":  # pkg/kubelet/preemption
            return (
                "preempted", "pod", pod,
                f"Pod {pod} was stopped to make room on node {node} for a pod that the cluster itself needs; try "
                "again.",
            )  # fmt: skip
        case "TerminationByKubelet":
            return (
                "stopped-by-node", "node", node,
                f"Node {node} stopped pod {pod} ({message or 'it does not say why'}); try again.",
            )  # fmt: skip
        case "WorkloadEvictedDueToPreempted" if _OF_HIGHER_PRIORITY in message:
            return (
                "preempted", "pod", pod,
                f"Pod {pod} was stopped by Kueue to make room in its queue for a pod of higher priority; try again, or "
                "give the task a priority class that is as high.",
            )  # fmt: skip
        case "WorkloadEvictedDueToPreempted":
            return (
                "preempted", "pod", pod,
                f"Pod {pod} was stopped by Kueue, as another namespace needs its share of the quota, of which this one "
                "had more than its own; try again.",
            )  # fmt: skip
    return (
        "disrupted", "pod", pod,
        f"The cluster took pod {pod} away ({reason}: {message or 'it does not say why'}); try again.",
    )  # fmt: skip


def unknown() -> Verdict:
    """The pod is gone, and nobody has seen it."""
    return Verdict(
        cause="deleted",
        kind="infrastructure",
        object_kind="pod",
        object="of the task",
        final=True,
        certain=False,
        sentence="The pod of the task is gone, and nothing is known of it; whether it has run, its log may say.",
    )


def deleted(case: Case) -> Verdict | None:
    """The pod was deleted, and no condition says by whom."""
    at, gone = case.deletion_asked, case.deleted or case.phase == "Failed"
    where = f" on node {case.node_name}" if case.node_name else ""
    if (at is None and not case.deleted) or _ended_before(case, at):
        return None
    if preempted := next(case.said("Preempted"), None):
        return Verdict(
            cause="preempted",
            kind="infrastructure",
            object_kind="pod",
            object=case.name,
            final=gone,
            retry_helps=True,
            since=last_seen(preempted),
            sentence=f"Pod {case.name} was stopped to make room{where} for a pod of higher priority; try again, or "
            "give the task a priority class that is as high.",
        )
    if not case.ever_ran and (at is not None or not case.node_name):
        return Verdict(
            cause="deleted-before-start",
            kind="infrastructure",
            object_kind="pod",
            object=case.name,
            final=gone,
            retry_helps=True,
            since=at,
            # It is certain only where the deletion was seen: without, it may have been given a node since.
            certain=at is not None,
            sentence=f"Pod {case.name} was deleted{'' if at is not None else ', most likely'} before it ran; try "
            "again, the cluster's audit log says who deleted it.",
        )
    ended = case.base_end is not None
    return Verdict(
        cause="deleted",
        kind="infrastructure",
        object_kind="pod",
        object=case.name,
        container=case.base if ended else None,
        exit_code=case.base_end.get("exitCode") if ended else None,
        final=gone,
        retry_helps=True if ended else None,
        since=at,
        certain=at is not None,
        sentence=f"Pod {case.name} {'was' if gone else 'is being'} deleted while it {'ran' if gone else 'runs'}{where}"
        f"{', and how its work ended is not known' if gone and not ended else ''}; the cluster's audit log says who "
        "deleted it.",
    )


def node_away(case: Case) -> Verdict | None:
    """The pod's node does not answer, or is not there. What runs on it may run on."""
    if not case.node_name or case.phase in ("Succeeded", "Failed"):
        return None
    if case.node:
        ready = _ready(case.node)
        since = seconds(ready.get("lastTransitionTime"))
        if ready.get("status") == "Unknown":
            return _silent(case, since)
        return _not_ready(case, since, quoted(ready.get("message"))) if ready.get("status") == "False" else None
    # Kubernetes marks the pods of a node that is silent (pkg/controller/util/node, ``MarkPodsNotReady``): by an event,
    # and by a condition that has no reason, while kubelet always gives one.
    marked = [last_seen(one) or 0 for one in case.said("NodeNotReady")]
    ready = case.condition("Ready")
    if case.base_runs and ready.get("status") == "False" and not ready.get("reason"):
        return _silent(case, seconds(ready.get("lastTransitionTime")))
    ready_since = seconds(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None
    if marked and (ready_since is None or ready_since <= marked[-1]):
        return _silent(case, marked[-1])
    if case.status.get("reason") == "NodeLost":  # pkg/util/node, of older releases
        return _silent(case, None)
    return _removed(case) if case.nodes else None


def _silent(case: Case, since: float | None) -> Verdict:
    silent = case.now - since if since is not None else 0
    # It was silent for a while before Kubernetes noticed.
    says = f"has said nothing for {silent:.0f} s" if silent >= _AWHILE else "does not answer any more"
    return Verdict(
        cause="node-lost",
        kind="infrastructure",
        object_kind="node",
        object=case.node_name,
        since=since,
        # The node's silence is certain; that pod and container have stopped is not.
        certain=False,
        sentence=f"Node {case.node_name}, where pod {case.name} is, {says}; the pod may still run there, so wait until "
        "the node is back or has been removed.",
    )


def _not_ready(case: Case, since: float | None, message: str) -> Verdict:
    return Verdict(
        cause="node-not-ready",
        kind="infrastructure",
        object_kind="node",
        object=case.node_name,
        since=since,
        sentence=f"Node {case.node_name}, where pod {case.name} is, says that it is not ready "
        f"({message or 'not why'}); whoever runs the cluster must look at it.",
    )


def _removed(case: Case) -> Verdict:
    return Verdict(
        cause="node-removed",
        kind="infrastructure",
        object_kind="node",
        object=case.node_name,
        certain=False,
        sentence=f"Node {case.node_name}, where pod {case.name} was, is no longer part of the cluster; if the machine "
        "still runs, so may the pod; make sure that it does not.",
    )


def not_taken_up(case: Case) -> Verdict | None:
    """The pod was given a node, and the node has not said that it has seen it."""
    scheduled = case.condition("PodScheduled")
    since = seconds(scheduled.get("lastTransitionTime"))
    if not case.node_name or case.status.get("startTime") or since is None or case.now - since < _TAKEN_UP:
        return None
    return Verdict(
        cause="node-silent",
        kind="infrastructure",
        object_kind="node",
        object=case.node_name,
        retry_helps=None,
        since=since,
        certain=False,
        sentence=f"Node {case.node_name} has been given pod {case.name} {case.now - since:.0f} s ago and has not begun "
        "to start it; whoever runs the cluster must look at the node if this goes on.",
    )


def _was_well(node: dict | None, at: float | None) -> bool:
    """Whether the node was ready at a time, and is: one that was away then may be back."""
    ready = _ready(node or {})
    since = seconds(ready.get("lastTransitionTime"))
    return ready.get("status") == "True" and (since is None or at is None or since <= at)


def _ready(node: dict) -> dict:
    conditions = (node.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == "Ready"), {})


def _ended_before(case: Case, at: float | None) -> bool:
    """Whether the work had ended by itself when the pod was asked to stop (times have whole seconds).

    Where the base container has no end, as after an init container that failed, it is the end of the pod.
    """
    finished = seconds((case.base_end or {}).get("finishedAt"))
    if finished is None and case.phase == "Failed":
        finished = case.finished
    if finished is None or case.ended_of_deletion:
        return False
    return at is None or finished < int(at)


def _given_up(case: Case, at: float | None) -> bool:
    """Whether the disruption has not come to pass: then the condition goes after two minutes
    (pkg/controller/disruption, ``stalePodDisruptionTimeout``).
    """
    taken = case.metadata.get("deletionTimestamp") or case.deleted or case.phase == "Failed"
    return not taken and at is not None and case.now - at > 120
