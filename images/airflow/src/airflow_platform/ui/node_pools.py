"""The node pools as they are now: their nodes and how large they are, what runs there, what waits and why.

A pure function of what others have gathered (`airflow_platform.ui.state`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from airflow_platform import pod_status
from airflow_platform.config import NodePool
from airflow_platform.diagnosis import Crowd, diagnose
from airflow_platform.diagnosis.crowd import DEFAULT_POOL, POOL_ANNOTATION
from airflow_platform.diagnosis.node import allocatable
from airflow_platform.diagnosis.quantity import Amounts, amounts, asked, phrase
from airflow_platform.finisher import owner_of
from airflow_platform.pools import capacity

#: Tasks that wait, of each pool, that are shown.
_WAITING = 50
#: What of a node's size is shown first; then others, as GPUs.
_FIRST = ("cpu", "memory")
_LEFT_OUT = ("pods", "ephemeral-storage")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A task instance that waits for room in a pool. ``why`` is a sentence; ``since`` is in seconds since the epoch.

    Where it is empty, the task has no pod yet, and its pool says why.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    state: str
    pool: str
    since: float | None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class AirflowPool:
    """A pool of Airflow. ``slots`` is None where it has no bound; ``states`` counts slots by their tasks' states."""

    name: str
    slots: int | None
    include_deferred: bool
    states: Mapping[str, int]

    @property
    def used(self) -> int:
        """Slots that are taken."""
        holding = ("running", "queued", "deferred") if self.include_deferred else ("running", "queued")
        return sum(self.states.get(state, 0) for state in holding)


def describe(
    node_pools: Sequence[NodePool],
    airflow_pools: Sequence[AirflowPool],
    nodes: Sequence[Mapping[str, Any]] | None,
    pods: Sequence[Mapping[str, Any]],
    waiting: Iterable[Waiting],
    workloads: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    readable: Collection[str] | None,
    now: float,
) -> dict[str, Any]:
    """All pools as JSON: those of the platform's configuration first, each with its nodes; then Airflow's others.

    Args:
        nodes: all nodes of the cluster; None where they cannot be listed.
        pods: the task pods that have not ended.
        waiting: task instances that have no pod yet.
        workloads: Kueue's Workloads, by their pods' uids.
        readable: the DAGs whose names may be told; None: all.
        now: seconds since the epoch.
    """
    by_pool = defaultdict(list)
    for one in [*waiting, *_pending(pods, nodes or (), workloads or {}, now)]:
        by_pool[one.pool].append(one)
    known = {pool.name: pool for pool in airflow_pools}
    described = []
    for pool in node_pools:
        placed = {"node_selector": pool.node_selector, **_nodes(pool, nodes, pods)}
        of_airflow = known.pop(pool.name, None)
        waits = _waiting(by_pool[pool.name], of_airflow, readable)
        described.append({"name": pool.name, **placed, **_slots(of_airflow), **waits})
    for pool in known.values():
        placed = {"node_selector": None, "nodes": None, "without_node": False, "note": ""}
        waits = _waiting(by_pool[pool.name], pool, readable)
        described.append({"name": pool.name, **placed, **_slots(pool), **waits})
    return {"pools": described, "nodes_known": nodes is not None}


def _slots(pool: AirflowPool | None) -> dict[str, Any]:
    """``missing``: Airflow has no pool of that name (yet)."""
    if pool is None:
        return {"missing": True, "slots": None, "used": 0, "states": {}}
    return {"missing": False, "slots": pool.slots, "used": pool.used, "states": dict(pool.states)}


def _waiting(waiting: list[Waiting], pool: AirflowPool | None, readable: Collection[str] | None) -> dict[str, Any]:
    """``hidden`` counts those of DAGs that may not be told, ``more`` those that would be too long a list."""
    told = [one for one in waiting if readable is None or one.dag_id in readable]
    told.sort(key=lambda one: one.since or 0)
    return {
        "waiting": [asdict(one) | {"why": one.why or _why(one, pool)} for one in told[:_WAITING]],
        "more": max(0, len(told) - _WAITING),
        "hidden": len(waiting) - len(told),
    }


def _why(one: Waiting, pool: AirflowPool | None) -> str:
    """What a task waits for that has no pod yet, as far as its pool tells; the task's own page tells more."""
    if one.state == "queued":
        return "Waits for a process, or a worker pod, that begins it."
    if pool is not None and pool.slots is not None and pool.used >= pool.slots:
        return f"Waits for a slot: {pool.used} of {pool.slots} are taken."
    return "Waits for a limit of its DAG, for more slots than are free, or for the scheduler's next look."


def _nodes(
    pool: NodePool, nodes: Sequence[Mapping[str, Any]] | None, pods: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The pool's nodes; ``note`` says what is wrong with them all, or that there is none."""
    if nodes is None:
        return {"nodes": None, "without_node": False, "note": ""}
    found = capacity(pool, nodes)
    of_pool = [_node(one, found.unready, pods) for one in nodes if one["metadata"]["name"] in found.nodes]
    told = found.problem or not found.ready
    return {"nodes": of_pool, "without_node": not of_pool, "note": found.sentence if told else ""}


def _node(node: Mapping[str, Any], unready: Mapping[str, str], pods: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    name = node["metadata"]["name"]
    mine = [pod for pod in pods if pod["spec"].get("nodeName") == name]
    size = allocatable(node)
    requested: Counter = Counter()
    for pod in mine:
        requested.update(asked(pod))
    free = None
    if "requested" in node:
        taken = amounts(node["requested"])
        free = {key: max(amount - taken.get(key, Decimal(0)), Decimal(0)) for key, amount in size.items()}
    return {
        "name": name,
        "state": unready.get(name, "ready"),
        "size": _phrases(size),
        "free": None if free is None else _phrases(free, shown=size),
        "requested": _phrases({key: amount for key, amount in requested.items() if key in size}),
        "pods": len(mine),
    }


def _phrases(of: Amounts, shown: Amounts | None = None) -> list[str]:
    """Amounts in words. ``shown``: those whose names are shown though nothing may be left; None: ``of``."""
    shown = of if shown is None else shown
    names = [name for name in _FIRST if name in shown]
    names += sorted(
        name
        for name in shown
        if name not in (*_FIRST, *_LEFT_OUT) and shown[name] and not name.startswith("hugepages-")
    )
    return [phrase(name, of[name]) for name in names]


def _pending(
    pods: Iterable[Mapping[str, Any]],
    nodes: Sequence[Mapping[str, Any]],
    workloads: Mapping[str, Mapping[str, Any]],
    now: float,
) -> Iterable[Waiting]:
    """Task pods that do not run yet, each with what its verdict says."""
    pods = list(pods)
    crowd = Crowd(pods)
    for pod in pods:
        if pod_status.phase(pod) != "Pending" or (owner := owner_of(pod)) is None:
            continue
        try:
            around = {} if pod["spec"].get("nodeName") else {"nodes": nodes, "crowd": crowd}
            workload = workloads.get(pod["metadata"]["uid"])
            verdict = diagnose(pod, base=owner.base, workload=workload, now=now, **around)
        except ValueError:
            verdict = None
        yield Waiting(
            dag_id=owner.dag_id,
            task_id=owner.task_id,
            run_id=owner.run_id,
            map_index=owner.map_index,
            state="pod pending",
            pool=(pod["metadata"].get("annotations") or {}).get(POOL_ANNOTATION, DEFAULT_POOL),
            since=pod_status.created_at(pod),
            why=verdict.sentence if verdict else "Its pod is starting.",
        )
