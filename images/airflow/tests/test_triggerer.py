import sys
from types import SimpleNamespace

import pytest
from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
from airflow.models import trigger as models
from airflow.triggers.base import BaseTaskEndEvent, TaskSuccessEvent, TriggerEvent

from airflow_platform import dag_processor, launcher, trigger, triggerer


@pytest.fixture(autouse=True)
def _as_before():
    yield
    models.handle_event_submit.register(BaseTaskEndEvent, triggerer._SUBMIT)


@pytest.fixture
def sent(monkeypatch):
    """Callbacks that were requested of the DAG processor."""
    sent = []
    monkeypatch.setattr(DatabaseCallbackSink, "send", lambda self, callback, session: sent.append(callback))
    monkeypatch.setattr("airflow.callbacks.callback_requests.TaskCallbackRequest", lambda **given: given["ti"])
    return sent


def submit(event, classpath):
    """The end that a trigger of this class has fired; the task's state then."""
    instance = SimpleNamespace(
        trigger=SimpleNamespace(classpath=classpath),
        trigger_id=7,
        state="deferred",
        next_kwargs={},
        dag_model=SimpleNamespace(relative_fileloc="dag.py", bundle_name="dags"),
        dag_run=SimpleNamespace(bundle_version=None),
    )
    instance.set_state = lambda state, session: setattr(instance, "state", state)
    models.handle_event_submit(event, task_instance=instance, session=SimpleNamespace(flush=lambda: None))
    assert instance.trigger_id is None
    return instance.state


def test_airflow_requests_a_callback_for_every_end(sent):
    assert submit(TaskSuccessEvent(), triggerer.POD_TRIGGER) == "success"
    assert sent


def test_none_is_requested_for_what_a_pod_trigger_ends(sent):
    triggerer.quiet_ends()
    triggerer.quiet_ends()
    assert submit(TaskSuccessEvent(), triggerer.POD_TRIGGER) == "success"
    assert not sent


def test_other_triggers_keep_theirs(sent):
    triggerer.quiet_ends()
    submit(TaskSuccessEvent(), triggerer.POD_TRIGGER)
    assert submit(TaskSuccessEvent(), "airflow.providers.standard.triggers.temporal.DateTimeTrigger") == "success"
    assert sent


def test_a_task_that_resumes_is_scheduled(sent):
    triggerer.quiet_ends()
    assert submit(TriggerEvent({"status": "success"}), triggerer.POD_TRIGGER) == "scheduled"


def test_the_class_is_that_of_the_pod_trigger():
    owner = trigger.PodTrigger
    assert f"{owner.__module__}.{owner.__qualname__}" == triggerer.POD_TRIGGER


@pytest.mark.parametrize(("component", "command"), [(triggerer, "triggerer"), (dag_processor, "dag-processor")])
def test_airflows_own_command_runs_with_what_was_given(monkeypatch, write_config, component, command):
    write_config("launcher: {preload: [team]}")
    ran, imported = [], []
    monkeypatch.setattr(launcher, "preload", imported.extend)
    monkeypatch.setattr(component.gc, "freeze", lambda: None)
    monkeypatch.setattr(triggerer, "quiet_ends", lambda: None)
    monkeypatch.setattr("airflow.__main__.main", lambda: ran.append(sys.argv))
    monkeypatch.setattr(sys, "argv", ["anything", "--verbose"])
    component.main()
    assert ran == [["airflow", command, "--verbose"]]
    assert imported == (["team"] if component is dag_processor else [])
