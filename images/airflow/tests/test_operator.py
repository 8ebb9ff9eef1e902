"""The phases of a task as Airflow's task runner calls them, with a Kubernetes API that keeps pods in memory."""

import asyncio
import contextlib
import copy
import json
import os
import time
import uuid
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from unittest import mock

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import (
    KubernetesApiException,
    WaitRetryAfterOrExponential,
)
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import (
    EMPTY_XCOM_RESULT,
    PodNotFoundException,
    XComRetrievalError,
)
from airflow.sdk import DAG, Asset, BaseOperator
from airflow.sdk._shared.secrets_masker import secrets_masker
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferred,
)
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from kubernetes.client import ApiException
from kubernetes.client import models as k8s
from urllib3.exceptions import HTTPError
from websocket import WebSocketException

from airflow_platform import evidence, finisher, full_quota, masks, operator, policy
from airflow_platform.attempt import Attempt
from airflow_platform.cluster import ClusterRef
from airflow_platform.operator import MAX_TRIES, TASK_INSTANCE, PodTask, pod_name, pod_task
from airflow_platform.trigger import VERDICT, PodTrigger
from airflow_platform.waiting import WaitTrigger

START = datetime.now(timezone.utc)


class Kubernetes:
    """The calls of CoreV1Api that a launch makes. ``fails``: what the next calls of a kind raise, one after another."""

    def __init__(self):
        self.pods, self.calls, self.fails = {}, [], {}

    def _call(self, kind):
        self.calls.append(kind)
        if self.fails.get(kind):
            raise self.fails[kind].pop(0)

    def put(self, pod, phase="Running", **status):
        pod.metadata.uid = str(uuid.uuid4())
        pod.metadata.creation_timestamp = datetime.now(timezone.utc)
        pod.status = k8s.V1PodStatus(phase=phase, **status)
        self.pods[pod.metadata.name] = pod
        return pod

    def create_namespaced_pod(self, namespace, body):
        self._call("create")
        if body.metadata.name in self.pods:
            raise refusal(409, "AlreadyExists", "pods already exists")
        return self.put(body, "Pending")

    def read_namespaced_pod(self, name, namespace):
        self._call("read")
        if name not in self.pods:
            raise refusal(404, "NotFound", "not found")
        return self.pods[name]

    def list_namespaced_pod(self, namespace, label_selector):
        self._call("list")
        equal = dict(part.split("=") for part in label_selector.split(",") if "!" not in part)
        found = [pod for pod in self.pods.values() if equal.items() <= pod.metadata.labels.items()]
        return SimpleNamespace(items=found)

    def delete_namespaced_pod(self, name, namespace, **words):
        self._call(f"delete {name}")
        self.pods.pop(name, None)

    def patch_namespaced_pod(self, name, namespace, body):
        self._call(f"patch {name}")
        self.pods[name].metadata.labels.update(body["metadata"]["labels"])


