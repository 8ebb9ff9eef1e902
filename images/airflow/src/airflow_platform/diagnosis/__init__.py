"""From what is known of a task's pod to one verdict: why it does not run, or how it ended.

A pure function of objects as the Kubernetes API gives them: no request, no clock, no Airflow. The rules are in the
order in which a pod's life may go wrong, the last things first, as what a pod ended with says more than what it waited
for: `refused` (it was not created), `ended`, `lost` (taken away; its node is silent), `queue` (Kueue holds it),
`placement` (no node), `image` and `start` (no container). In each, the first rule that knows the case holds.

What may heal by itself (an image that does not exist yet, a secret) is final only once it has been seen for 30 s; at
once is what the pod itself is at fault for, as a name that is not valid. What is not certain is never final while the
pod may still run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_platform.diagnosis import ended, image, lost, placement, queue, refused, start
from airflow_platform.diagnosis.case import LASTING, Case
from airflow_platform.diagnosis.crowd import Crowd
from airflow_platform.diagnosis.verdict import Refusal, Verdict

__all__ = ["LASTING", "Crowd", "Refusal", "Verdict", "diagnose"]

#: The first that says something holds.
_RULES = (
    # What the pod's status says of the whole pod.
    ended.node_shut_down,
    ended.rejected,
    ended.evicted,
    ended.deadline_exceeded,
    # It was made to stop: before its containers' ends, which are the consequence.
    lost.disrupted,
    lost.deleted,
    ended.container_ended,
    # It runs, or may: is its node there?
    lost.node_away,
    lost.not_taken_up,
    # It does not run yet.
    queue.held,
    placement.without_node,
    image.unavailable,
    start.not_started,
    start.not_prepared,
    image.slow,
    ended.failed_somehow,
)


def diagnose(
    pod: Mapping[str, Any] | None,
    *,
    base: str = "base",
    events: Sequence[Mapping[str, Any]] = (),
    nodes: Sequence[Mapping[str, Any]] = (),
    quotas: Sequence[Mapping[str, Any]] = (),
    crowd: Crowd | None = None,
    workload: Mapping[str, Any] | None = None,
    refusal: Refusal | None = None,
    now: float,
    deleted: bool = False,
) -> Verdict | None:
    """What is wrong with a pod; None while nothing is: it starts, runs or has done well.

    Each input that is left out costs what only it can tell; nothing is assumed in its place.

    Args:
        pod: the pod as it is, or was last seen; where it was refused, as it was asked for. It may lack volumes,
            environment, tolerations and affinity: with them, more can be told of a pod that waits for a node.
        base: the container whose end is the task's.
        events: the pod's (core/v1), in any order. They alone tell of volumes and networks, and since when.
        nodes: all nodes of the cluster, for a pod that has none yet; else its own at least. Each may have a mapping
            ``requested`` beside its ``status``: what all pods that it has ask for, in quantities.
        quotas: the ResourceQuotas of the namespace, for a pod that one has refused.
        crowd: the pods of tasks, for one that has no node yet.
        workload: Kueue's Workload of a pod that Kueue holds; empty: it has made none, None: that is not known. It may
            have a mapping ``standing``, as `airflow_platform.workloads.Standing`.
        refusal: the API server's answer where it does not create the pod.
        now: seconds since the epoch.
        deleted: whether the pod is gone; ``pod`` is then as it was seen last.

    Raises:
        ValueError: a time or a quantity is none.
    """
    case = Case(pod or {}, base, events, nodes, quotas, crowd, workload, now, deleted)
    if refusal is not None:
        return refused.diagnose(case, refusal)
    if pod is None:
        return lost.unknown() if deleted else None
    if ended.succeeded(case):
        return ended.held_open(case)
    return next((verdict for rule in _RULES if (verdict := rule(case))), None)
