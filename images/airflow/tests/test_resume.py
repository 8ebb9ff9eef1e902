from types import SimpleNamespace

import pytest

from airflow_platform import resume
from airflow_platform.celery_launcher import CeleryLauncher
from airflow_platform.launcher import LocalLauncher


@pytest.fixture
def session():
    """A session of one task instance, whose id is 1."""
    instance = SimpleNamespace(priority_weight=-5)
    return SimpleNamespace(get=lambda model, key: instance if key == 1 else None, instance=instance)


def workload(key):
    return SimpleNamespace(ti=SimpleNamespace(id=key))


def test_a_weight_is_raised_once_and_taken_back(session):
    instance = session.instance
    resume.put_first(instance)
    raised = instance.priority_weight
    assert 1_000_000 < raised < 2**31
    resume.put_first(instance)
    assert instance.priority_weight == raised
    resume.put_back(workload(1), session)
    assert instance.priority_weight == -5


@pytest.mark.parametrize("weight", [600_000_000, -600_000_000, 2**31 - 1])
def test_a_weight_that_cannot_be_raised_stays_what_it_is(session, weight):
    session.instance.priority_weight = weight
    resume.put_first(session.instance)
    resume.put_back(workload(1), session)
    assert session.instance.priority_weight == weight


def test_other_workloads_are_left_alone(session):
    for one in (workload(1), workload(2), SimpleNamespace(key="a callback")):
        resume.put_back(one, session)
    assert session.instance.priority_weight == -5


@pytest.mark.parametrize("launcher", [LocalLauncher, CeleryLauncher])
def test_both_launchers_take_it_back_where_they_queue(session, launcher, monkeypatch):
    queued = []
    monkeypatch.setattr(
        "airflow.executors.base_executor.BaseExecutor.queue_workload",
        lambda self, workload, session: queued.append(workload),
    )
    resume.put_first(session.instance)
    launcher.queue_workload(launcher.__new__(launcher), workload(1), session)
    assert session.instance.priority_weight == -5
    assert len(queued) == 1
