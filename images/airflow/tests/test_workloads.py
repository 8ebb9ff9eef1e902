import logging

import pytest
from api_server import asynchronous
from task_server import serve

from airflow_platform import workloads
from airflow_platform.cluster import Cluster

LISTS = r"^GET /apis/kueue.x-k8s.io/v1beta2/namespaces/team/workloads"
WORKLOAD = {
    "metadata": {
        "name": "pod-p-1a2b3",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"kueue.x-k8s.io/job-uid": "u"},
        "ownerReferences": [{"kind": "Pod", "name": "p", "uid": "u"}],
    },
    "spec": {"queueName": "airflow-gpu", "priority": 5, "podSets": [{"name": "main", "template": {"spec": {}}}]},
    "status": {"conditions": [{"type": "QuotaReserved", "status": "False", "message": "full"}], "requeueState": {}},
}


@pytest.fixture(autouse=True)
def times(monkeypatch):
    monkeypatch.setattr(workloads, "_KEEP", 60)
    monkeypatch.setattr(workloads, "_REST", 60)


@asynchronous
async def test_one_answer_serves_for_a_while_and_has_what_a_diagnosis_needs(tmp_path):
    async with serve(tmp_path) as (api, ref):
        api.workloads = [WORKLOAD]
        cluster = await Cluster.get(ref)
        found = await workloads.of(cluster, "team")
        assert found["u"] == {
            "metadata": {key: WORKLOAD["metadata"][key] for key in ("name", "creationTimestamp", "ownerReferences")},
            "spec": {"queueName": "airflow-gpu", "priority": 5},
            "status": {"conditions": WORKLOAD["status"]["conditions"]},
            "standing": {"admitted": 0, "before": 0},
        }
        api.workloads = []
        assert len(await workloads.of(cluster, "team")) == 1
        assert api.count(LISTS) == 1
        assert await workloads.of(cluster, "other") == {}


def workload(uid, priority=5, at=0, queue="airflow-gpu", **conditions):
    return {
        "metadata": {"creationTimestamp": f"2026-01-01T00:00:0{at}Z", "ownerReferences": [{"uid": uid}]},
        "spec": {"queueName": queue, "priority": priority},
        "status": {"conditions": [{"type": name, "status": status} for name, status in conditions.items()]},
    }


def test_a_queue_goes_by_priority_and_then_by_age():
    found = workloads.by_pod(
        [
            workload("own", at=3, QuotaReserved="False"),
            workload("younger", at=4),
            workload("less-urgent", priority=4, at=1),
            workload("more-urgent", priority=6, at=9),
            workload("older", at=2),
            workload("elsewhere", at=1, queue="airflow-light"),
            workload("runs", QuotaReserved="True"),
            workload("has-ended", QuotaReserved="True", Finished="True"),
        ]
    )
    standings = {uid: (one["standing"]["admitted"], one["standing"]["before"]) for uid, one in found.items()}
    waiting = {"more-urgent": (1, 0), "older": (1, 1), "own": (1, 2), "younger": (1, 3), "less-urgent": (1, 4)}
    assert standings.items() >= waiting.items()
    assert standings["elsewhere"] == (0, 0)


@asynchronous
async def test_an_account_that_may_not_list_them_knows_none_and_that_is_said_once(tmp_path, caplog):
    async with serve(tmp_path) as (api, ref):
        api.workloads, api.refuse = [WORKLOAD], {"/workloads": 403}
        cluster = await Cluster.get(ref)
        with caplog.at_level(logging.WARNING):
            assert await workloads.of(cluster, "team") is None
            assert await workloads.of(cluster, "team") is None
            assert api.count(LISTS) == 1
            workloads._known[cluster]["team"].until = 0
            assert await workloads.of(cluster, "team") is None
        (said,) = [record.message for record in caplog.records if "cannot be listed" in record.message]
        assert said.startswith(f"Workloads of Kueue cannot be listed in namespace team of {cluster}, so less is known")
        api.refuse.clear()
        workloads._known[cluster]["team"].until = 0
        assert len(await workloads.of(cluster, "team")) == 1
