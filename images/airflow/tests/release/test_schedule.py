"""A schedule moves from one version to another as if both were one DAG: by Airflow's own timetables and next runs."""

from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
import time_machine
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo, DataInterval
from airflow.timetables.events import EventsTimetable
from airflow.timetables.simple import NullTimetable

from airflow_platform.release import timetable
from airflow_platform.release.commands import schedule
from airflow_platform.release.handover import last_runs
from airflow_platform.release.plan import Plan, RunInfo

MARGIN = timedelta(seconds=schedule.MARGIN)
START = datetime(2026, 3, 1, tzinfo=UTC)
SCHEDULES = {
    "daily": CronDataIntervalTimetable("@daily", timezone="UTC"),
    "hourly in Berlin": CronDataIntervalTimetable("0 * * * *", timezone="Europe/Berlin"),
    "each minute": CronDataIntervalTimetable("* * * * *", timezone="UTC"),
    "weekdays": CronTriggerTimetable("30 6 * * 1-5", timezone="UTC"),
    "trigger with an interval": CronTriggerTimetable("0 6 * * *", timezone="UTC", interval=timedelta(days=1)),
    "delta": DeltaDataIntervalTimetable(timedelta(minutes=37)),
    "delta trigger": DeltaTriggerTimetable(timedelta(minutes=37)),
    "several": MultipleCronTriggerTimetable("0 6 * * *", "30 18 * * *", timezone="UTC"),
    "events": EventsTimetable([START + timedelta(hours=5 * number) for number in range(60)]),
}


class Platform:
    """What Airflow does with the versions of a DAG, in simulated time.

    It keeps the next run of each, computed when the version was parsed and when a run of it was created; a run that is
    due is created from what it keeps. A version goes by the plan as it was when it was parsed.
    """

    def __init__(self, when, *, catchup=True):
        self.schedule, self.catchup = when, catchup
        self.plan, self.runs, self.dags, self.next = Plan(source="t/d"), [], {}, {}

    def dag(self, version):
        dag = DAG("d", schedule=self.schedule, start_date=START, catchup=self.catchup)
        dag.dag_id = f"d__{version.replace('.', '_')}"
        timetable.put(dag, self.plan.terms(version, "d"))
        return dag

    def parse(self, version):
        self.dags[version] = DagSerialization.from_dict(DagSerialization.to_dict(self.dag(version)))
        last = next((info for who, info in reversed(self.runs) if who == version), None)
        self.next[version] = self.dags[version].next_dagrun_info(last_automated_run_info=last)
        return self.dags[version]

    def promote(self, version, now):
        before, after = self.plan.scheduled, {}
        if before:
            last = next((info for who, info in reversed(self.runs) if who == before), None)
            last = last and RunInfo(last.run_after, last.data_interval.start, last.data_interval.end)
            after = last_runs([("d", self.dag(before))], {"d": last}, now + MARGIN)
        self.plan = Plan.read(self.plan.turn_to(version, after).render(), "d.yaml")

    def go(self, until, *events):
        """Up to ``until``; ``events`` are (time, what is done)."""
        left = sorted(events, key=lambda event: event[0])
        while True:
            due = [(info.run_after, version) for version, info in self.next.items() if info]
            now = min([*(when for when, _ in due), *(when for when, _ in left), until])
            if now >= until:
                return
            with time_machine.travel(now, tick=False):
                if left and left[0][0] <= now:
                    left.pop(0)[1]()
                    continue
                version = min(due)[1]
                self.runs.append((version, self.next[version]))
                self.next[version] = self.dags[version].next_dagrun_info(last_automated_run_info=self.next[version])


@pytest.mark.parametrize("catchup", [False, True], ids=["no catchup", "catchup"])
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("late", [0, 60, schedule.MARGIN - 2])
def test_no_interval_is_skipped_and_none_runs_twice(name, catchup, late):
    began = START + (timedelta(hours=1) if name == "each minute" else timedelta(days=1))
    until = began + (timedelta(minutes=20) if name == "each minute" else timedelta(days=5))
    # Seconds before a full hour, and within one.
    turns = [began + timedelta(minutes=5, seconds=59), began + timedelta(minutes=12, seconds=3)]
    if name != "each minute":
        turns = [began + timedelta(days=1, seconds=-30), began + timedelta(days=3, minutes=31)]

    def run(*turns):
        platform = Platform(SCHEDULES[name], catchup=catchup)
        with time_machine.travel(began, tick=False):
            platform.promote("1.0.0", began)
        events = [(began, lambda: platform.parse("1.0.0"))]
        for version, at in zip(("2.0.0", "1.0.0"), turns, strict=bool(turns)):
            events.append((at, lambda version=version, at=at: platform.promote(version, at)))
            # One has read the plan at once, the other nearly as late as can be.
            events.append((at + timedelta(seconds=1), lambda version=version: platform.parse(version)))
            other = "1.0.0" if version == "2.0.0" else "2.0.0"
            events.append((at + timedelta(seconds=late + 1), lambda other=other: platform.parse(other)))
        platform.go(until, *events)
        return platform.runs

    alone = [info for _, info in run()]
    handed = run(*turns)
    assert sorted(info.run_after for _, info in handed) == [info.run_after for info in alone]
    assert {info.data_interval for _, info in handed} == {info.data_interval for info in alone}
    who = [version for version, _ in sorted(handed, key=lambda one: one[1].run_after)]
    # Each has its part, and not every other run.
    assert [one for one, _ in groupby(who)] == ["1.0.0", "2.0.0", "1.0.0"]


