"""What the page of the node pools shows, from plain data; and what is read of it in Airflow's database."""

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from airflow.models import crypto, import_all_models
from airflow.models.base import Base
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from sqlalchemy.orm import Session

from airflow_platform.config import NodePool
from airflow_platform.diagnosis.crowd import POOL_ANNOTATION
from airflow_platform.finisher import OWNER
from airflow_platform.ui import state
from airflow_platform.ui.node_pools import AirflowPool, Waiting, describe

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
GPU = NodePool(name="gpu", slots=4, nodeSelector={"node-pool": "gpu"})
LIGHT = NodePool(name="light", slots=32, nodeSelector={"node-pool": "light"})


def node(name, pool="gpu", ready="True", unschedulable=False, **allocatable):
    return {
        "metadata": {"name": name, "labels": {"node-pool": pool}},
        "spec": {"unschedulable": unschedulable},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", **allocatable},
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}],
        },
    }


def pod(name, node_name=None, phase="Running", pool="gpu", dag="d", **requests):
    owner = {
        "dag_id": dag, "run_id": "r", "task_id": name, "map_index": -1, "airflow": "airflow", "base": "base",
        "on_finish_action": "delete_pod", "on_kill_action": "delete_pod",
    }  # fmt: skip
    unplaced = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "lastTransitionTime": "2025-12-31T23:59:00Z",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }  # fmt: skip
    return {
        "metadata": {
            "name": name, "namespace": "team", "uid": name, "creationTimestamp": "2025-12-31T23:59:00Z",
            "annotations": {OWNER: json.dumps(owner), POOL_ANNOTATION: pool},
        },
        "spec": {
            "nodeName": node_name, "nodeSelector": {"node-pool": pool},
            "containers": [{"name": "base", "resources": {"requests": requests or {"cpu": "1"}}}],
        },
        "status": {"phase": phase, "conditions": [] if node_name else [unplaced]},
    }  # fmt: skip


def airflow_pool(name="gpu", slots=4, **states):
    return AirflowPool(name=name, slots=slots, include_deferred=True, states=states)


def waiting(name, dag="d", pool="gpu", since=NOW - 60, state="scheduled"):
    return Waiting(dag_id=dag, task_id=name, run_id="r", map_index=-1, state=state, pool=pool, since=since)


def described(node_pools=(GPU,), pools=None, nodes=(), pods=(), waiting=(), workloads=None, readable=None):
    given = [airflow_pool()] if pools is None else pools
    return describe(node_pools, given, nodes, pods, waiting, workloads, readable=readable, now=NOW)


