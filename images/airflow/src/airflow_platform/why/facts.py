"""What is known of one task instance and of what it depends on: plain data, as `airflow_platform.why.answer` takes it.

Times are in seconds since the epoch. What is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Process:
    """One kind of Airflow's processes: whether any of them is alive, and when the last heartbeat of all was."""

    alive: bool
    heartbeat: float | None = None


@dataclass(frozen=True, kw_only=True)
class Dag:
    """A DAG.

    ``stale``: its file was parsed, and the DAG was not in it. ``import_error``: the last line of what its file raises.
    ``next_run``: when its next run begins by itself. ``schedule``: its timetable, in Airflow's words; empty: none.
    """

    id: str
    file: str = ""
    paused: bool = False
    stale: bool = False
    import_error: str | None = None
    max_active_tasks: int = 16
    next_run: float | None = None
    schedule: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A DAG run.

    ``max_active`` is how many runs may run at a time of its DAG, or of its ``backfill`` where it is of one; ``running``
    names those that do. ``active_tasks`` are the run's tasks that count for max_active_tasks.
    """

    id: str
    state: str
    run_after: float
    ended: float | None = None
    backfill: int | None = None
    backfill_paused: bool = False
    max_active: int = 16
    running: Sequence[str] = ()
    active_tasks: int = 0


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What a deferred task waits for.

    ``kind`` is "pod" (the platform's trigger, or the stock operator's), "again" (the launch is tried again, ``reason``
    says why, ``quota`` names the one that is full, if it is that, and ``before`` counts tasks of the pool that wait in
    the same way and go first) or "other". ``taken``: a triggerer that is alive runs it.
    """

    name: str
    kind: Literal["pod", "again", "other"] = "other"
    reason: str = ""
    quota: str = ""
    before: int = 0
    created: float | None = None
    taken: bool = True
    times_out: float | None = None


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A task instance.

    ``since`` is when it came into its state; ``next_try`` when a try follows, or a sensor looks again.
    ``active_in_dag`` and ``active_in_run`` count the task's instances at work, for the two limits beside them.
    """

    state: str | None = None
    map_index: int = -1
    try_number: int = 0
    tries: int = 1
    pool: str = "default_pool"
    pool_slots: int = 1
    since: float | None = None
    started: float | None = None
    ended: float | None = None
    heartbeat: float | None = None
    hostname: str = ""
    next_try: float | None = None
    trigger: Trigger | None = None
    max_active_in_dag: int | None = None
    active_in_dag: int = 0
    max_active_in_run: int | None = None
    active_in_run: int = 0


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A task before this one, in the same run: how many of its instances have which state."""

    task_id: str
    states: Mapping[str | None, int]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """An Airflow pool. ``slots`` is None where it has no bound.

    ``holders``: who has the slots that are taken, as (DAG, task, slots), the most first. Of DAGs that whoever asks may
    not read, the names are empty. ``ahead`` counts tasks that wait for the same pool and go first.
    """

    name: str
    slots: int | None
    used: int = 0
    holders: Sequence[tuple[str, str, int]] = ()
    ahead: int = 0


@dataclass(frozen=True, kw_only=True)
class Executor:
    """What runs the task.

    ``room`` is how many tasks it takes of all schedulers, queued or running; ``slots`` how many processes the launcher
    has. ``before`` counts tasks that were queued earlier.
    """

    name: str
    kind: Literal["local", "celery", "kubernetes", "other"]
    room: int
    slots: int | None = None
    queued: int = 0
    running: int = 0
    before: int = 0


@dataclass(frozen=True, kw_only=True)
class Pod:
    """The task's pod, or its worker pod, as Kubernetes has it now.

    ``verdict`` is `airflow_platform.diagnosis.Verdict` as JSON, ``events`` are the API's. ``unreadable``: why nothing
    is known of it.
    """

    name: str
    namespace: str
    worker: bool = False
    phase: str = ""
    node: str = ""
    since: float | None = None
    gone: bool = False
    unreadable: str = ""
    verdict: Mapping[str, Any] | None = None
    events: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class End:
    """How the last try ended.

    ``evidence`` is what lies beside its log; ``error`` the last error in the log; ``marked_by`` the user who set the
    state by hand, ``marked_run``: that of the whole run; ``scheduler_said`` what the scheduler noted of it.
    """

    evidence: Mapping[str, Any] | None = None
    error: str = ""
    marked_by: str = ""
    marked_run: bool = False
    scheduler_said: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All of it.

    ``instance`` is None where the run has none of the task. ``unmet`` are conditions in Airflow's own words that are
    not among the others here; ``counts`` the states of all instances of a mapped task; ``expands``: the task is
    expanded over a list, or a group is that it is in.
    """

    now: float
    dag: Dag
    task_id: str
    run: Run | None = None
    instance: Instance | None = None
    counts: Mapping[str | None, int] | None = None
    expands: bool = False
    trigger_rule: str = "all_success"
    upstream: Sequence[Upstream] = ()
    failed_before: Sequence[str] = ()
    unmet: Sequence[str] = ()
    pool: Pool | None = None
    known_pools: Sequence[str] = ()
    executor: Executor | None = None
    pod: Pod | None = None
    end: End = End()
    scheduler: Process = Process(alive=True)
    triggerer: Process = Process(alive=True)
    dag_processor: Process = Process(alive=True)
    heartbeat_timeout: float = 300