def refusal(status, reason, message):
    error = ApiException(status=status, reason=reason)
    error.body = json.dumps({"reason": reason, "message": message})
    return error


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    monkeypatch.setattr(full_quota.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(WaitRetryAfterOrExponential, "__call__", lambda self, state: 0)
    # The process of the tests is older.
    monkeypatch.setattr(operator, "_NEW", float("inf"))
    # Airflow's examples bring one.
    monkeypatch.setattr(operator, "get_listener_manager", lambda: SimpleNamespace(has_listeners=False))
    return Kubernetes()


@pytest.fixture
def make(cluster):
    """A task that is launched, in a process of its own: what one has found another does not know."""

    def make(cls=KubernetesPodOperator, **arguments):
        words = {"task_id": "work", "name": "report", "image": "report:1.0.0", "namespace": "team", **arguments}
        with DAG("example", schedule=None, fail_fast=words.pop("fail_fast", False)):
            task = pod_task(cls)(**words)
        task.__dict__["client"] = cluster
        task.__dict__["hook"] = SimpleNamespace(
            is_in_cluster=True,
            get_namespace=lambda: "team",
            get_pod=cluster.read_namespaced_pod,
            get_xcom_sidecar_container_image=lambda: None,
            get_xcom_sidecar_container_resources=lambda: None,
            get_xcom_sidecar_container_security_context=lambda: None,
        )
        return task

    return make


def context(try_number=1, max_tries=0, of="first", map_index=-1, start=START):
    """The context of a task instance; a retry has another id than the try before (``of``)."""
    pushed = {}
    instance = SimpleNamespace(
        id=uuid.uuid5(uuid.NAMESPACE_OID, of), dag_id="example", task_id="work", run_id="run", map_index=map_index,
        try_number=try_number, max_tries=max_tries, start_date=start, pushed=pushed,
        xcom_push=lambda key, value: pushed.update({key: value}), log_url="https://airflow/log",
    )  # fmt: skip
    return {"ti": instance, "run_id": "run", "dag": SimpleNamespace()}


def defer(call, *words, **more):
    with pytest.raises(TaskDeferred) as raised:
        call(*words, **more)
    assert raised.value.method_name == "trigger_reentry"
    return raised.value


def launch(task, found=None):
    """The trigger that the launch defers to."""
    deferred = defer(task.execute, found or context())
    assert isinstance(deferred.trigger, PodTrigger)
    return deferred.trigger


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_launch_creates_the_pod_and_defers(make, cluster, deferrable):
    task, found = make(deferrable=deferrable), context()
    trigger = launch(task, found)
    (pod,) = cluster.pods.values()
    assert (trigger.name, trigger.namespace) == (pod.metadata.name, "team")
    assert found["ti"].pushed == {"pod_name": pod.metadata.name, "pod_namespace": "team"}
    assert cluster.calls == ["create"]


def test_the_pod_says_where_a_template_put_a_secret(make, cluster, monkeypatch):
    masker = secrets_masker.SecretsMasker()
    masker.add_mask("hunter22")
    monkeypatch.setattr(masks, "_secrets_masker", lambda: masker)
    launch(make(env_vars={"URL": "x://me:hunter22@host"}))
    (pod,) = cluster.pods.values()
    assert json.loads(pod.metadata.annotations[masks.ANNOTATION]) == [["base", "env", "URL", 7, 15]]


@pytest.mark.parametrize("taken_in", [True, False])
def test_a_pod_that_kueue_leaves_out_of_its_queue_is_told(make, capsys, taken_in):
    labels = {"kueue.x-k8s.io/queue-name": "q"} | ({"kueue.x-k8s.io/managed": "true"} if taken_in else {})
    launch(make(labels=labels))
    assert taken_in != ("Kueue leaves namespace team out" in capsys.readouterr().out)


def test_the_pod_says_whose_it_is(make, cluster, monkeypatch, tmp_path):
    monkeypatch.setattr(finisher, "_ACCOUNT", tmp_path / "outside of a pod")
    found = context(max_tries=2, map_index=4)
    launch(make(annotations={"team": "support"}, on_finish_action="keep_pod"), found)
    (pod,) = cluster.pods.values()
    annotations = pod.metadata.annotations
    assert annotations["team"] == "support"
    assert annotations[TASK_INSTANCE] == str(found["ti"].id)
    assert annotations[MAX_TRIES] == "2"
    assert json.loads(annotations[finisher.OWNER]) == {
        "dag_id": "example", "run_id": "run", "task_id": "work", "map_index": 4, "airflow": "", "base": "base",
        "on_finish_action": "keep_pod", "on_kill_action": "delete_pod",
    }  # fmt: skip


def test_the_trigger_is_told_what_the_operator_was(make):
    trigger = launch(
        make(
            kubernetes_conn_id="other", in_cluster=False, cluster_context="c", base_container_name="main",
            get_logs=False, container_logs=["main", "side"], init_container_logs=True,
            container_name_log_prefix_enabled=False, schedule_timeout_seconds=1, startup_timeout_seconds=2,
            on_finish_action="keep_pod", on_kill_action="keep_pod", termination_grace_period=3,
            skip_on_exit_code=range(4, 6), log_events_on_startup=False, log_events_on_failure=True,
            log_pod_spec_on_failure=False, execution_timeout=timedelta(seconds=60),
        )
    )  # fmt: skip
    arguments = trigger.serialize()[1]
    expected = {
        "namespace": "team", "base": "main", "get_logs": False, "container_logs": ["main", "side"],
        "init_container_logs": True, "prefix": False, "schedule_timeout": 1, "startup_timeout": 2,
        "on_finish_action": "keep_pod", "on_kill_action": "keep_pod", "grace_period": 3, "xcom_sidecar": False,
        "skip_on_exit_code": [4, 5], "events_on_startup": False, "events_on_failure": True, "pod_on_failure": False,
        "ends": True,
        "execution_deadline": START.timestamp() + 60,
    }  # fmt: skip
    assert {name: arguments[name] for name in expected} == expected
    assert trigger.cluster == ClusterRef("other", in_cluster=False, context="c")


def test_airflow_waits_longer_than_the_trigger_for_a_task_that_runs_out_of_time(make):
    limited = defer(make(execution_timeout=timedelta(seconds=60)).execute, context())
    assert limited.timeout > timedelta(seconds=60)
    assert defer(make(task_id="other").execute, context()).timeout is None


def test_a_launch_that_is_repeated_finds_its_pod(make, cluster):
    first = launch(make())
    assert launch(make()).name == first.name
    # Not retried as other conflicts are.
    assert cluster.calls == ["create", "create", "read"]
    assert len(cluster.pods) == 1


def test_a_conflict_that_passes_is_retried(make, cluster):
    cluster.fails["create"] = [refusal(409, "Conflict", "the object has been modified"), refusal(503, "Away", "away")]
    launch(make())
    assert cluster.calls == ["create"] * 3


def test_task_instances_have_pods_of_their_own(make, cluster):
    launch(make())
    launch(make(), context(of="another"))
    assert len(cluster.pods) == 2


def test_a_pod_of_another_task_with_the_name_is_not_taken(make, cluster):
    launch(make(random_name_suffix=False), context(of="another"))
    with pytest.raises(AirflowException, match="is a pod report in namespace team already, and it is not this task's"):
        make(random_name_suffix=False).execute(context())


def waits(task, found=None, event=None):
    """The trigger by which a launch waits, and the event after which it tries again."""
    found = found or context()
    deferred = defer(task.trigger_reentry, found, event) if event else defer(task.execute, found)
    assert isinstance(deferred.trigger, WaitTrigger)
    return deferred, {"status": "relaunch", "attempt": deferred.trigger.attempt}


@pytest.fixture
def said(make, monkeypatch):
    """What tasks log, besides the operator's own."""
    lines = []

    def info(text, *words):
        if not text.startswith("Building pod"):
            lines.append(text % words)

    log = SimpleNamespace(info=info, **dict.fromkeys(("debug", "warning", "error"), lambda *_: None))
    monkeypatch.setattr(PodTask, "log", log)
    return lines


def test_a_launch_waits_for_a_pod_of_its_name_that_is_being_deleted(make, cluster):
    launch(make(random_name_suffix=False), context(of="another"))
    cluster.pods["report"].metadata.deletion_timestamp = START
    deferred, event = waits(make(random_name_suffix=False))
    assert deferred.trigger.gone == cluster.pods["report"].metadata.uid
    cluster.pods.clear()
    defer(make(random_name_suffix=False).trigger_reentry, context(), event)
    assert list(cluster.pods) == ["report"]


def test_a_launch_waits_for_a_pod_of_its_name_that_will_be_deleted(make, cluster):
    launch(make(random_name_suffix=False), context(of="another"))
    ended = k8s.V1ContainerStateTerminated(exit_code=0, finished_at=datetime.now(timezone.utc))
    state = k8s.V1ContainerState(terminated=ended)
    base = k8s.V1ContainerStatus(name="base", state=state, image="i", image_id="i", ready=False, restart_count=0)
    cluster.pods["report"].status = k8s.V1PodStatus(phase="Succeeded", container_statuses=[base])
    deferred, _ = waits(make(random_name_suffix=False))
    assert deferred.trigger.gone == cluster.pods["report"].metadata.uid
    # Long after that, nobody will.
    ended.finished_at = cluster.pods["report"].metadata.creation_timestamp = START - timedelta(hours=1)
    with pytest.raises(AirflowException, match="it is not this task's"):
        make(random_name_suffix=False).execute(context())


def failed(cluster, seconds_ago=1, **labels):
    """The pod report of a run before has failed, and its try has ended."""
    end = k8s.V1ContainerStateTerminated(
        exit_code=1, finished_at=datetime.now(timezone.utc) - timedelta(seconds=seconds_ago)
    )
    state = k8s.V1ContainerState(terminated=end)
    base = k8s.V1ContainerStatus(name="base", state=state, image="i", image_id="i", ready=False, restart_count=0)
    pod = cluster.put(cluster.pods["report"], "Failed", container_statuses=[base])
    pod.metadata.creation_timestamp -= timedelta(hours=1)
    pod.metadata.labels |= {"already_checked": "True"} | labels
    return pod


def test_a_launch_waits_for_a_pod_of_its_name_that_failed_and_will_be_deleted(make, cluster):
    launch(make(random_name_suffix=False), context(of="another"))
    there = failed(cluster)
    deferred, _ = waits(make(random_name_suffix=False))
    assert deferred.trigger.gone == there.metadata.uid
    assert list(cluster.pods.values()) == [there]


def test_a_pod_that_is_kept_as_it_failed_makes_room_for_its_tasks_next_run(make, cluster, write_config):
    write_config("tasks: {keepFailedPods: 1h}")
    launch(make(random_name_suffix=False), context(of="another"))
    there = failed(cluster, seconds_ago=600)
    trigger = launch(make(random_name_suffix=False))
    assert trigger.uid == cluster.pods["report"].metadata.uid != there.metadata.uid


@pytest.mark.parametrize(
    "case", ["another task", "another Airflow", "keep_pod", "delete_succeeded_pod", "its try goes on"]
)
def test_a_pod_that_is_kept_for_another_reason_makes_no_room(make, cluster, write_config, monkeypatch, case):
    write_config("tasks: {keepFailedPods: 1h}")
    action = {"on_finish_action": case} if case.endswith("_pod") else {}
    launch(make(random_name_suffix=False, **action), context(of="another"))
    there = failed(cluster, seconds_ago=600, **({"already_checked": "False"} if case == "its try goes on" else {}))
    found = context()
    if case == "another task":
        found["ti"].task_id = "other"
    if case == "another Airflow":
        monkeypatch.setattr(finisher, "_home", lambda: "staging")
    with pytest.raises(AirflowException, match="it is not this task's"):
        make(random_name_suffix=False, **action).execute(found)
    assert list(cluster.pods.values()) == [there]


FULL = refusal(
    403, "Forbidden", 'pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
)


def test_a_launch_waits_for_quota_and_the_trigger_knows_for_what(make, cluster, said):
    cluster.fails["create"] = [FULL, FULL]
    task = make(priority_weight=7)
    deferred, event = waits(task)
    arguments = deferred.trigger.serialize()[1]
    assert (arguments["quota"], arguments["requested"]) == ("q", {"pods": "1"})
    assert (arguments["namespace"], arguments["priority"], arguments["deadline"]) == ("team", 7, None)
    assert said == [
        "Quota q of namespace team is full (5 of 5 pods used, 1 asked for); the task waits until pods that it counts "
        "have ended."
    ]
    again, event = waits(make(), event=event)
    # It keeps its place, and does not say it twice.
    assert again.trigger.attempt["first"] == deferred.trigger.attempt["first"]
    assert again.trigger.seconds > deferred.trigger.seconds
    assert len(said) == 1
    assert isinstance(defer(make().trigger_reentry, context(), event).trigger, PodTrigger)


def starts(task, event=None, of="first"):
    """The trigger by which a launch follows its pod."""
    found = context(of=of)
    deferred = defer(task.trigger_reentry, found, event) if event else defer(task.execute, found)
    assert isinstance(deferred.trigger, PodTrigger)
    return deferred.trigger


def test_who_begins_while_others_wait_for_a_quota_waits_behind_them_and_does_not_try(make, cluster, said):
    cluster.fails["create"] = [FULL]
    _, event = waits(make())
    second, event_of_second = waits(make(), context(of="second"))
    assert cluster.calls == ["create"]
    arguments = second.trigger.serialize()[1]
    assert (arguments["quota"], arguments["requested"]) == ("q", {"pods": "1"})
    assert said[1] == said[0]
    # In another namespace, or of another class: of another quota.
    starts(make(namespace="other"), of="third")
    starts(make(priority_class_name="urgent"), of="fourth")
    # Its turn, and that of the one behind, who is let in as well; those who begin still wait.
    starts(make(), event)
    waits(make(), context(of="fifth"))
    starts(make(), event_of_second, of="second")
    waits(make(), context(of="fifth"))


def test_where_none_was_refused_of_late_who_begins_tries_and_the_next_wait_for_what_it_finds(make, cluster, tmp_path):
    cluster.fails["create"] = [FULL, FULL]
    waits(make())
    (file,) = (one for one in tmp_path.rglob("*") if one.is_file())
    os.utime(file, (old := time.time() - 11, old))
    waits(make(), context(of="second"))
    waits(make(), context(of="third"))
    assert cluster.calls == ["create"] * 2
    os.utime(file, (old, old))
    starts(make(), of="fourth")
    starts(make(), of="fifth")
    assert cluster.calls == ["create"] * 4


def test_one_who_begins_does_not_wait_for_what_it_can_never_have_or_does_not_need(make, cluster):
    cluster.fails["create"] = [
        refusal(
            403,
            "Forbidden",
            "exceeded quota: q, requested: requests.cpu=2, used: requests.cpu=7, limited: requests.cpu=8",
        )
    ]
    some = {"requests": {"cpu": "2"}}
    waits(make(container_resources=some))
    waits(make(container_resources=some), context(of="second"))
    starts(make(), of="third")
    starts(make(container_resources={"requests": {"cpu": "9"}}), of="fourth")


def test_without_a_place_for_files_each_tries(make, cluster, monkeypatch):
    monkeypatch.setattr(full_quota.tempfile, "gettempdir", lambda: "/proc/none")
    cluster.fails["create"] = [FULL, FULL]
    waits(make())
    waits(make(), context(of="second"))
    assert cluster.calls == ["create"] * 2


def test_a_priority_class_that_is_replaced_is_waited_for(make, cluster, said):
    """While its value is changed, the scheduler of before makes pods of the class that is gone."""
    cluster.fails["create"] = [refusal(403, "Forbidden", "no PriorityClass with name gpu-1 was found")]
    _, event = waits(make(priority_class_name="gpu-1"))
    assert said[1:] == [
        "Priority class gpu-1 does not exist in this cluster; create it, or correct the name. It is tried again for 2 "
        "min."
    ]
    trigger = starts(make(priority_class_name="gpu-2"), event)
    assert cluster.pods[trigger.name].spec.priority_class_name == "gpu-2"


def test_a_full_quota_is_waited_for_however_long_it_takes(make, cluster):
    cluster.fails["create"] = [FULL]
    day = time.time() - 86_400
    long = Attempt(waits_for="quota-full q", since=day, first=day, refused=5_000).as_dict()
    waits(make(), event={"status": "relaunch", "attempt": long})


def test_a_launch_waits_no_longer_than_the_task_may_take(make, cluster):
    cluster.fails["create"] = [FULL, FULL]
    now = datetime.now(timezone.utc)
    deferred, _ = waits(make(execution_timeout=timedelta(seconds=60)), context(start=now))
    assert deferred.trigger.deadline == now.timestamp() + 60
    assert deferred.timeout > timedelta(seconds=60)
    late = context(start=now - timedelta(seconds=61))
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout has passed. Quota q of namespace team is full"):
        make(execution_timeout=timedelta(seconds=60)).execute(late)


@pytest.mark.parametrize("in_the_triggerer", [True, False])
def test_a_task_whose_time_ends_while_it_waits_for_its_pod_leaves_evidence(
    make, cluster, monkeypatch, in_the_triggerer
):
    saved = {}
    monkeypatch.setattr(evidence, "save", saved.__setitem__)
    cluster.fails["create"] = [refusal(401, "Unauthorized", "Unauthorized")] * 2
    limit = timedelta(seconds=60)
    now = datetime.now(timezone.utc)
    late = context(start=now - 2 * limit)
    deferred, _ = waits(make(execution_timeout=limit), context(start=now))
    message = f"execution_timeout has passed. {deferred.trigger.reason}"
    event = {"status": "timeout", "message": message, "waited": True, "verdict": deferred.trigger.verdict}
    again = make(execution_timeout=limit)
    end = partial(again.trigger_reentry, late, event) if in_the_triggerer else partial(again.execute, late)
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout has passed. The cluster does not know"):
        end()
    (found,) = saved.values()
    assert found["verdict"]["cause"] == "platform-not-authenticated"
    assert late["ti"].pushed[VERDICT] == {**found["verdict"], "sentence": found["reason"]}
    assert found["reason"].startswith("execution_timeout has passed. The cluster does not know")
    assert (found["pod"], found["namespace"]) == (None, "team")


def test_a_task_whose_time_ends_while_it_waits_for_nothing_that_is_wrong_leaves_evidence(make, monkeypatch):
    saved = {}
    monkeypatch.setattr(evidence, "save", saved.__setitem__)
    found, message = context(), "execution_timeout has passed. Waiting until pod p, which is being deleted, is gone."
    event = {"status": "timeout", "message": message, "waited": True, "verdict": None}
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout has passed"):
        make().trigger_reentry(found, event)
    (kept,) = saved.values()
    assert found["ti"].pushed[VERDICT] == kept["verdict"]
    assert (kept["verdict"]["cause"], kept["verdict"]["sentence"], kept["reason"]) == ("timed-out", message, message)


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (
            403,
            "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0",
            "asks for 1 pods, and quota q of namespace team allows 0 pods in all, so it can never run",
        ),
        (403, 'violates PodSecurity "restricted:latest": runAsNonRoot != true', "runAsNonRoot != true"),
        (400, 'admission webhook "images" denied the request: no latest', "does not allow pod .*: no latest"),
        (422, 'Pod "p" is invalid: spec.x: Forbidden', "is not a valid pod: spec.x: Forbidden"),
    ],
)
def test_what_can_never_run_fails_at_once_and_leaves_evidence(make, cluster, monkeypatch, status, message, sentence):
    saved = {}
    monkeypatch.setattr(evidence, "save", saved.__setitem__)
    cluster.fails["create"] = [refusal(status, "Forbidden", message)]
    with pytest.raises(AirflowException, match=sentence):
        make(env_vars={"PASSWORD": "hunter2"}).execute(pushed := context())
    (found,) = saved.values()
    assert pushed["ti"].pushed[VERDICT] == found["verdict"]
    assert found["verdict"]["final"] is True
    assert found["pod"]["spec"]["containers"][0]["image"] == "report:1.0.0"
    assert "hunter2" not in json.dumps(found)
    assert cluster.calls == ["create"]


