import asyncio
import asyncio.sslproto
import gc
import ssl
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from unittest.mock import AsyncMock

import anyio
import pytest
from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
from airflow.jobs import triggerer_job_runner
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models import trigger as models
from airflow.triggers.base import BaseTaskEndEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_platform import config, dag_processor, finisher, launcher, trigger, trigger_supervisor, triggerer, waiting


@pytest.fixture(autouse=True)
def _as_before():
    yield
    models.handle_event_submit.register(BaseTaskEndEvent, triggerer._END)
    models.handle_event_submit.register(TriggerEvent, triggerer._RESUME)


@pytest.fixture
def sent(monkeypatch):
    """Callbacks that were requested of the DAG processor."""
    sent = []
    monkeypatch.setattr(DatabaseCallbackSink, "send", lambda self, callback, session: sent.append(callback))
    monkeypatch.setattr("airflow.callbacks.callback_requests.TaskCallbackRequest", lambda **given: given["ti"])
    return sent


BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def submit(event, classpath, stored=None):
    """The end that a trigger of this class has fired; the task's state then."""
    instance = SimpleNamespace(
        trigger=SimpleNamespace(classpath=classpath),
        trigger_id=7,
        state="deferred",
        priority_weight=3,
        next_kwargs={},
        dag_model=SimpleNamespace(relative_fileloc="dag.py", bundle_name="dags"),
        dag_run=SimpleNamespace(bundle_version=None),
        dag_id="dag", task_id="task", run_id="run", map_index=-1, try_number=2, operator="KubernetesPodOperator",
        stats_tags={"dag_id": "dag", "task_id": "task"}, start_date=BEGAN, end_date=BEGAN + timedelta(seconds=90),
    )  # fmt: skip
    instance.set_state = lambda state, session: setattr(instance, "state", state)
    session = SimpleNamespace(flush=lambda: None, add=[].append if stored is None else stored.append)
    models.handle_event_submit(event, task_instance=instance, session=session)
    assert instance.trigger_id is None
    return instance


def test_airflow_requests_a_callback_for_every_end(sent):
    assert submit(TaskSuccessEvent(), triggerer.POD_TRIGGER).state == "success"
    assert sent


def test_none_is_requested_for_what_a_pod_trigger_ends(sent):
    triggerer.change_events()
    triggerer.change_events()
    assert submit(TaskSuccessEvent(), triggerer.POD_TRIGGER).state == "success"
    assert not sent


@pytest.mark.parametrize(("event", "counted"), [(TaskSuccessEvent(), "successes"), (TaskSkippedEvent(), None)])
def test_an_end_is_counted_and_noted_as_that_of_a_task_with_a_process(sent, monkeypatch, event, counted):
    told, stored = [], []
    monkeypatch.setattr(triggerer.stats, "incr", lambda name, tags: told.append((name, tags)))
    monkeypatch.setattr(triggerer.stats, "timing", lambda name, dt, tags: told.append((name, dt, tags)))
    triggerer.change_events()
    state, tags = event.task_instance_state.value, {"dag_id": "dag", "task_id": "task"}
    submit(event, triggerer.POD_TRIGGER, stored)
    by_kind = [
        (f"operator_{counted}", tags | {"operator_name": "KubernetesPodOperator"}),
        (f"ti_{counted}", tags),
    ]
    assert told == [
        ("ti.finish", tags | {"state": state}),
        *(by_kind if counted else []),
        ("task.duration", 90_000.0, tags),
    ]
    (row,) = stored
    assert (row.event, row.dag_id, row.task_id, row.run_id, row.map_index, row.try_number) == (
        state, "dag", "task", "run", -1, 2,
    )  # fmt: skip


def test_other_triggers_keep_theirs(sent):
    triggerer.change_events()
    submit(TaskSuccessEvent(), triggerer.POD_TRIGGER)
    assert submit(TaskSuccessEvent(), "airflow.providers.standard.triggers.temporal.DateTimeTrigger").state == "success"
    assert sent


@pytest.mark.parametrize(
    ("classpath", "first"),
    [(triggerer.POD_TRIGGER, True), ("airflow.providers.standard.triggers.temporal.DateTimeTrigger", False)],
)
def test_a_task_that_resumes_is_scheduled_before_those_that_begin(sent, classpath, first):
    triggerer.change_events()
    found = submit(TriggerEvent({"status": "success"}), classpath)
    assert found.state == "scheduled"
    assert (found.priority_weight > 1_000_000) == first
    assert found.priority_weight < 2**31


def test_the_launcher_s_triggers_are_all_named():
    named = {f"{one.__module__}.{one.__qualname__}" for one in (trigger.PodTrigger, waiting.WaitTrigger)}
    assert named == set(triggerer._OF_LAUNCHER)


@pytest.mark.parametrize(("component", "command"), [(triggerer, "triggerer"), (dag_processor, "dag-processor")])
def test_airflows_own_command_runs_with_what_was_given(monkeypatch, write_config, component, command):
    write_config("launcher: {preload: [team]}")
    ran, imported = [], []
    monkeypatch.setattr(launcher, "preload", imported.extend)
    monkeypatch.setattr(component.gc, "freeze", lambda: None)
    for name in ("change_events", "hold_many", "prepare_api", "refuse_others"):
        monkeypatch.setattr(triggerer, name, lambda: None)
    for name in ("send_logs_first", "keep_reading"):
        monkeypatch.setattr(trigger_supervisor, name, lambda: None)
    monkeypatch.setattr(triggerer.log_channel, "use", lambda: None)
    monkeypatch.setattr(triggerer.unsent, "start", lambda: None)
    monkeypatch.setattr("airflow.__main__.main", lambda: ran.append(sys.argv))
    monkeypatch.setattr(sys, "argv", ["anything", "--verbose"])
    component.main()
    assert ran == [["airflow", command, "--verbose"]]
    assert imported == (["team"] if component is dag_processor else [])


