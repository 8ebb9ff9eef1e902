"""Which run is the last one that a version does before another takes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_platform.command_error import CommandError
from airflow_platform.release.plan import RunInfo

#: Runs that one version may have to make up for before another can take over.
_MOST = 10_000


def last_runs(
    dags: Iterable[tuple[str, Any]],
    runs: Mapping[str, RunInfo | None],
    settled: datetime,
) -> dict[str, RunInfo | None]:
    """For each DAG of the version that is scheduled its last run, by the DAG's id without the version.

    That is its latest run, and those after it that are due before ``settled``, when all of Airflow knows of the
    change. None: it has had no run, and none is due; or it does not go by time.

    Args:
        dags: ids, and the DAGs as they are parsed by the plan that is to change.
        runs: the latest run of the schedule that each has had, by id.
        settled: until when the version that is scheduled may go on as it is.

    Raises:
        CommandError: it has too much to make up for.
    """
    return {name: _last(dag, runs.get(name), settled) for name, dag in dags}


def _last(dag: Any, run: RunInfo | None, settled: datetime) -> RunInfo | None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import DagRunInfo

    from airflow_platform.release.timetable import ReleasedTimetable, later

    if not isinstance(dag.timetable, ReleasedTimetable) or not dag.timetable.terms:
        return run
    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    last: DagRunInfo | None = later(later(None, dag.timetable.terms[-1].after), run)
    for _ in range(_MOST):
        following = scheduled.next_dagrun_info(last_automated_run_info=last)
        if following is None or following.run_after >= settled:
            return last and RunInfo(last.run_after, last.data_interval.start, last.data_interval.end)
        last = following
    raise CommandError(
        f"{dag.dag_id} is more than {_MOST} runs behind its schedule: let it catch up before another version takes over"
    )
