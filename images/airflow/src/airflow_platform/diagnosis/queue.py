"""Kueue holds the pod: what its Workload says of the queue.

The texts are those of sigs.k8s.io/kueue (pkg/scheduler/flavorassigner, pkg/scheduler/scheduler.go,
pkg/controller/core/workload_controller.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_platform.diagnosis.case import LASTING, Case, seconds
from airflow_platform.diagnosis.quantity import parse, phrase
from airflow_platform.diagnosis.verdict import Verdict, quoted
from airflow_platform.pod_status import held as is_held

#: Seconds within which a queue that has room has admitted a pod; only then is a word on it worth a line.
_AT_ONCE = 5
#: Of a queue that is full: the resource, and how much of it is missing.
_FULL = re.compile(r"insufficient unused quota for (\S+) in flavor \S+, (\S+) more needed")
#: Of one that can never hold the pod: the resource, what is asked for, and all there is.
_TOO_SMALL = re.compile(
    r"insufficient quota for (\S+) in flavor \S+, .*current podset request \((\S+)\) > maximum capacity \((\S+)\)"
)
_NOT_COUNTED = re.compile(r"resource (\S+) unavailable in ClusterQueue")
_CLOSED = re.compile(r"(?:Local|Cluster)Queue \S+ (?:doesn't exist|is .+)")
_STOPS_OTHERS = re.compile(r"Pending the preemption of (\d+) workload")


def held(case: Case) -> Verdict | None:
    """Why Kueue has not admitted the pod; None where it does not hold it, or nothing is known of why."""
    if case.phase != "Pending" or not case.spec or not is_held(case.pod) or case.workload is None:
        return None
    if case.created is not None and case.now - case.created < _AT_ONCE:
        return None
    if not case.workload:
        return _not_seen(case)
    conditions = (case.workload.get("status") or {}).get("conditions") or ()
    reserved = next((one for one in conditions if one.get("type") == "QuotaReserved"), {})
    if reserved.get("status") == "True":
        return None  # it is about to start
    return _said(case, case.workload, reserved.get("message") or "", seconds(reserved.get("lastTransitionTime")))


def _not_seen(case: Case) -> Verdict | None:
    if case.created is None or case.now - case.created < LASTING:
        return None
    return Verdict(
        cause="queue-silent",
        kind="platform",
        object_kind="pod",
        object=case.name,
        since=case.created,
        certain=False,
        sentence=f"Kueue has not looked at pod {case.name} for {case.now - case.created:.0f} s; whoever runs the "
        "cluster must see whether its controller runs.",
    )


def _said(case: Case, own: Mapping[str, Any], message: str, since: float | None) -> Verdict:
    name = own["spec"].get("queueName") or ""
    queue = f"queue {name} of namespace {case.namespace}"
    of_queue = {"object_kind": "queue", "object": name, "since": since or case.created}
    if found := _TOO_SMALL.search(message):
        resource, wanted, most = found[1], parse(found[2]), parse(found[3])
        return Verdict(
            cause="queue-too-small",
            kind="user",
            **of_queue,
            final=case.lasts(since),
            retry_helps=False,
            sentence=f"Pod {case.name} asks for {phrase(resource, wanted)}, and {queue} allows "
            f"{phrase(resource, most)} in all, so it can never run; ask for less, or have the quota raised.",
        )
    if found := _NOT_COUNTED.search(message):
        return Verdict(
            cause="queue-without-resource",
            kind="user",
            **of_queue,
            final=case.lasts(since),
            retry_helps=False,
            sentence=f"Pod {case.name} asks for {found[1]}, which {queue} does not give, so it can never run; use a "
            "pool that does, or have the resource added to the pool's quota.",
        )
    if found := _CLOSED.search(message):
        return Verdict(
            cause="queue-closed",
            kind="platform",
            **of_queue,
            retry_helps=None,
            sentence=f"Pod {case.name} waits for {queue}, which admits nothing now ({quoted(found[0])}); whoever runs "
            "the platform must look at it.",
        )
    return Verdict(
        cause="queue-full",
        kind="capacity",
        **of_queue,
        retry_helps=True,
        sentence=f"Pod {case.name} waits in {queue}{_missing(message)}{_others(own, message)}; it starts when "
        "others have ended.",
    )


def _missing(message: str) -> str:
    found = _FULL.findall(message)
    lacking = ["a place" if name == "pods" else phrase(name, parse(amount)) for name, amount in found]
    if lacking:
        return f", which is full: it lacks {' and '.join(lacking)}"
    return f": {quoted(message)}" if message else ""


def _others(own: Mapping[str, Any], message: str) -> str:
    """How many of the queue are admitted, how many come before this one, and how many are stopped for it."""
    told = []
    if standing := own.get("standing"):
        told.append(f"{standing['admitted']} admitted")
        if before := standing["before"]:
            told.append(f"{before} {'task' if before == 1 else 'tasks'} ahead")
    if found := _STOPS_OTHERS.search(message):
        told.append(f"{found[1]} being stopped for it")
    return f" ({', '.join(told)})" if told else ""