def test_a_task_that_kueue_holds_waits_in_its_queue():
    held = pod("held", phase="Pending")
    held["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    full = "insufficient unused quota for cpu in flavor f, 1 more needed"
    workload = {
        "metadata": {},
        "spec": {"queueName": "airflow-gpu"},
        "status": {"conditions": [{"type": "QuotaReserved", "status": "False", "message": full}]},
    }
    ((one,),) = (pool["waiting"] for pool in described(pods=[held], workloads={"held": workload})["pools"])
    assert one["why"].startswith("Pod held waits in queue airflow-gpu of namespace team, which is full: it lacks 1 CPU")


def test_a_pool_shows_its_nodes_and_no_others():
    (pool,) = described(nodes=[node("a"), node("b", pool="light"), node("c")])["pools"]
    assert [one["name"] for one in pool["nodes"]] == ["a", "c"]
    assert pool["node_selector"] == {"node-pool": "gpu"}
    assert not pool["without_node"]


def test_a_node_shows_its_room_and_what_tasks_ask_of_it():
    pods = [pod("one", "a", cpu="500m", memory="1Gi"), pod("two", "a", cpu="1"), pod("elsewhere", "b")]
    (pool,) = described(nodes=[node("a", **{"nvidia.com/gpu": "2", "hugepages-2Mi": "0"})], pods=pods)["pools"]
    (found,) = pool["nodes"]
    assert found["size"] == ["4 CPU", "8Gi of memory", "2 nvidia.com/gpu"]
    assert found["requested"] == ["1.5 CPU", "1Gi of memory"]
    assert (found["pods"], found["state"], pool["note"]) == (2, "ready", "")
    assert found["free"] is None


def test_a_node_shows_what_is_free_where_all_its_pods_are_known():
    found = {**node("a", **{"nvidia.com/gpu": "2"}), "requested": {"cpu": "5", "memory": "1Gi", "nvidia.com/gpu": "2"}}
    (pool,) = described(nodes=[found], pods=[pod("one", "a", cpu="1")])["pools"]
    assert pool["nodes"][0]["free"] == ["0 CPU", "7Gi of memory", "0 nvidia.com/gpu"]
    assert pool["nodes"][0]["requested"] == ["1 CPU"]


@pytest.mark.parametrize(
    ("state", "more"),
    [
        ("not ready", {"ready": "False"}),
        ("not ready", {"ready": "Unknown"}),
        ("closed to new pods", {"unschedulable": True}),
    ],
)
def test_a_node_that_takes_no_pod_says_so(state, more):
    (pool,) = described(nodes=[node("a", **more), node("b")])["pools"]
    assert [one["state"] for one in pool["nodes"]] == [state, "ready"]


def test_a_pool_without_a_node_is_marked_and_says_what_to_do():
    (pool,) = described(nodes=[node("b", pool="light")])["pools"]
    assert (pool["without_node"], pool["nodes"]) == (True, [])
    assert pool["note"].startswith("Pool gpu: no node has label node-pool=gpu")


def test_a_pool_that_may_be_without_a_node_says_that():
    small = NodePool(name="gpu", slots=4, nodeSelector={"node-pool": "gpu"}, minNodes=0)
    (pool,) = described((small,), nodes=[])["pools"]
    assert pool["note"] == "Pool gpu: no node now, which its minNodes allows; tasks wait until one is added"


def test_nodes_that_cannot_be_listed_mark_nothing():
    found = described(nodes=None)
    assert not found["nodes_known"]
    assert (found["pools"][0]["without_node"], found["pools"][0]["nodes"], found["pools"][0]["note"]) == (
        False,
        None,
        "",
    )


def test_slots_are_counted_as_airflow_does():
    (pool,) = described(pools=[airflow_pool(running=1, deferred=2, scheduled=7)])["pools"]
    assert (pool["used"], pool["slots"]) == (3, 4)
    apart = AirflowPool(name="gpu", slots=4, include_deferred=False, states={"running": 1, "deferred": 2})
    assert described(pools=[apart])["pools"][0]["used"] == 1


def test_a_pool_that_airflow_does_not_have_yet_says_so():
    (pool,) = described(pools=[])["pools"]
    assert pool["missing"]


def test_airflows_other_pools_come_last():
    found = described(pools=[airflow_pool("default_pool", None), airflow_pool()])["pools"]
    assert [(one["name"], one["slots"], one["node_selector"] is None) for one in found] == [
        ("gpu", 4, False),
        ("default_pool", None, True),
    ]


def test_a_pod_that_waits_says_why():
    pods = [pod("big", phase="Pending", cpu="64"), pod("runs", "a")]
    (pool,) = described(nodes=[node("a")], pods=pods)["pools"]
    (one,) = pool["waiting"]
    assert (one["task_id"], one["state"]) == ("big", "pod pending")
    assert one["why"].startswith("Pod big asks for 64 CPU")
    assert one["since"] == NOW - 60


def test_a_pod_that_nothing_is_wrong_with_starts():
    (pool,) = described(nodes=[node("a")], pods=[pod("new", "a", phase="Pending")])["pools"]
    assert pool["waiting"][0]["why"] == "Its pod is starting."


def test_a_pod_that_cannot_be_read_is_passed_over():
    strange = pod("x", phase="Pending")
    strange["metadata"]["annotations"] = {}
    assert described(pods=[strange])["pools"][0]["waiting"] == []


@pytest.mark.parametrize(
    ("state", "running", "why"),
    [
        ("scheduled", 4, "Waits for a slot: 4 of 4 are taken."),
        (
            "scheduled",
            3,
            "Waits for a limit of its DAG, for more slots than are free, or for the scheduler's next look.",
        ),
        ("queued", 4, "Waits for a process, or a worker pod, that begins it."),
    ],
)
def test_a_task_without_a_pod_waits_for_what_its_pool_tells(state, running, why):
    (pool,) = described(pools=[airflow_pool(running=running)], waiting=[waiting("t", state=state)])["pools"]
    assert pool["waiting"][0]["why"] == why


def test_those_that_wait_longest_come_first_and_the_list_has_an_end():
    many = [waiting(f"t{number}", since=NOW - number) for number in range(60)]
    (pool,) = described(waiting=many)["pools"]
    assert [one["task_id"] for one in pool["waiting"][:2]] == ["t59", "t58"]
    assert (len(pool["waiting"]), pool["more"]) == (50, 10)


def test_tasks_of_dags_that_may_not_be_read_are_only_counted():
    pods = [pod("secret", phase="Pending", dag="other")]
    (pool,) = described(waiting=[waiting("t"), waiting("u", dag="other")], pods=pods, readable={"d"})["pools"]
    assert [one["dag_id"] for one in pool["waiting"]] == ["d"]
    assert pool["hidden"] == 2
    assert "other" not in json.dumps(pool)


def test_each_task_waits_in_its_own_pool():
    gpu, light = described((GPU, LIGHT), [airflow_pool(), airflow_pool("light")], waiting=[waiting("t", pool="light")])[
        "pools"
    ]
    assert (len(gpu["waiting"]), len(light["waiting"])) == (0, 1)


@pytest.fixture
def session():
    engine = sa.create_engine("sqlite://")
    import_all_models()
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Pool(pool="gpu", slots=4, include_deferred=True))
        session.add(Pool(pool="default_pool", slots=-1, include_deferred=False))
        at = datetime(2026, 1, 1, tzinfo=timezone.utc)
        rows = [("running", "gpu", 2), ("deferred", "gpu", 1), ("scheduled", "gpu", 1), ("queued", "gpu", 1),
                ("success", "gpu", 1), ("scheduled", "default_pool", 1)]  # fmt: skip
        for number, (task_state, pool, slots) in enumerate(rows):
            values = {
                "id": uuid.uuid4(), "dag_id": "d", "run_id": "r", "task_id": f"t{number}", "map_index": -1,
                "state": task_state, "pool": pool, "pool_slots": slots, "span_status": "x",
                "scheduled_dttm": at - timedelta(minutes=number), "queued_dttm": at if task_state == "queued" else None,
            }  # fmt: skip
            session.execute(sa.insert(TaskInstance.__table__).values(values))
        yield session
    engine.dispose()


