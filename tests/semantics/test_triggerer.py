"""A triggerer that goes away, and comes back as another pod: no task is the worse for it, and no log."""

import re
import time

import pytest
from local.cluster import settings
from local.cluster.console import wait_for
from tests.faults import components

TRIGGERER = f"deployment/{settings.RELEASE}-triggerer"
#: Seconds that the triggerer is away: longer than the task's pod may take to start.
AWAY = 40


@pytest.fixture(scope="module")
def followed_by_two(start, airflow):
    """The run of a task that had no triggerer for a while; the lines that its log had before that."""
    run = start("semantics_triggerer_away")
    run.running_pod("runs_on")

    def read():
        lines = _numbers(airflow.log(run.instance("runs_on")))
        return lines if len(lines) >= 3 else None

    before = wait_for("three lines in the log of a task that runs", read, seconds=60, every=0.5)
    with components.scaled(settings.NAMESPACE, TRIGGERER, 0):
        gone = time.monotonic()
        wait_for("the end of the outage", lambda: time.monotonic() - gone >= AWAY, seconds=AWAY + 10)
    return run, before


def _numbers(lines):
    return [int(match[1]) for line in lines if (match := re.match(r"\[base\] line (\d+)$", line))]


def test_40018_a_pod_that_runs_is_not_late_where_its_triggerer_was(followed_by_two):
    run, _ = followed_by_two
    assert run.ended_task("runs_on")["state"] == "success"
    assert len(run.pods("runs_on")) == len(run.tries("runs_on")) == 1


def test_44683_a_log_can_be_read_while_the_task_runs_and_when_its_triggerers_are_gone(followed_by_two, airflow):
    run, before = followed_by_two
    assert before == list(range(1, len(before) + 1))
    run.ended_task("runs_on")
    run.log("runs_on")
    components.kill("triggerer", whole_pod=True)
    assert _numbers(airflow.log(run.instance("runs_on"))) == list(range(1, 101))