def test_what_somebody_may_put_right_has_its_time_and_then_fails(make, cluster, said, monkeypatch):
    monkeypatch.setattr(evidence, "save", lambda *_: None)
    missing = refusal(404, "NotFound", 'namespaces "team" not found')
    cluster.fails["create"] = [missing, missing]
    deferred, event = waits(make())
    assert said == [
        'The API server said: 404 NotFound: namespaces "team" not found',
        "Namespace team does not exist in this cluster; create it, or correct the name. It is tried again for 2 min.",
    ]
    assert deferred.trigger.quota is None
    said.clear()
    event["attempt"]["since"] -= 121
    with pytest.raises(AirflowException, match="Namespace team does not exist"):
        make().trigger_reentry(context(), event)
    assert said == []


@pytest.mark.parametrize(
    "away",
    [refusal(503, "ServiceUnavailable", "away"), refusal(429, "TooManyRequests", "slowly"), HTTPError("no route")],
)
def test_an_api_server_that_is_away_is_waited_for_and_asked_once_a_turn(make, cluster, away):
    cluster.fails["create"] = [away] * 4
    _, event = waits(make())
    # A process of the launcher is not held up by one that has waited already.
    assert cluster.calls == ["create"] * 3
    waits(make(), event=event)
    assert cluster.calls == ["create"] * 4