def test_pods_are_looked_after_once_the_triggers_can_ask_airflow(monkeypatch):
    told = []

    async def init_comms(self):
        told.append("can ask")

    monkeypatch.setattr(TriggerRunner, "init_comms", TriggerRunner.init_comms)
    monkeypatch.setattr(triggerer, "_INIT_COMMS", init_comms)
    monkeypatch.setattr(finisher, "look_after_home", told.append)
    monkeypatch.setattr(triggerer.waits, "start", lambda: told.append("reports"))
    monkeypatch.setattr(triggerer.metrics, "initialize", lambda: told.append("metrics"))
    tasks = config.Tasks(namespaces=("team",))
    monkeypatch.setattr(config, "load", lambda: config.PlatformConfig(tasks=tasks))
    triggerer.prepare_runner()
    triggerer.prepare_runner()
    asyncio.run(TriggerRunner.init_comms(TriggerRunner()))
    assert told == ["metrics", "can ask", ("team",), "reports"]


@pytest.mark.parametrize("classpath", ["subprocess.Popen", "os.system", "airflow.triggers.base.TriggerEvent"])
def test_what_a_task_calls_a_trigger_and_is_none_is_not_called(monkeypatch, classpath):
    monkeypatch.setattr(TriggerRunner, "get_trigger_by_classpath", TriggerRunner.get_trigger_by_classpath)
    triggerer.refuse_others()
    triggerer.refuse_others()
    runner = TriggerRunner()
    assert runner.get_trigger_by_classpath(triggerer.POD_TRIGGER) is trigger.PodTrigger
    runner.to_create.append(SimpleNamespace(id=7, classpath=classpath))
    asyncio.run(runner.create_triggers())
    ((trigger_id, error),) = runner.failed_triggers
    assert trigger_id == 7
    assert str(error).startswith(f"The task is deferred to {classpath}, which is no trigger")


def test_the_api_that_triggers_ask_is_there_before_they_do(monkeypatch):
    made = []

    def make():
        made.append(InProcessExecutionAPI())
        return made[-1]

    monkeypatch.setattr(triggerer_job_runner, "in_process_api_server", make)
    triggerer.prepare_api()
    triggerer.prepare_api()
    (api,) = made
    assert triggerer_job_runner.in_process_api_server() is api
    # Starlette makes it at the first question.
    assert api.app.middleware_stack is not None
    assert InProcessExecutionAPI().app.middleware_stack is None


def test_events_are_told_when_they_come_and_those_of_a_burst_together(monkeypatch):
    never = anyio.move_on_after
    monkeypatch.setattr(triggerer_job_runner.anyio, "move_on_after", lambda seconds: never(600))
    monkeypatch.setattr(finisher, "look_after_home", lambda namespaces: None)
    monkeypatch.setattr(TriggerRunner, "init_comms", TriggerRunner.init_comms)
    monkeypatch.setattr(triggerer, "_INIT_COMMS", AsyncMock())
    triggerer.prepare_runner()
    told = []

    async def rounds():
        runner = TriggerRunner()
        runner.comms_decoder = SimpleNamespace(_reader_task=asyncio.get_running_loop().create_future())

        async def tell(finished):
            told.append(list(runner.events))
            runner.events.clear()

        runner.sync_state_to_supervisor = tell
        work = asyncio.create_task(runner.arun())
        for burst in ([], ["one", "two"], ["three"]):
            looks = len(told)
            for event in burst:
                runner.events.append(event)
            while len(told) == looks:
                await asyncio.sleep(0.01)
        runner._handle_signal(None, None)
        await work

    asyncio.run(asyncio.wait_for(rounds(), timeout=30))
    assert told == [[], ["one", "two"], ["three"]]


def test_a_connection_takes_little_memory_and_garbage_is_seldom_looked_for(monkeypatch):
    monkeypatch.setattr(asyncio.sslproto.SSLProtocol, "max_size", asyncio.sslproto.SSLProtocol.max_size)
    before = gc.get_threshold()
    triggerer.hold_many()
    try:
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.set_threshold(*before)

    async def connection():
        context = ssl.create_default_context()
        return asyncio.sslproto.SSLProtocol(
            asyncio.get_running_loop(), asyncio.Protocol(), context, None, False, "host"
        )

    assert sys.getsizeof(asyncio.run(connection())._ssl_buffer) < 2**16


@pytest.mark.parametrize(("triggers", "looks"), [(50, True), (51, False)])
def test_garbage_is_looked_for_while_there_is_little_to_look_at(triggers, looks, monkeypatch):
    collected = []
    monkeypatch.setattr(triggerer, "_OFTEN", 0)
    monkeypatch.setattr(triggerer.gc, "collect", lambda: collected.append(True))

    async def look():
        task = asyncio.create_task(triggerer._collect_garbage(SimpleNamespace(triggers=dict.fromkeys(range(triggers)))))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(look())
    assert bool(collected) == looks
