"""Deletes the pods of tasks that have ended, once Airflow's database knows that they have.

A trigger's event is stored a moment after it was fired. Were the pod deleted with the event, a triggerer that dies in
that moment would leave a task whose pod is gone and whose end nobody knows.

And it looks for pods that were left over, because whoever was to delete them died before, or never came to it:
`look_after`.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import aiohttp
from airflow.sdk.observability import stats

from airflow_platform import config, memory, metrics, pod_status
from airflow_platform.cluster import DEFAULT_CONNECTION, ApiError, Cluster, ClusterRef
from airflow_platform.watch import PodWatch

log = logging.getLogger(__name__)

#: Seconds between two looks.
_PERIOD = 2
#: Seconds that the pod of a task that did well stays: in a burst, others wait for the processor that a deletion takes.
_REST = 15
#: Seconds after which a task that is still not over is left alone, with its pod.
_PATIENCE = 600
#: How many task instances' states are asked for at once: their ids go in a URL, of which httpx takes 64 KiB.
_AT_ONCE = 200
#: Seconds between two looks for pods that were left over.
_SWEEP = 5
#: How old a pod is that may have been left over: tasks that begin now are others' work.
_LEFT_OVER = timedelta(seconds=10)

#: The annotation that says whose a pod is, in words that are not cut as those of labels are.
OWNER = "airflow-platform/task"
#: And that which tells this Airflow from another whose namespace has the same name.
HOME = "airflow-platform/home"
#: States of a task instance after which nothing more happens to its pod.
_OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}

#: Where a pod has the namespace that it runs in, and the authority of its cluster.
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Key = tuple[str, str, str, int]


class _Pending(NamedTuple):
    cluster: Cluster
    pod: dict[str, Any]
    instance: Any
    grace_period: int | None
    due: float


class Owner(NamedTuple):
    """What `OWNER` says."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    airflow: str
    base: str
    on_finish_action: str
    on_kill_action: str


#: Why a pod is deleted here.
_REASONS = {"left_over": "it was left over, its task is over", "kept": "it was kept for as long as the values say"}

_pending: list[_Pending] = []
#: The ``uid``s of pods that were deleted here, or said to be, and that a watch shows still.
_reaped: WeakKeyDictionary[PodWatch, set[str]] = WeakKeyDictionary()
_task: asyncio.Task | None = None
_watches: WeakSet[PodWatch] = WeakSet()
_sweeper: asyncio.Task | None = None
_namespaces: set[str] = set()


def key(instance: Any) -> Key:
    """What names a task instance over its tries."""
    return instance.dag_id, instance.run_id, instance.task_id, instance.map_index