def test_what_it_waits_for_may_change_and_its_time_begins_anew(make, cluster, said):
    cluster.fails["create"] = [FULL, *[refusal(503, "ServiceUnavailable", "away")] * 2]
    first, event = waits(make())
    second, _ = waits(make(), event=event)
    assert len(said) == 3
    assert (second.trigger.attempt["refused"], second.trigger.attempt["first"]) == (1, first.trigger.attempt["first"])


def relaunch(cluster, trigger, phase="Failed"):
    """The event of a trigger whose pod was taken away."""
    pod = cluster.pods[trigger.name]
    pod.status.phase = phase
    return {"status": "relaunch", "attempt": Attempt(again=1, over=pod.metadata.uid).as_dict()}


def test_a_try_whose_pod_was_taken_has_another_one_of_the_same_name(make, cluster):
    first = launch(make())
    event = relaunch(cluster, first)
    second = defer(make().trigger_reentry, context(), event).trigger
    assert (second.name, second.attempt["again"]) == (first.name, 1)
    assert second.uid == cluster.pods[first.name].metadata.uid != first.uid


@pytest.mark.parametrize("status", ["success", "failed", "timeout", "gone", "relaunch"])
def test_a_task_that_was_cleared_while_a_phase_ran_does_not_end_as_its_last_try(make, cluster, status):
    """Airflow keeps `next_method` then, and resumes the next try with the event for the one before."""
    first = launch(make())
    event = ended(cluster, first, 0) | {"status": status, "attempt": {**first.attempt, "again": 1}}
    cluster.pods.clear()
    found = context(2, max_tries=1, of="second")
    second = defer(make().trigger_reentry, found, event).trigger
    assert list(cluster.pods) == [second.name] != [first.name]
    assert second.attempt["again"] == 0
    assert "return_value" not in found["ti"].pushed


def test_the_xcom_of_the_try_before_such_a_clear_is_forgotten(make, cluster):
    first = launch(make(do_xcom_push=True))
    event = ended(cluster, first, 0) | {"attempt": first.attempt}
    found = context(2, max_tries=1, of="second")
    found["ti"].xcom_pull = lambda **_: {"rows": 3}
    defer(make(do_xcom_push=True).trigger_reentry, found, event)
    assert found["ti"].pushed["return_value"] is None
    assert found["ti"].pushed["platform_no_xcom"] is False


@pytest.mark.parametrize(
    ("states", "creates"), [({"work": "running"}, True), ({"work": "deferred"}, False), ({}, False)]
)
def test_a_launch_that_stood_still_creates_nothing_that_another_has_taken_over(
    make, cluster, monkeypatch, states, creates
):
    """Its scheduler was stopped; the pod of the one that went on has come and gone."""
    monkeypatch.setattr(operator, "_NEW", 0)
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: {"run": states} if states else {})
    deferred = defer(make().execute, context())
    assert isinstance(deferred.trigger, PodTrigger) is creates
    assert len(cluster.pods) == creates


def test_a_relaunch_that_is_repeated_finds_its_pod(make, cluster):
    """The launcher died between creating it and deferring."""
    first = launch(make())
    event = relaunch(cluster, first)
    second = defer(make().trigger_reentry, context(), event).trigger
    cluster.calls.clear()
    third = defer(make().trigger_reentry, context(), event).trigger
    assert (third.uid, third.attempt["again"]) == (second.uid, 1)
    assert cluster.calls == ["create", "read"]


def test_no_second_pod_while_the_first_has_not_ended(make, cluster):
    event = relaunch(cluster, launch(make()), "Running")
    deferred, again = waits(make(), event=event)
    assert deferred.trigger.gone == event["attempt"]["over"]
    assert len(cluster.pods) == 1
    assert again["attempt"]["again"] == 1
    assert not any(call.startswith("delete") for call in cluster.calls)


def test_a_relaunch_in_a_later_try_does_not_take_the_pod_that_was_taken(make, cluster):
    """Nor where that was the pod of a try that was lost, which has another name."""
    lost = launch(make(), context(max_tries=1))
    taken_over = launch(make(), context(2, max_tries=1, of="second"))
    assert taken_over.name == lost.name
    event = relaunch(cluster, taken_over)
    again = defer(make().trigger_reentry, context(2, max_tries=1, of="second"), event).trigger
    assert list(cluster.pods) == [again.name] != [lost.name]
    event = relaunch(cluster, again)
    last = defer(make().trigger_reentry, context(2, max_tries=1, of="second"), event).trigger
    assert last.name == again.name
    assert last.uid != again.uid


GROWS = "nodePools: [{name: light, slots: 1, outOfMemoryFactor: 2, largest: {memory: 200Mi}}]"
LIGHT = {"annotations": {policy.POOL_ANNOTATION: "light"}}


def of_memory(limit="64Mi", **more):
    resources = k8s.V1ResourceRequirements(limits={"memory": limit, "cpu": "1"}, requests={"memory": "32Mi"})
    return {"container_resources": resources, **LIGHT, **more}


def out_of_memory(cluster, trigger):
    """The pod of a try that ran out of memory, and has been dealt with."""
    end = k8s.V1ContainerStateTerminated(exit_code=137, reason="OOMKilled")
    status = k8s.V1ContainerStatus(
        name="base", state=k8s.V1ContainerState(terminated=end), image="i", image_id="i", ready=False, restart_count=0
    )
    pod = cluster.put(cluster.pods[trigger.name], "Failed", container_statuses=[status])
    pod.metadata.labels["already_checked"] = "True"
    return {"status": "failed", "message": "because", "name": trigger.name, "namespace": "team"}


def memory_of(cluster, trigger):
    resources = cluster.pods[trigger.name].spec.containers[0].resources
    return resources.requests["memory"], resources.limits["memory"]


def test_a_try_after_one_that_ran_out_of_memory_has_more_and_more_up_to_the_pools_largest(
    make, cluster, write_config, said
):
    write_config(GROWS)
    found = []
    for number in (1, 2, 3, 4):
        trigger = launch(make(**of_memory()), context(number, max_tries=3, of=str(number)))
        assert trigger.grows is (number < 4)
        # The pods of the tries before have told what they had to.
        assert list(cluster.pods) == [trigger.name]
        found.append(memory_of(cluster, trigger))
        out_of_memory(cluster, trigger)
    assert found == [("32Mi", "64Mi"), ("64Mi", "128Mi"), ("100Mi", "200Mi"), ("100Mi", "200Mi")]
    assert "A try before ran out of memory: container base may use 128Mi now, and not 64Mi" in said


def test_a_try_keeps_what_the_one_before_was_given(make, cluster, write_config):
    write_config(GROWS)
    out_of_memory(cluster, launch(make(**of_memory()), context(max_tries=2)))
    second = launch(make(**of_memory()), context(2, max_tries=2, of="2"))
    event = ended(cluster, second, 3)
    with pytest.raises(AirflowException):
        make(**of_memory()).trigger_reentry(context(2, max_tries=2, of="2"), event)
    third = launch(make(**of_memory()), context(3, max_tries=2, of="3"))
    assert memory_of(cluster, third) == ("64Mi", "128Mi")


def test_a_try_that_is_started_again_keeps_it_too(make, cluster, write_config):
    write_config(GROWS)
    out_of_memory(cluster, launch(make(**of_memory()), context(max_tries=1)))
    second = launch(make(**of_memory()), context(2, max_tries=1, of="2"))
    attempt = Attempt.of(second.attempt).after(second.uid)
    cluster.pods.clear()
    event = {"status": "relaunch", "attempt": attempt.as_dict()}
    again = defer(make(**of_memory()).trigger_reentry, context(2, max_tries=1, of="2"), event).trigger
    assert memory_of(cluster, again) == ("64Mi", "128Mi")


