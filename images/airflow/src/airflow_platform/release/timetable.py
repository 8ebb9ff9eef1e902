"""The schedule of a released DAG: its own, within the terms for which its version is scheduled.

Bounds by ``start_date`` and ``end_date`` would not do: Airflow starts no task of a run that lies outside of them, and
runs of a version go on, and can be cleared, when another is scheduled.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import coerce_to_core_timetable, encode_timetable
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from airflow.timetables.simple import ContinuousTimetable, NullTimetable
from pendulum import instance

from airflow_platform.release.plan import NOT_SCHEDULED, RETIRED_ALLOWS, UP_TO, RunInfo, Term


class ReleasedTimetable(Timetable):
    """``timetable`` within ``terms``.

    ``latest`` is the DAG's last date: by it, a look for the next run is told from that of a backfill, which may be of
    any time.
    """

    def __init__(self, timetable: Timetable, terms: Iterable[Term] = (), latest: datetime | None = None) -> None:
        self.timetable, self.terms, self.latest = timetable, tuple(terms), latest
        for name in ("description", "periodic", "can_be_scheduled", "run_ordering", "active_runs_limit"):
            setattr(self, name, getattr(timetable, name))

    @property
    def summary(self) -> str:
        """For the UI: the schedule, or that there is none."""
        if not self.terms:
            return NOT_SCHEDULED
        until = self.terms[-1].until
        return f"{self.timetable.summary}{UP_TO}{until.run_after:%Y-%m-%d %H:%M}" if until else self.timetable.summary

    def serialize(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "timetable": encode_timetable(self.timetable),
            "terms": [{name: info and info.as_dict() for name, info in vars(term).items()} for term in self.terms],
            "latest": self.latest and self.latest.isoformat(),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ReleasedTimetable:
        """From JSON."""
        terms = [Term(**{name: info and RunInfo.of(info) for name, info in term.items()}) for term in data["terms"]]
        latest = data["latest"] and datetime.fromisoformat(data["latest"])
        return cls(decode_timetable(data["timetable"]), terms, latest)

    def validate(self) -> None:
        """As the schedule's own."""
        self.timetable.validate()

    def infer_manual_data_interval(self, *, run_after: Any) -> DataInterval:
        """As the schedule's own."""
        return self.timetable.infer_manual_data_interval(run_after=run_after)

    def generate_run_id(self, **run: Any) -> str:
        """As the schedule's own."""
        return self.timetable.generate_run_id(**run)

    def next_dagrun_info(self, **asked: Any) -> DagRunInfo | None:
        """As the schedule's own, whichever version is scheduled: for tests. Airflow asks `next_dagrun_info_v2`."""
        return self.timetable.next_dagrun_info(**asked)

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next run of the schedule that is in one of the terms."""
        if restriction.latest != self.latest and restriction.latest is not None:
            return self.timetable.next_dagrun_info_v2(last_dagrun_info=last_dagrun_info, restriction=restriction)
        for term in self.terms:
            after = later(last_dagrun_info, term.after)
            found = self.timetable.next_dagrun_info_v2(last_dagrun_info=after, restriction=restriction)
            if found and (term.until is None or found.run_after <= term.until.run_after):
                return found
        return None


def later(last: DagRunInfo | None, after: RunInfo | None) -> DagRunInfo | None:
    """The later one of two runs."""
    if after is None or (last and last.run_after >= after.run_after):
        return last
    return DagRunInfo.interval(instance(after.start), instance(after.end))._replace(run_after=instance(after.run_after))


class Unscheduled(NullTimetable):
    """Of a version that is not scheduled, whose DAG goes by assets, or begins again as soon as it has ended."""

    @property
    def summary(self) -> str:
        """For the UI, and for whoever waits until Airflow has read it."""
        return NOT_SCHEDULED


def put(dag: Any, terms: list[Term]) -> None:
    """Give a DAG the schedule within these terms; one that does not go by time, its own in the last, or none."""
    own = coerce_to_core_timetable(dag.timetable)
    if by_time(own):
        dag.timetable = ReleasedTimetable(own, terms, _latest(dag))
    elif not isinstance(own, NullTimetable) and (not terms or terms[-1].until):
        dag.timetable = Unscheduled()


def by_time(timetable: Timetable) -> bool:
    """Whether its runs are due at times that are known before, and not by assets, or when the one before has ended."""
    if isinstance(timetable, ContinuousTimetable):
        return False
    return timetable.can_be_scheduled and not timetable.asset_condition and not timetable.partitioned


def refuse_runs(dag: Any) -> None:
    """Let nobody begin a run: Airflow allows those of the schedule alone, which has none."""
    from airflow.sdk.api.datamodels._generated import DagRunType

    # The DAG's own check is for authors: it wants runs by hand of a DAG without a schedule.
    object.__setattr__(dag, "allowed_run_types", frozenset(map(DagRunType, RETIRED_ALLOWS)))


def _latest(dag: Any) -> datetime | None:
    """As the scheduler restricts a DAG (airflow.serialization.definitions.dag, ``_time_restriction``)."""
    ends = [task.end_date for task in dag.tasks if task.end_date]
    if len(ends) < len(dag.tasks):
        return dag.end_date
    return max([*ends, *([dag.end_date] if dag.end_date else [])], default=None)