async def states(instances: Iterable[Any]) -> dict[Key, str]:
    """The states of task instances, as Airflow's database has them now; what cannot be asked is left out.

    A task without a state (cleared, not scheduled yet) has the state ``none``; one that is not there any more (its run
    was deleted) is ``gone``.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates

    # Apart: of a mapped task `load` and another one `load_1`, Airflow's answer has two by one name.
    by_dag = defaultdict(list)
    for instance in instances:
        by_dag[instance.dag_id, instance.map_index >= 0].append(instance)
    found: dict[Key, str] = {}
    at_once = (
        (dag_id, of_dag[first : first + _AT_ONCE])
        for (dag_id, _), of_dag in by_dag.items()
        for first in range(0, len(of_dag), _AT_ONCE)
    )
    for dag_id, of_dag in at_once:
        request = GetTaskStates(
            dag_id=dag_id,
            task_ids=sorted({one.task_id for one in of_dag}),
            run_ids=sorted({one.run_id for one in of_dag}),
            # Of one instance, not those of all its siblings.
            map_index=of_dag[0].map_index if len(of_dag) == 1 else None,
        )
        try:
            runs = (await task_runner.SUPERVISOR_COMMS.asend(request)).task_states
        except Exception as error:
            log.warning("States of tasks of DAG %s could not be read: %s", dag_id, error)
            continue
        for one in of_dag:
            name = one.task_id if one.map_index < 0 else f"{one.task_id}_{one.map_index}"
            found[key(one)] = str(runs.get(one.run_id, {}).get(name, "gone") or "none")
    return found


def delete_when_stored(cluster: Cluster, pod: dict[str, Any], instance: Any, grace_period: int | None) -> None:
    """Delete the pod of a task instance once the database has the end that was fired for it.

    That is at once where it failed, as another try may follow, and else a moment later.
    """
    global _task
    rest = _REST if pod_status.phase(pod) == "Succeeded" else 0
    _pending.append(_Pending(cluster, pod, instance, grace_period, time.monotonic() + rest))
    if _task is None or _task.done():
        _task = _start(_run(), "finisher")


def kept_until(pod: dict[str, Any]) -> datetime | None:
    """Until when a pod that would be deleted stays, as it has failed and somebody may want to look; None: it goes.

    One that has not ended is not kept: it would go on.
    """
    keep = config.load().tasks.keep_failed_pods
    if not keep or pod_status.phase(pod) != "Failed":
        return None
    until = datetime.fromtimestamp(pod_status.ended_at(pod), timezone.utc) + keep
    return until if until > datetime.now(timezone.utc) else None


def owner(instance: Any, base: str, on_finish_action: str, on_kill_action: str) -> str:
    """The value of `OWNER`: a task instance, its base container, and what is to become of its pod."""
    return json.dumps(Owner(*key(instance), _home(), base, on_finish_action, on_kill_action)._asdict())


def look_after(watch: PodWatch) -> None:
    """Delete what is left over of the pods that this watch shows, for as long as it shows any.

    That are the pods of tasks which are over where their triggerer died before it deleted them, or the task was ended
    by a person while the cluster did not answer, before its trigger began, or before the launcher could finish it.
    """
    _watches.add(watch)
    _start_sweeper()


def look_after_home(namespaces: Iterable[str]) -> None:
    """The same for these namespaces of the cluster that tasks run in by default, whether a pod is followed or not."""
    _namespaces.update(namespaces)
    _start_sweeper()


def _start_sweeper() -> None:
    global _sweeper
    if _sweeper is None or _sweeper.done():
        _sweeper = _start(_sweep_always(), "sweeper of pods")


async def delete(cluster: Cluster, pod: dict[str, Any], grace_period: int | None = None) -> bool:
    """Delete this pod, and none that has its name by now; whether it is so. Errors are logged."""
    metadata = pod["metadata"]
    body: dict[str, Any] = {"preconditions": {"uid": metadata["uid"]}}
    if grace_period is not None:
        body["gracePeriodSeconds"] = grace_period
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    try:
        await cluster.request("DELETE", path, body=body)
    except (ApiError, aiohttp.ClientError, OSError) as error:
        # 409: another pod has the name.
        if not isinstance(error, ApiError) or error.status not in (404, 409):
            log.warning("Pod %s could not be deleted: %s", metadata["name"], error)
            return False
    return True


def _start(work: Any, name: str) -> asyncio.Task:
    # In a context of its own: what it logs belongs to no single task of Airflow.
    return asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())


async def _run() -> None:
    while _pending:
        await asyncio.sleep(_PERIOD)
        now = time.monotonic()
        looked_at, _pending[:] = [one for one in _pending if one.due <= now], [one for one in _pending if one.due > now]
        known = await states(one.instance for one in looked_at)
        over = [one for one in looked_at if known.get(key(one.instance), "deferred") != "deferred"]
        deleted = await asyncio.gather(*(delete(one.cluster, one.pod, one.grace_period) for one in over))
        done = {id(one) for one, gone in zip(over, deleted, strict=True) if gone}
        _pending.extend(one for one in looked_at if id(one) not in done and now - one.due < _PATIENCE)


async def _sweep_always() -> None:
    over: set[str] = set()
    while True:
        await asyncio.sleep(_SWEEP)
        try:
            await _open_home()
        except Exception as error:
            log.warning("The pods of tasks cannot be looked after yet, which is tried again: %s", error)
        before, over = over, set()
        for watch in list(_watches):
            try:
                over |= await _sweep(watch, before)
            except Exception:
                log.exception("Pods that were left over could not be looked for: %s", watch)


async def _open_home() -> None:
    for namespace in sorted(_namespaces):
        watch = await PodWatch.get(await Cluster.get(ClusterRef(DEFAULT_CONNECTION)), namespace)
        watch.keep()
        _watches.add(watch)
        _namespaces.discard(namespace)


async def _sweep(watch: PodWatch, before: set[str]) -> set[str]:
    """Delete pods that were to go at the look before and are now, which gives others the time to.

    :param before: the ``uid``s that the look before has returned.
    :return: the ``uid``s of all pods that are to go.
    """
    here = _home(), home()
    if not here[0]:
        return set()
    now = datetime.now(timezone.utc)
    owners = [
        (pod, found)
        for pod in watch.unfollowed()
        if now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) > _LEFT_OVER
        and not pod["metadata"].get("deletionTimestamp")
        and not _rests(pod, now)
        and (found := owner_of(pod)) is not None
        and _is_home(pod, found, here)
        and _goes(pod, found)
    ]
    if config.load().tasks.keep_failed_pods:
        kept = sum(1 for pod in watch.unfollowed() if kept_until(pod) and owner_of(pod))
        stats.gauge(metrics.KEPT, kept, tags={"namespace": watch.namespace})
    known = await states(found for _, found in owners)
    because = {pod["metadata"]["uid"]: (pod, _because(pod, found, known.get(key(found)))) for pod, found in owners}
    due = {uid: (pod, why) for uid, (pod, why) in because.items() if why}
    dry, reaped = config.load().tasks.reaper.dry_run, _reaped.setdefault(watch, set())
    reaped.intersection_update(pod["metadata"]["uid"] for pod in watch.pods())
    for uid in due.keys() & before - reaped:
        pod, why = due[uid]
        if dry or await delete(watch.cluster, pod):
            name = pod["metadata"]["name"]
            log.info("Pod %s %s deleted: %s", name, "would be (tasks.reaper.dryRun)" if dry else "is", _REASONS[why])
            stats.incr(metrics.REAPED, tags={"namespace": watch.namespace, "reason": why, "dry_run": str(dry).lower()})
            reaped.add(uid)
    return set(due)


def _because(pod: dict[str, Any], owner: Owner, state: str | None) -> str | None:
    """Why the pod of a task in this state is to go: a key of `_REASONS`; None where it stays."""
    was_kept = config.load().tasks.keep_failed_pods and pod_status.phase(pod) == "Failed"
    # Its run was deleted; but what has the namespace's name alone may be another cluster's. Of a task without a state,
    # the next launch takes the pod over or deletes it.
    deleted = state == "gone" and _home_of(pod) is not None
    if state in _OVER or deleted:
        return "kept" if was_kept else "left_over"
    # Of a try that has ended, as the task has another one; which may need to know of its memory.
    ended = (pod["metadata"].get("labels") or {}).get("already_checked") == "True"
    return "kept" if was_kept and ended and not memory.is_remembered(pod, owner.base) else None


def _rests(pod: dict[str, Any], now: datetime) -> bool:
    """Whether the triggerer that has seen the end of this pod will still delete it, if it is there."""
    return pod_status.phase(pod) == "Succeeded" and _has_just_ended(pod, now)


def _has_just_ended(pod: dict[str, Any], now: datetime) -> bool:
    return now.timestamp() - pod_status.ended_at(pod) < _REST + _LEFT_OVER.total_seconds()


def is_to_go(pod: dict[str, Any]) -> bool:
    """Whether whoever has seen this pod's end will delete the pod in a moment."""
    found, now = owner_of(pod), datetime.now(timezone.utc)
    ended = pod_status.phase(pod) in ("Succeeded", "Failed") and _has_just_ended(pod, now)
    return ended and found is not None and _is_home(pod, found) and _goes(pod, found)