def test_a_launch_that_is_repeated_before_it_has_a_pod_knows_it_still(make, cluster, write_config):
    """Its process was killed after the refusal."""
    write_config(GROWS)
    out_of_memory(cluster, launch(make(**of_memory()), context(max_tries=1)))
    cluster.fails["create"] = [FULL]
    waits(make(**of_memory()), context(2, max_tries=1, of="2"))
    _, event = waits(make(**of_memory()), context(2, max_tries=1, of="2"))
    second = defer(make(**of_memory()).trigger_reentry, context(2, max_tries=1, of="2"), event).trigger
    assert memory_of(cluster, second) == ("64Mi", "128Mi")


def test_what_the_dag_asks_for_by_now_is_not_made_less(make, cluster, write_config):
    write_config(GROWS)
    out_of_memory(cluster, launch(make(**of_memory()), context(max_tries=1)))
    second = launch(make(**of_memory("1Gi")), context(2, max_tries=1, of="2"))
    assert memory_of(cluster, second) == ("32Mi", "1Gi")


@pytest.mark.parametrize("config", ["", "nodePools: [{name: light, slots: 1}]"])
def test_no_try_gets_more_where_the_pool_does_not_say_so(make, cluster, write_config, config):
    write_config(config)
    first = launch(make(**of_memory()), context(max_tries=1))
    assert not first.grows
    out_of_memory(cluster, first)
    second = launch(make(**of_memory()), context(2, max_tries=1, of="2"))
    assert memory_of(cluster, second) == ("32Mi", "64Mi")


@pytest.mark.parametrize(("max_tries", "stays"), [(1, True), (0, False)])
def test_the_pod_of_a_task_that_ends_in_a_phase_stays_for_the_next_try(make, cluster, write_config, max_tries, stays):
    write_config(GROWS)
    found = context(max_tries=max_tries)
    trigger = launch(make(**of_memory(do_xcom_push=False)), found)
    event = out_of_memory(cluster, trigger)
    with pytest.raises(AirflowException):
        make(**of_memory()).trigger_reentry(found, event)
    assert (trigger.name in cluster.pods) is stays


@pytest.mark.parametrize(
    ("keep", "action", "code", "stays"),
    [("1h", "delete_pod", 3, True), ("0s", "delete_pod", 3, False), ("1h", "delete_pod", 0, False)],
)
def test_a_pod_that_failed_is_kept_where_the_values_say_so(make, cluster, write_config, keep, action, code, stays):
    write_config(f"tasks: {{keepFailedPods: {keep}}}")
    trigger = launch(make(on_finish_action=action))
    event = ended(cluster, trigger, code)
    with contextlib.suppress(AirflowException):
        make(on_finish_action=action).trigger_reentry(context(), event)
    assert (trigger.name in cluster.pods) is stays


def test_a_pod_that_failed_is_kept_once_its_xcom_sidecar_has_ended(make, cluster, write_config):
    write_config("tasks: {keepFailedPods: 1h}")
    trigger = launch(make(do_xcom_push=True))
    ended(cluster, trigger, 3)
    seen = copy.deepcopy(cluster.pods[trigger.name])
    seen.status.phase = "Running"
    phases = iter(["Running", "Failed"])

    def read(pod):
        found = copy.deepcopy(pod)
        found.status.phase = next(phases)
        return found

    task = make(do_xcom_push=True)
    task.__dict__["pod_manager"] = SimpleNamespace(read_pod=read)
    assert task.process_pod_deletion(seen) is False
    assert trigger.name in cluster.pods


@pytest.mark.parametrize(("code", "raised"), [(4, AirflowSkipException), (3, AirflowException)])
def test_a_phase_that_is_repeated_skips_its_task_once_more(make, cluster, code, raised):
    """The one before has deleted the pod, and its end was not stored."""
    event = ended(cluster, launch(make()), code) | {"verdict": {"exit_code": code, "sentence": "because"}}
    for expected in (AirflowSkipException if code == 4 else AirflowException, raised):
        with pytest.raises(expected):
            make(skip_on_exit_code=4, on_success_callback=print).trigger_reentry(context(), event)
    assert cluster.pods == {}


def test_a_kept_pod_stays_beside_that_of_the_next_try(make, cluster, write_config):
    write_config("tasks: {keepFailedPods: 1h}")
    first = launch(make(), context(max_tries=1))
    with pytest.raises(AirflowException):
        make().trigger_reentry(context(max_tries=1), ended(cluster, first, 3))
    second = launch(make(), context(2, max_tries=1, of="2"))
    assert set(cluster.pods) == {first.name, second.name}


def test_a_pod_of_an_earlier_try_makes_room_for_one_of_its_name(make, cluster, write_config):
    write_config(GROWS)
    named = of_memory(random_name_suffix=False)
    first = launch(make(**named), context(max_tries=1))
    out_of_memory(cluster, first)
    second = launch(make(**named), context(2, max_tries=1, of="2"))
    assert second.name == first.name
    assert memory_of(cluster, second) == ("64Mi", "128Mi")


def test_how_often_a_try_may_be_started_again(make, write_config):
    write_config("tasks: {infrastructureRetries: 3, retryDeleted: true}")
    trigger = launch(make())
    assert (trigger.infrastructure_retries, trigger.retry_deleted) == (3, True)
    own = launch(make(executor_config={"infrastructure_retries": 0}), context(of="own"))
    assert own.infrastructure_retries == 0


def test_arguments_that_came_with_the_run_and_cannot_be_kept_fail_the_task(make, cluster):
    with pytest.raises(AirflowFailException, match="config_file is a file that the triggerer may not have"):
        make(config_file="/kubeconfig").execute(context())
    assert cluster.calls == []


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
def test_a_try_takes_the_pod_of_one_that_was_lost(make, cluster, phase):
    """However that has ended: it has run, and its try is the one that is told of."""
    first = launch(make(), context(max_tries=1))
    cluster.pods[first.name].status.phase = phase
    cluster.calls.clear()
    assert launch(make(), context(2, max_tries=1, of="second")).name == first.name
    assert cluster.calls == ["list"]


def test_a_try_that_is_not_durable_has_a_pod_of_its_own_and_the_lost_one_goes(make, cluster):
    first = launch(make(durable=False), context(max_tries=1))
    second = launch(make(durable=False), context(2, max_tries=1, of="second"))
    assert second.name != first.name
    assert list(cluster.pods) == [second.name]


def test_a_try_takes_the_newest_pod_and_deletes_others_that_run(make, cluster):
    lost = [launch(make(), context(max_tries=2, of=of)).name for of in ("first", "second")]
    cluster.pods[lost[0]].metadata.creation_timestamp -= timedelta(seconds=60)
    assert launch(make(), context(3, max_tries=2, of="third")).name == lost[1]
    assert list(cluster.pods) == [lost[1]]


@pytest.mark.parametrize(
    ("phase", "action", "stays"),
    [("Failed", "delete_pod", False), ("Failed", "keep_pod", True), ("Running", "keep_pod", False)],
)
def test_a_retry_has_a_pod_of_its_own(make, cluster, phase, action, stays):
    """And the one of the try that failed goes, where it is not to be kept."""
    first = launch(make(), context(max_tries=1)).name
    cluster.pods[first].status.phase = phase
    cluster.pods[first].metadata.labels["already_checked"] = "True"
    second = launch(make(on_finish_action=action), context(2, max_tries=1, of="second")).name
    assert second != first
    assert set(cluster.pods) == ({first, second} if stays else {second})


def test_a_task_that_was_cleared_has_a_pod_of_its_own(make, cluster):
    first = launch(make(), context(max_tries=1)).name
    second = launch(make(), context(2, max_tries=2, of="second")).name
    assert list(cluster.pods) == [second] != [first]


def test_the_pod_of_a_task_that_was_cleared_runs_on_where_it_is_to_be_kept(make, cluster):
    kept = make(on_kill_action="keep_pod")
    first = launch(kept, context(max_tries=1)).name
    running(cluster, first)
    second = launch(make(on_kill_action="keep_pod"), context(2, max_tries=2, of="second")).name
    assert set(cluster.pods) == {first, second}
    # No later try takes it over, or deletes it.
    assert cluster.pods[first].metadata.labels["already_checked"] == "True"
    assert launch(make(on_kill_action="keep_pod"), context(3, max_tries=2, of="third")).name == second
    assert set(cluster.pods) == {first, second}


