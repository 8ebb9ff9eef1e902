from types import SimpleNamespace

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey

from airflow_platform import leaked_slots, metrics

ONE, OTHER = (TaskInstanceKey("dag", name, "run", 1, -1) for name in ("one", "other"))


@pytest.fixture
def looks(monkeypatch):
    """Look at an executor whose keys are these, of which none of ``stray`` is an executor's to run; what is told."""
    told, looks = [], leaked_slots._Looks()
    monkeypatch.setattr(leaked_slots, "PERIOD", 0)
    monkeypatch.setattr(leaked_slots.stats, "gauge", lambda name, value, tags: told.append((name, value, tags)))
    executor = SimpleNamespace(running=set())

    def look(*stray):
        monkeypatch.setattr(leaked_slots, "unheld", lambda _: set(stray))
        looks.look([executor])
        name, value, tags = told.pop()
        assert name == metrics.LEAKED
        assert tags == {"executor_class_name": "SimpleNamespace", "pod": metrics.pod()}
        return value

    return look


def test_a_slot_is_leaked_that_is_held_for_nothing_at_two_looks(looks):
    assert looks(ONE) == 0
    assert looks(ONE, OTHER) == 1
    assert looks(OTHER) == 1
    assert looks() == 0


def test_an_end_that_is_yet_to_be_heard_of_is_no_leak(looks):
    assert [looks(ONE), looks(OTHER), looks(ONE)] == [0, 0, 0]


def test_looks_are_a_minute_apart(monkeypatch):
    looks, asked = leaked_slots._Looks(), []
    monkeypatch.setattr(leaked_slots, "unheld", lambda keys: asked.append(keys) or set())
    for _ in range(3):
        looks.look([SimpleNamespace(running=set())])
    assert len(asked) == 1


def test_the_scheduler_looks_where_it_sends_the_metrics_of_pools(monkeypatch):
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    seen = []
    monkeypatch.setattr(SchedulerJobRunner, "_emit_pool_metrics", SchedulerJobRunner._emit_pool_metrics)
    monkeypatch.setattr(leaked_slots, "_EMIT", lambda self, **_: seen.append("pools"))
    monkeypatch.setattr(leaked_slots._Looks, "look", lambda self, executors: seen.append(executors))
    leaked_slots.watch()
    SchedulerJobRunner._emit_pool_metrics(SimpleNamespace(executors=["executor"]))
    assert seen == ["pools", ["executor"]]


def test_nothing_is_asked_of_the_database_where_nothing_runs(monkeypatch):
    monkeypatch.setattr(leaked_slots, "create_session", None)
    assert leaked_slots.unheld([]) == set()
    # The key of another workload, such as a callback.
    assert leaked_slots.unheld(["4f1c"]) == set()