def test_a_version_that_is_not_promoted_has_no_runs_but_those_of_a_backfill():
    dag = Platform(SCHEDULES["daily"]).parse("1.0.0")
    assert dag.next_dagrun_info(last_automated_run_info=None) is None
    assert dag.timetable.summary == "not scheduled"
    days = list(dag.iter_dagrun_infos_between(START, START + timedelta(days=2)))
    assert [info.logical_date for info in days] == [START + timedelta(days=number) for number in range(3)]


def test_a_run_by_hand_has_the_interval_of_the_schedule():
    dag = Platform(SCHEDULES["daily"]).parse("1.0.0")
    interval = dag.timetable.infer_manual_data_interval(run_after=START + timedelta(days=3, hours=5))
    assert interval == DataInterval(START + timedelta(days=2), START + timedelta(days=3))


def test_the_ui_says_until_when_a_version_is_scheduled():
    platform = Platform(SCHEDULES["daily"])
    platform.promote("1.0.0", START)
    assert platform.parse("1.0.0").timetable.summary == "0 0 * * *"
    platform.runs.append(("1.0.0", DagRunInfo.interval(START, START + timedelta(days=1))))
    with time_machine.travel(START + timedelta(days=1, hours=3), tick=False):
        platform.promote("2.0.0", START + timedelta(days=1, hours=3))
    assert platform.parse("1.0.0").timetable.summary == "0 0 * * * up to 2026-03-02 00:00"


def test_a_version_takes_over_where_the_one_before_has_another_schedule():
    platform = Platform(SCHEDULES["daily"])
    platform.promote("1.0.0", START)
    platform.runs.append(("1.0.0", DagRunInfo.interval(START, START + timedelta(days=1))))
    now = START + timedelta(days=1, hours=3)
    with time_machine.travel(now, tick=False):
        platform.promote("2.0.0", now)
    platform.schedule = CronDataIntervalTimetable("0 */6 * * *", timezone="UTC")
    following = platform.parse("2.0.0").next_dagrun_info(last_automated_run_info=None)
    # As of a DAG whose schedule changes in place.
    assert following.data_interval == DataInterval(START + timedelta(days=1), START + timedelta(days=1, hours=6))


def test_after_a_time_without_a_schedule_it_goes_on_where_it_was():
    platform = Platform(SCHEDULES["daily"])
    platform.promote("1.0.0", START)
    platform.runs.append(("1.0.0", DagRunInfo.interval(START, START + timedelta(days=1))))
    now = START + timedelta(days=1, hours=3)
    with time_machine.travel(now, tick=False):
        platform.promote(None, now)
        assert platform.parse("1.0.0").timetable.summary == "0 0 * * * up to 2026-03-02 00:00"
        assert platform.next["1.0.0"] is None
        platform.promote("2.0.0", now)
        platform.parse("2.0.0")
    assert platform.next["2.0.0"].logical_date == START + timedelta(days=1)


def test_what_goes_by_assets_has_its_schedule_in_its_turn_alone():
    for when in (
        [Asset("s3://a")],
        AssetOrTimeSchedule(timetable=CronTriggerTimetable("@daily", timezone="UTC"), assets=[Asset("s3://a")]),
    ):
        platform = Platform(when)
        assert isinstance(platform.dag("1.0.0").timetable, NullTimetable)
        # By which `promote` sees that Airflow has not read it yet.
        assert platform.parse("1.0.0").timetable.summary == "not scheduled"
        platform.promote("1.0.0", START)
        assert platform.dag("1.0.0").timetable.asset_condition
        platform.promote("2.0.0", START)
        assert isinstance(platform.dag("1.0.0").timetable, NullTimetable)
        assert platform.dag("2.0.0").timetable.asset_condition
        assert platform.parse("2.0.0").timetable.summary != "not scheduled"


def test_the_last_date_of_a_dag_holds():
    dag = DAG("d", schedule=SCHEDULES["daily"], start_date=START, end_date=START + timedelta(days=1), catchup=True)
    timetable.put(dag, Plan(source="t/d").turn_to("1.0.0", {}).terms("1.0.0", "d"))
    dag = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    infos = [dag.next_dagrun_info(last_automated_run_info=None)]
    while infos[-1]:
        infos.append(dag.next_dagrun_info(last_automated_run_info=infos[-1]))
    assert [info.logical_date for info in infos[:-1]] == [START, START + timedelta(days=1)]