def test_the_pod_of_a_task_that_was_cleared_goes_where_its_sidecar_alone_runs_on(make, cluster):
    first = launch(make(on_kill_action="keep_pod", do_xcom_push=True), context(max_tries=1))
    ended(cluster, first, 0)
    cluster.pods[first.name].status.phase = "Running"
    launch(make(on_kill_action="keep_pod", do_xcom_push=True), context(2, max_tries=2, of="second"))
    assert first.name not in cluster.pods


def test_a_pod_of_another_airflow_with_the_same_dag_is_left_alone(make, cluster, monkeypatch):
    monkeypatch.setattr(finisher, "_home", lambda: "production")
    others = launch(make(), context(max_tries=1)).name
    monkeypatch.setattr(finisher, "_home", lambda: "staging")
    # Neither is it taken over, nor deleted as one of a try that was cleared, or with the task's own.
    lost = launch(make(), context(2, max_tries=1, of="second")).name
    own = launch(make(), context(2, max_tries=2, of="third")).name
    assert set(cluster.pods) == {others, own}
    assert lost != others
    with pytest.raises(TaskDeferralError):
        make().resume_execution("__fail__", {"error": "Trigger failure"}, context(2, max_tries=2, of="third"))
    assert list(cluster.pods) == [others]


def test_a_pod_that_is_being_deleted_is_not_taken(make, cluster):
    first = launch(make(), context(max_tries=1)).name
    cluster.pods[first].metadata.deletion_timestamp = START
    assert launch(make(), context(2, max_tries=1, of="second")).name != first


def test_pods_of_other_task_instances_are_not_looked_at(make, cluster):
    other = launch(make(), context(max_tries=1, map_index=1, of="other")).name
    launch(make(), context(2, max_tries=1, map_index=2))
    assert other in cluster.pods


@pytest.mark.parametrize(
    ("status", "error"),
    [("timeout", AirflowTaskTimeout), ("stopped", AirflowException), ("gone", PodNotFoundException)],
)
def test_a_task_whose_pod_is_no_more_fails_with_what_the_trigger_saw(make, cluster, status, error):
    with pytest.raises(error, match="because"):
        make().trigger_reentry(context(), {"status": status, "message": "because", "name": "p", "namespace": "team"})
    assert cluster.calls == []


def ended(cluster, trigger, code):
    state = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=code))
    status = k8s.V1ContainerStatus(
        name="base", state=state, image="i", image_id="i", ready=False, restart_count=0, last_state=None
    )
    cluster.put(cluster.pods[trigger.name], "Failed" if code else "Succeeded", container_statuses=[status])
    return {
        "status": "failed" if code else "success", "message": "because", "name": trigger.name, "namespace": "team",
    }  # fmt: skip


def test_a_pod_that_succeeded_goes_and_its_log_is_not_read_again(make, cluster):
    event = ended(cluster, launch(make()), 0)
    make().trigger_reentry(context(), event)
    assert cluster.pods == {}


def test_a_pod_that_failed_fails_the_task(make, cluster):
    event = ended(cluster, launch(make()), 3)
    event |= {"verdict": {"cause": "exit-code"}, "last_lines": ["one", "two"]}
    found = context()
    with pytest.raises(AirflowException) as raised:
        make().trigger_reentry(found, event)
    # What callbacks and mails say.
    assert str(raised.value) == "because\nLog: https://airflow/log\nLast lines:\none\ntwo"
    assert type(raised.value) is AirflowException
    assert found["ti"].pushed[VERDICT] == {"cause": "exit-code"}
    assert cluster.pods == {}


def error_event(name, count):
    return {"status": "error", "message": "no", "name": name, "namespace": "team", "_redefer_count": count}


def running(cluster, name):
    state = k8s.V1ContainerState(running=k8s.V1ContainerStateRunning())
    status = k8s.V1ContainerStatus(name="base", state=state, image="i", image_id="i", ready=True, restart_count=0)
    cluster.put(cluster.pods[name], "Running", container_statuses=[status])


def test_a_trigger_that_failed_is_tried_again_with_the_log_and_not_for_ever(make, cluster):
    name = launch(make()).name
    running(cluster, name)
    again = defer(make().trigger_reentry, context(), error_event(name, 0)).trigger
    assert (again.redefer_count, again.get_logs, again.name) == (1, True, name)
    last = KubernetesPodOperator.MAX_REDEFER_ATTEMPTS
    with pytest.raises(AirflowException, match="no"):
        make().trigger_reentry(context(), error_event(name, last))
    assert cluster.pods == {}


def test_a_pod_that_could_not_be_looked_at_for_long_fails_the_try_and_is_taken_over_by_the_next(make, cluster):
    name = launch(make(), context(max_tries=1)).name
    running(cluster, name)
    with pytest.raises(AirflowException, match="no"):
        make().trigger_reentry(context(max_tries=1), error_event(name, 0) | {"outage": True})
    assert launch(make(), context(2, max_tries=1, of="second")).name == name


def test_a_pod_whose_sidecar_is_at_work_is_followed_again_and_not_waited_for(make, cluster):
    trigger = launch(make(), context(max_tries=1))
    ended(cluster, trigger, 0)
    cluster.pods[trigger.name].status.phase = "Running"
    again = defer(make().trigger_reentry, context(max_tries=1), error_event(trigger.name, 0)).trigger
    assert (again.redefer_count, again.name) == (1, trigger.name)
    with pytest.raises(AirflowException, match="no"):
        make().trigger_reentry(context(max_tries=1), error_event(trigger.name, 0) | {"outage": True})
    assert list(cluster.pods) == [trigger.name]


def test_a_pod_that_could_not_be_looked_at_has_ended_where_only_what_holds_its_xcom_runs(with_xcom, cluster):
    sidecar, found = Sidecar('{"rows": 3}'), context()
    with_it = {"status": "error", "outage": True, "_redefer_count": 0}
    assert with_xcom(sidecar, found, event=with_it) == {"rows": 3}


def test_a_pod_that_ended_while_it_could_not_be_looked_at_has_ended(make, cluster):
    trigger = launch(make())
    ended(cluster, trigger, 0)
    make(get_logs=False).trigger_reentry(context(), error_event(trigger.name, 0) | {"outage": True})
    assert cluster.pods == {}


def test_where_airflow_fails_the_task_the_pod_goes_first(make, cluster):
    launch(make())
    kept = launch(make(), context(of="kept")).name
    cluster.pods[kept].metadata.labels["already_checked"] = "True"
    with pytest.raises(TaskDeferralError):
        make().resume_execution("__fail__", {"error": "Trigger failure"}, context())
    assert list(cluster.pods) == [kept]


@pytest.mark.parametrize(
    ("error", "minutes"),
    [
        (refusal(503, "ServiceUnavailable", "leader changed"), 30),
        (HTTPError("refused"), 30),
        (refusal(403, "", ""), 2),
        (ApiException(status=0, reason="Handshake status 403 Forbidden -+-+- {}"), 2),
    ],
)
def test_a_pod_that_has_ended_and_cannot_be_read_is_waited_for(make, cluster, monkeypatch, capsys, error, minutes):
    event, now = ended(cluster, launch(make()), 0) | {"seen": "all"}, time.time()
    cluster.fails["read"] = [error] * 3
    first = defer(make().trigger_reentry, context(), event)
    assert first.timeout is None
    assert f"is finished once it can; for {minutes} min" in capsys.readouterr().out
    (again,) = run_to_its_turn(first.trigger)
    assert {key: again[key] for key in event} == event
    # What is said once is not said again, and the time runs on.
    second = defer(make().trigger_reentry, context(), again).trigger
    assert (second.attempt["since"], second.attempt["refused"]) == (first.trigger.attempt["since"], 2)
    assert "is finished once" not in capsys.readouterr().out
    monkeypatch.setattr(operator.time, "time", lambda: now + minutes * 60 + 1)
    with pytest.raises(type(error)):
        make().trigger_reentry(context(), again)
    assert len(cluster.pods) == 1
    monkeypatch.undo()
    make().trigger_reentry(context(), again)
    assert cluster.pods == {}