def test_pools_are_read_from_the_database(session):
    found = {pool.name: pool for pool in state.airflow_pools(session)}
    assert found["gpu"].states == {"running": 2, "deferred": 1, "scheduled": 1, "queued": 1}
    assert (found["gpu"].used, found["gpu"].slots) == (4, 4)
    assert (found["default_pool"].slots, found["default_pool"].states) == (None, {"scheduled": 1})


def test_a_task_whose_launch_was_refused_waits_with_the_reason(session, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "X2xkVHk1ekVpTzJ6R2p6bmN5b0c2MmJvR2ZRb0s0ZHg=")
    crypto.get_fernet.cache_clear()
    for classpath, task_id in ((state._REFUSED, "t1"), ("airflow_platform.trigger.PodTrigger", "t0")):
        trigger = Trigger(classpath=classpath, kwargs={"reason": "Quota q is full."})
        session.add(trigger)
        session.flush()
        session.execute(sa.update(TaskInstance).where(TaskInstance.task_id == task_id).values(trigger_id=trigger.id))
    found = {one.task_id: one.why for one in state.waiting_tasks(session)}
    assert found == {"t1": "Quota q is full.", "t2": "", "t3": "", "t5": ""}
    crypto.get_fernet.cache_clear()


def test_a_pod_that_waits_shows_how_much_tasks_ask_for_and_its_place():
    pods = [pod("runs", "a", cpu="3"), *(pod(name, phase="Pending", cpu="2") for name in ("first", "second"))]
    (pool,) = described(nodes=[node("a")], pods=pods)["pools"]
    assert [one["why"].partition(";")[0] for one in pool["waiting"]] == [
        "Pod first waits for 2 CPU on pool gpu (tasks ask for 3 of 4 CPU, no task ahead)",
        "Pod second waits for 2 CPU on pool gpu (tasks ask for 3 of 4 CPU, 1 task ahead)",
    ]


def test_what_waits_is_read_from_the_database(session):
    found = state.waiting_tasks(session)
    assert [(one.task_id, one.state, one.pool) for one in found] == [
        ("t5", "scheduled", "default_pool"),
        ("t3", "queued", "gpu"),
        ("t2", "scheduled", "gpu"),
    ]
    assert found[1].since == NOW