def makes_room(pod: dict[str, Any], instance: Any) -> bool:
    """Whether another run of this task has left the pod, only as it failed and somebody may want to look.

    Not before the end of its own try is known, which marks it: its log may yet be read.
    """
    found, labels = owner_of(pod), pod["metadata"].get("labels") or {}
    return (
        found is not None
        and _is_home(pod, found)
        and (found.dag_id, found.task_id) == (instance.dag_id, instance.task_id)
        and found.on_finish_action == "delete_pod"
        and labels.get("already_checked") == "True"
        and kept_until(pod) is not None
    )


def is_of_another(pod: dict[str, Any]) -> bool:
    """Whether the pod is one of another Airflow, which may have the same DAGs."""
    found = owner_of(pod)
    return found is not None and not _is_home(pod, found)


def outlives_its_task(pod: dict[str, Any]) -> bool:
    """Whether the pod is at work, and is to go on where a person ends its task (``on_kill_action``)."""
    found = owner_of(pod)
    return found is not None and _works(pod, found) and found.on_kill_action == "keep_pod"


def _home() -> str:
    """The namespace that this Airflow runs in; empty where it does not run in a pod."""
    namespace = _ACCOUNT / "namespace"
    return namespace.read_text().strip() if namespace.is_file() else ""


def home() -> str:
    """The value of `HOME`: this release, and its cluster by the certificates of its authority."""
    authority = _ACCOUNT / "ca.crt"
    bundle = authority.read_text() if authority.is_file() else ""
    certificates = [one for one in bundle.split("-----END CERTIFICATE-----") if one.strip()]
    digests = sorted(hashlib.sha256(one.strip().encode()).hexdigest()[:12] for one in certificates)
    return f"{config.load().release}@{','.join(digests)}"