def run_to_its_turn(trigger):
    """The events of a trigger whose turn is at once, as Airflow stores and hands them on."""

    async def run():
        with mock.patch.object(WaitTrigger, "_turn", mock.AsyncMock()):
            _, arguments = trigger.serialize()
            return [event.payload async for event in WaitTrigger(**json.loads(json.dumps(arguments))).run()]

    return asyncio.run(run())


def test_what_a_trigger_that_failed_says_has_no_pod_in_it(make, cluster):
    """Its environment would be in the log, and in the mail."""
    trigger = launch(make(env_vars={"PASSWORD": "hunter2"}))
    ended(cluster, trigger, 3)
    with pytest.raises(AirflowException) as raised:
        make(get_logs=False).trigger_reentry(context(), error_event(trigger.name, 0))
    assert str(raised.value) == "no\nLog: https://airflow/log"
    assert raised.value.__suppress_context__


@pytest.fixture
def airflow(monkeypatch):
    """The state that Airflow says the task has."""
    said = {"state": "running"}

    def states(**asked):
        assert (asked["dag_id"], asked["task_ids"], asked["run_ids"]) == ("example", ["work"], ["run"])
        if isinstance(said["state"], Exception):
            raise said["state"]
        return {"run": {"work": said["state"]}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(states))
    return said


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("state", "goes"),
    [
        ("failed", True), ("success", True), ("restarting", True), ("skipped", True), ("removed", True),
        ("running", False), ("deferred", False), ("queued", False), (None, False), (ConnectionError("away"), False),
    ],
)  # fmt: skip
def test_a_signal_deletes_the_pod_where_a_person_ended_the_task(make, cluster, airflow, state, goes):
    task = make()
    launch(task)
    airflow["state"] = state
    task.on_kill()
    assert (cluster.pods == {}) is goes
    # What is left of the phase leaves the pod alone.
    assert task._killed


def test_a_signal_in_the_last_phase_is_no_error(make, cluster, airflow):
    event = ended(cluster, launch(make()), 0)
    task = make()
    task.post_complete_action = lambda **words: task.on_kill()
    task.trigger_reentry(context(), event)
    assert len(cluster.pods) == 1


def test_a_launch_that_takes_too_long_takes_its_pod_along(make, cluster, airflow):
    task = make()
    launch(task)
    try:
        raise AirflowTaskTimeout
    except AirflowTaskTimeout:
        task.on_kill()
    assert cluster.pods == {}


def test_a_signal_before_there_is_a_pod_asks_nobody(make, cluster, airflow):
    airflow["state"] = AssertionError("asked")
    make().on_kill()
    assert cluster.calls == []


def test_a_signal_does_not_wait_for_an_airflow_that_is_away(make, monkeypatch, cluster):
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(lambda **asked: time.sleep(60)))
    monkeypatch.setattr(operator.threading.Thread, "join", lambda self, timeout: None)
    task = make()
    launch(task)
    task.on_kill()
    assert len(cluster.pods) == 1


class Sidecar:
    """In place of the operator's pod manager: the sidecar of a pod that has ended, which holds an XCom."""

    def __init__(self, text):
        self.text, self.runs, self.calls = text, True, []

    def container_is_running(self, pod, name):
        return self.runs

    def extract_xcom_json(self, pod):
        self.calls.append("read")
        json.loads(self.text) if self.text != EMPTY_XCOM_RESULT else None
        return self.text

    def extract_xcom_kill(self, pod):
        self.calls.append("kill")
        self.runs = False

    def extract_xcom(self, pod, ignore_kill_failure):
        if not self.runs:
            raise XComRetrievalError("the sidecar is not running")
        try:
            return self.extract_xcom_json(pod)
        finally:
            self.extract_xcom_kill(pod)

    def await_pod_completion(self, pod, *_):
        return pod

    def read_pod(self, pod):
        return pod


@pytest.fixture
def with_xcom(make, cluster, monkeypatch):
    """A second phase of a task whose pod has this XCom: call it with what the phase knows of before; its result."""

    def with_xcom(sidecar, found, gone=False, event=None):
        task = make(do_xcom_push=True, get_logs=False)
        task.__dict__["pod_manager"] = sidecar
        trigger = launch(make(do_xcom_push=True), context())
        name = trigger.name
        ended(cluster, trigger, 0)
        cluster.pods[name].status.phase = "Running"
        if gone:
            cluster.pods.clear()
        monkeypatch.setattr(
            KubernetesPodOperator, "post_complete_action", lambda self, *, pod, **_: self.process_pod_deletion(pod)
        )
        monkeypatch.setattr(
            KubernetesPodOperator, "process_pod_deletion", lambda self, pod, **_: sidecar.calls.append("delete")
        )
        event = {"status": "success", "name": name, "namespace": "team", "message": "", "attempt": None} | (event or {})
        return task.trigger_reentry(found, event)

    return with_xcom


def test_an_xcom_is_stored_before_what_holds_it_ends(with_xcom):
    sidecar, found = Sidecar('{"rows": 3}'), context()
    found["ti"].xcom_push = lambda key, value: sidecar.calls.append((key, value))
    assert with_xcom(sidecar, found) == {"rows": 3}
    pushes = [call for call in sidecar.calls if isinstance(call, tuple)]
    assert pushes == [("return_value", {"rows": 3})]
    assert sidecar.calls == ["read", pushes[0], "kill", "delete"]


def test_an_xcom_that_cannot_be_stored_stays_where_it_is(with_xcom):
    sidecar, found = Sidecar('{"rows": 3}'), context()

    def push(key, value):
        raise ConnectionError("the API server is away")

    found["ti"].xcom_push = push
    with pytest.raises(ConnectionError):
        with_xcom(sidecar, found)
    assert sidecar.calls == ["read"]


AWAY = KubernetesApiException("There was an error reading the kubernetes API: refused")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("extract_xcom_json", ApiException(status=0, reason="Handshake status 500")),
        ("extract_xcom_json", WebSocketException("closed")),
        ("extract_xcom_json", OSError("reset")),
        ("container_is_running", AWAY),
    ],
)
@pytest.mark.parametrize("stays_away", [False, True])
def test_an_xcom_that_cannot_be_read_now_is_read_later(with_xcom, call, error, stays_away):
    sidecar, found = Sidecar('{"rows": 3}'), context()

    def fail(*_):
        raise error

    def away(*_):
        raise AWAY

    setattr(sidecar, call, fail)
    if stays_away:
        sidecar.await_pod_completion = away
    again = defer(with_xcom, sidecar, found).trigger
    assert isinstance(again, WaitTrigger)
    assert again.then["status"] == "success"
    # Neither the pod nor what holds the value.
    assert sidecar.calls == []


def test_the_pod_of_a_task_that_failed_is_done_with_though_its_xcom_cannot_be_read(make, cluster):
    """Else the next try would take it over, and fail at once."""
    sidecar, trigger = Sidecar('{"rows": 3}'), launch(make(do_xcom_push=True), context(max_tries=1))
    event = ended(cluster, trigger, 3)
    sidecar.extract_xcom_json = mock.Mock(side_effect=ApiException(status=0, reason="Handshake status 403 Forbidden"))
    task = make(do_xcom_push=True)
    task.__dict__["pod_manager"] = sidecar
    sidecar.delete_pod = lambda pod: cluster.delete_namespaced_pod(pod.metadata.name, "team")
    with pytest.raises(AirflowException, match="^because"):
        task.trigger_reentry(context(max_tries=1), event)
    assert cluster.pods == {}


@pytest.mark.parametrize("gone", [False, True])
def test_a_phase_that_is_repeated_has_the_xcom_that_was_stored(with_xcom, gone):
    sidecar, found = Sidecar('{"rows": 3}'), context(map_index=4)
    sidecar.runs = False
    found["ti"].xcom_pull = lambda map_indexes, key="return_value": {(4, "return_value"): {"rows": 3}}[map_indexes, key]
    assert with_xcom(sidecar, found, gone) == {"rows": 3}
    assert "read" not in sidecar.calls


