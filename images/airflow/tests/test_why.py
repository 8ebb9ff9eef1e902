"""Which facts are gathered of a task instance in which state."""

from types import SimpleNamespace

import pytest
from api_server import asynchronous

from airflow_platform import why
from airflow_platform.diagnosis.quantity import amounts
from airflow_platform.diagnosis.quota import Quota
from airflow_platform.why import pod, stored
from airflow_platform.why.database import Found, Request
from airflow_platform.why.facts import Dag, End, Executor, Facts, Instance, Pod, Run, Trigger

REQUEST = Request("d", "t")
WORKER = Executor(name="KubernetesExecutor", kind="kubernetes", room=32)


@pytest.fixture
def gather(monkeypatch, write_config):
    """What is asked elsewhere for facts of the database, as (kind, arguments); and the answer."""
    write_config("tasks: {namespaces: [team]}")
    monkeypatch.setenv("AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE", "airflow")
    asked = []

    def asks(owner, name, answer, *, waits=True):
        def tell(*arguments):
            asked.append((name, arguments))
            return answer

        async def later(*arguments):
            return tell(*arguments)

        monkeypatch.setattr(owner, name, later if waits else tell)

    answers = SimpleNamespace(
        of_trigger=None, of_worker=None, of_operator=None, quota_of_trigger=None, evidence=None, last_error=""
    )

    async def gather(state, *, end=None, operator="", log_path="log", **instance):
        facts = Facts(
            now=0, dag=Dag(id="d"), task_id="t", run=Run(id="r:1", state="running", run_after=0),
            instance=Instance(state=state, try_number=2, **instance), executor=WORKER, end=end or End(),
        )  # fmt: skip
        trigger = ("class", {"name": "p", "requested": {"pods": "1"}}) if facts.instance.trigger else None
        found = Found(facts=facts, log_path=log_path, operator=operator, trigger=trigger)
        monkeypatch.setattr(why, "_look", lambda request: found)
        for name in ("of_trigger", "of_worker", "of_operator", "quota_of_trigger"):
            asks(pod, name, getattr(answers, name))
        for name in ("evidence", "last_error"):
            asks(stored, name, getattr(answers, name), waits=False)
        asked.clear()
        return await why.explain(REQUEST)

    return SimpleNamespace(of=gather, asked=asked, answers=answers)


@asynchronous
async def test_of_a_try_that_failed_the_evidence_and_else_the_last_error(gather):
    gather.answers.last_error = "ValueError: x"
    answer = await gather.of("failed")
    assert gather.asked == [("evidence", ("log",)), ("last_error", ("log",))]
    assert "ValueError: x" in answer.sentence
    gather.answers.evidence = {"verdict": None, "reason": ""}
    answer = await gather.of("up_for_retry")
    assert gather.asked == [("evidence", ("log",)), ("last_error", ("log",))]
    assert "ValueError: x" in answer.sentence
    gather.answers.evidence = {"verdict": None, "reason": "Pod p: execution_timeout has passed."}
    answer = await gather.of("failed")
    assert gather.asked == [("evidence", ("log",))]
    assert answer.sentence == "Task t failed. Pod p: execution_timeout has passed."


@asynchronous
async def test_of_a_state_that_was_set_by_hand_no_error_is_looked_for(gather):
    await gather.of("failed", end=End(marked_by="ann"))
    assert gather.asked == [("evidence", ("log",))]


@asynchronous
async def test_a_task_that_never_began_has_no_log(gather):
    await gather.of("failed", log_path=None)
    assert gather.asked == []


@asynchronous
async def test_of_a_deferred_task_the_pod_that_its_trigger_follows(gather):
    gather.answers.of_trigger = Pod(name="p", namespace="team", phase="Pending")
    answer = await gather.of("deferred", trigger=Trigger(name="PodTrigger", kind="pod"))
    assert gather.asked == [("of_trigger", ({"name": "p", "requested": {"pods": "1"}},))]
    assert answer.cause == "pod-starts"
    await gather.of("deferred", trigger=Trigger(name="TimeDeltaTrigger"))
    assert gather.asked == []


@asynchronous
async def test_of_a_task_that_waits_for_a_quota_how_that_is_now(gather):
    waits = Trigger(name="WaitTrigger", kind="again", reason="Quota q is full.", before=2)
    assert (await gather.of("deferred", trigger=waits)).sentence.startswith("Quota q is full. The launch of task t")
    used = {"a": amounts({"pods": "5"})}
    gather.answers.quota_of_trigger = Quota(
        name="q", namespace="team", used=used["a"], hard=amounts({"pods": "5"}), users=used
    )
    assert (await gather.of("deferred", trigger=waits)).sentence == (
        "Quota q of namespace team is full (5 of 5 pods used by a (5), 1 asked for); the task waits until pods that it "
        "counts have ended, and 2 tasks wait before it. The launch of task t is tried again by itself."
    )
    assert [name for name, _ in gather.asked] == ["quota_of_trigger"]


@asynchronous
async def test_of_a_task_of_a_worker_the_worker_pod_by_its_labels(gather):
    await gather.of("queued", map_index=3)
    ((name, (labels, namespace)),) = gather.asked
    assert (name, namespace) == ("of_worker", "airflow")
    assert labels["dag_id"] == "d"
    assert labels["map_index"] == "3"
    assert labels["try_number"] == "2"
    # What a label may not hold is replaced, as Airflow replaces it.
    assert labels["run_id"].startswith("r1-")


@asynchronous
async def test_of_a_worker_that_has_made_a_pod_that_one(gather):
    gather.answers.of_operator = Pod(name="own", namespace="team", phase="Running", node="n")
    answer = await gather.of("running", operator="KubernetesPodOperator")
    assert [name for name, _ in gather.asked] == ["of_operator"]
    assert gather.asked[0][1][1] == ("team",)
    assert "in pod own on node n" in answer.sentence
    gather.answers.of_operator = None
    await gather.of("running", operator="KubernetesPodOperator")
    assert [name for name, _ in gather.asked] == ["of_operator", "of_worker"]


@asynchronous
async def test_of_a_task_without_a_state_nothing_more(gather):
    await gather.of(None)
    assert gather.asked == []