def _is_home(pod: dict[str, Any], owner: Owner, here: tuple[str, str] | None = None) -> bool:
    """Whether a pod is this Airflow's, and not that of another one with the same DAGs.

    Two clusters may have a namespace of the same name, and each has an authority of its own. While that is replaced,
    the old certificate is there beside the new one. Pods of before have the namespace's name alone.

    Args:
        pod, owner: the pod, and what it says of itself.
        here: `_home` and `home`, for whoever asks of many pods: both read files.
    """
    namespace, this = here or (_home(), home())
    if owner.airflow != namespace:
        return False
    if (there := _home_of(pod)) is None:
        return True
    (release, _, certificates), (own, _, own_certificates) = there.partition("@"), this.partition("@")
    return release == own and not set(certificates.split(",")).isdisjoint(own_certificates.split(","))


def _home_of(pod: dict[str, Any]) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(HOME)


def owner_of(pod: dict[str, Any]) -> Owner | None:
    """Whose the pod is; None where it is not ours, or of another release."""
    try:
        return Owner(**json.loads((pod["metadata"].get("annotations") or {})[OWNER]))
    except (KeyError, TypeError, ValueError):
        return None


def _goes(pod: dict[str, Any], owner: Owner) -> bool:
    """Whether the pod of a task that is over is to be deleted."""
    if _works(pod, owner):
        return owner.on_kill_action != "keep_pod"
    active = pod_status.phase(pod) in ("Pending", "Running")
    succeeded = pod_status.phase(pod) == "Succeeded" or pod_status.exit_code(pod, owner.base) == 0
    return {"delete_pod": kept_until(pod) is None, "delete_succeeded_pod": succeeded, "delete_active_pod": active}.get(
        owner.on_finish_action, False
    )


def _works(pod: dict[str, Any], owner: Owner) -> bool:
    """Whether the base container has yet to end, or to begin."""
    return pod_status.phase(pod) in ("Pending", "Running") and pod_status.exit_code(pod, owner.base) is None