@pytest.mark.parametrize("gone", [False, True])
def test_a_phase_that_is_repeated_knows_that_there_was_no_xcom(with_xcom, gone):
    sidecar, found = Sidecar(EMPTY_XCOM_RESULT), context(map_index=4)
    assert with_xcom(sidecar, found) is None
    assert sidecar.calls[:2] == ["read", "kill"]
    again, stored = Sidecar(EMPTY_XCOM_RESULT), dict(found["ti"].pushed)
    again.runs = False
    found["ti"].xcom_pull = lambda map_indexes, key="return_value": stored.get(key)
    assert with_xcom(again, found, gone) is None
    assert "read" not in again.calls


def test_an_xcom_that_was_never_read_fails_the_try(with_xcom):
    sidecar, found = Sidecar('{"rows": 3}'), context()
    found["ti"].xcom_pull = lambda map_indexes, key="": None
    # Its node was drained, or the cluster deletes pods which have ended: the operator takes that for a success.
    with pytest.raises(PodNotFoundException, match=r"^Pod report-\w+ went before its XCom was read\.\nLog: "):
        with_xcom(sidecar, found, gone=True)
    sidecar.runs = False
    with pytest.raises(XComRetrievalError):
        with_xcom(sidecar, found)


def test_a_pod_that_goes_once_it_has_said_that_there_is_no_xcom_did_well(with_xcom):
    sidecar, found = Sidecar(EMPTY_XCOM_RESULT), context()
    found["ti"].xcom_pull = lambda map_indexes, key="": None

    def go(*_):
        raise refusal(404, "NotFound", "not found")

    sidecar.await_pod_completion = go
    assert with_xcom(sidecar, found) is None


@pytest.mark.parametrize(
    ("text", "result"), [(EMPTY_XCOM_RESULT, None), ("null", None), ("no JSON", json.JSONDecodeError)]
)
def test_what_is_no_xcom_ends_the_sidecar_too(with_xcom, text, result):
    sidecar, found = Sidecar(text), context()
    if result:
        with pytest.raises(result):
            with_xcom(sidecar, found)
    else:
        assert with_xcom(sidecar, found) is result
    assert sidecar.calls.count("kill") == 1
    assert "return_value" not in found["ti"].pushed


class Late(KubernetesPodOperator):
    def post_execute(self, context, result=None):
        pass


@pytest.mark.parametrize(
    ("arguments", "phase"),
    [
        ({}, False),
        ({"do_xcom_push": True}, True),
        ({"on_success_callback": print}, True),
        ({"on_failure_callback": print}, True),
        ({"on_retry_callback": print}, True),
        ({"on_skipped_callback": print}, True),
        ({"email": "a@example.com"}, True),
        ({"email": "a@example.com", "email_on_failure": False, "email_on_retry": False}, False),
        ({"outlets": [Asset("table")]}, True),
        ({"fail_fast": True}, True),
        ({"post_execute": print}, True),
        ({"cls": Late}, True),
        ({"retries": 3, "trigger_rule": "all_done"}, False),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_task_ends_in_the_triggerer_where_nothing_needs_the_launcher(make, arguments, phase):
    assert launch(make(**arguments)).ends is not phase


def test_what_others_are_mapped_over_needs_the_launcher_which_fails_it_where_it_has_no_xcom(make):
    task = make()
    with task.dag:
        KubernetesPodOperator.partial(task_id="each", image="i").expand(cmds=task.output)
    assert launch(task).ends is False


def test_a_listener_needs_the_launcher(make, monkeypatch):
    monkeypatch.setattr(operator, "get_listener_manager", lambda: SimpleNamespace(has_listeners=True))
    assert launch(make()).ends is False


class Own(KubernetesPodOperator):
    """A team's own."""

    template_fields = (*KubernetesPodOperator.template_fields, "region")

    def __init__(self, *, region="eu", **words):
        super().__init__(**words)
        self.region = region

    def build_pod_request_obj(self, context=None, **words):
        pod = super().build_pod_request_obj(context, **words)
        pod.metadata.labels["region"] = self.region
        return pod


@pytest.mark.parametrize("cls", [KubernetesPodOperator, Own])
def test_the_class_is_by_name_the_one_that_the_dag_has(cls):
    ours = pod_task(cls)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "template_fields", "ui_color"):
        assert getattr(ours, name) == getattr(cls, name)
    assert issubclass(ours, PodTask)
    assert issubclass(ours, cls)
    assert pod_task(cls) is ours


def test_a_subclass_builds_its_pod_as_it_likes(make, cluster):
    launch(make(Own, region="us"))
    (pod,) = cluster.pods.values()
    assert pod.metadata.labels["region"] == "us"


def test_a_dry_run_needs_no_task_instance(make):
    pod = make().build_pod_request_obj(dry_run=True)
    assert TASK_INSTANCE not in (pod.metadata.annotations or {})


@pytest.mark.parametrize("base", ["report", "r" * 220, "r" * 53 + "-tail"])
def test_a_pods_name_is_one_of_a_host(base):
    name = pod_name(base, "id")
    assert name == pod_name(base, "id") != pod_name(base, "other")
    assert len(name) <= 63
    assert name.startswith(base[:50])
    assert "--" not in name


@pytest.mark.parametrize(("next_method", "called"), [(None, True), ("trigger_reentry", False)])
def test_what_is_called_before_a_task_runs_is_called_once_a_try(make, next_method, called):
    task = make(on_execute_callback=print, pre_execute=print)
    found = context()
    found["ti"]._ti_context_from_server = SimpleNamespace(next_method=next_method)
    task.render_template_fields(found)
    assert bool(task.on_execute_callback) is called
    assert (task._pre_execute_hook is not None) is called


class Guarded(KubernetesPodOperator):
    """A team's own, which looks before it runs."""

    def pre_execute(self, context):
        context["looked"].append("method")


@pytest.mark.parametrize(("next_method", "called"), [(None, True), ("trigger_reentry", False)])
def test_a_method_of_a_class_that_is_called_before_is_called_once_a_try_too(make, next_method, called):
    task, found = make(Guarded), context() | {"looked": []}
    found["ti"]._ti_context_from_server = SimpleNamespace(next_method=next_method)
    task.render_template_fields(found)
    # As Airflow asks.
    assert (getattr(task.pre_execute, "__func__", None) is not BaseOperator.pre_execute) is called


def test_a_task_that_was_cleared_while_a_phase_ran_begins_with_what_is_called_before(make, cluster):
    first = launch(make())
    event = ended(cluster, first, 0) | {"attempt": first.attempt}
    found = context(2, max_tries=1, of="second") | {"looked": []}
    found["ti"]._ti_context_from_server = SimpleNamespace(next_method="trigger_reentry")
    looked = {name: (lambda context, name=name: context["looked"].append(name)) for name in ("argument", "callback")}
    task = make(Guarded, pre_execute=looked["argument"], on_execute_callback=looked["callback"])
    task.render_template_fields(found)
    defer(task.trigger_reentry, found, event)
    assert found["looked"] == ["argument", "method", "callback"]


@pytest.mark.parametrize(("next_method", "called"), [(None, True), ("trigger_reentry", False)])
def test_what_is_called_before_a_mapped_task_runs_is_called_once_a_try(next_method, called):
    words = {"task_id": "work", "image": "report:1.0.0", "on_execute_callback": print, "pre_execute": print}
    with DAG("example", schedule=None) as dag:
        mapped = pod_task(KubernetesPodOperator).partial(**words).expand(name=["a", "b"])
    found = context(map_index=1) | {"dag": dag, "dag_run": SimpleNamespace(conf={})}
    found["ti"]._ti_context_from_server = SimpleNamespace(next_method=next_method)
    mapped.render_template_fields(found)
    task = found["ti"].task
    assert task.name == "b"
    assert bool(task.on_execute_callback) is called
    assert (task._pre_execute_hook is not None) is called
