"""How long a scheduler sleeps that has found nothing to queue."""

import pytest
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

from airflow_platform import pace


@pytest.fixture
def scheduler(monkeypatch):
    """One that is there before the platform changes it, as the launcher finds it."""
    monkeypatch.setattr(pace, "_last_move", float("-inf"))
    found = SchedulerJobRunner.__new__(SchedulerJobRunner)
    found._scheduler_idle_sleep_time = 1.0
    pace.look_soon()
    pace.look_soon()
    yield found
    del SchedulerJobRunner._scheduler_idle_sleep_time


def test_it_sleeps_as_configured_while_nothing_moves(scheduler):
    assert scheduler._scheduler_idle_sleep_time == 1.0


def test_it_sleeps_less_while_tasks_move(scheduler, monkeypatch):
    pace.moved()
    assert scheduler._scheduler_idle_sleep_time == pace.SOON
    monkeypatch.setattr(pace, "BUSY", 0)
    assert scheduler._scheduler_idle_sleep_time == 1.0


def test_it_never_sleeps_longer_than_configured(scheduler):
    scheduler._scheduler_idle_sleep_time = 0.1
    pace.moved()
    assert scheduler._scheduler_idle_sleep_time == 0.1
