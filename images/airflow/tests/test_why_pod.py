"""The pod of a task instance, read from a Kubernetes API."""

from dataclasses import asdict

import pytest
from api_server import asynchronous
from task_server import ago, serve

from airflow_platform.cluster import ClusterRef
from airflow_platform.why import pod

MISSING = {
    "waiting": {"reason": "ImagePullBackOff", "message": 'failed to resolve reference "localhost/i:7": not found'},
}


def trigger(ref, name="p"):
    return {"name": name, "namespace": "team", "base": "base", "cluster": asdict(ref)}


@asynchronous
async def test_a_pod_that_waits_has_its_verdict_and_events(tmp_path):
    async with serve(tmp_path) as (api, ref):
        status = {"name": "base", "image": "localhost/i:7", "state": MISSING}
        spec = {"nodeName": "n", "containers": [{"name": "base", "image": "localhost/i:7"}]}
        await api.run("p", "Pending", spec=spec, startTime=ago(60), containerStatuses=[status])
        api.events = [{"reason": "Failed", "message": "not found", "lastTimestamp": ago(1)}]
        found = await pod.of_trigger(trigger(ref))
        assert (found.name, found.namespace, found.phase, found.node) == ("p", "team", "Pending", "n")
        assert found.verdict["cause"] == "image-not-found"
        assert [one["reason"] for one in found.events] == ["Failed"]
        assert not found.worker


@asynchronous
async def test_a_pod_that_runs_has_none(tmp_path):
    async with serve(tmp_path) as (api, ref):
        await api.run("p", "Running", spec={"nodeName": "n", "containers": [{"name": "base"}]})
        found = await pod.of_trigger(trigger(ref))
        assert (found.phase, found.verdict, found.unreadable) == ("Running", None, "")
        assert found.since is not None


@asynchronous
async def test_a_pod_that_is_gone(tmp_path):
    async with serve(tmp_path) as (_, ref):
        assert (await pod.of_trigger(trigger(ref))).gone


@asynchronous
async def test_a_pod_that_may_not_be_read_says_why(tmp_path):
    async with serve(tmp_path) as (api, ref):
        await api.run("p", "Running")
        api.refuse = {"/pods/p": 403}
        assert (await pod.of_trigger(trigger(ref))).unreadable.startswith("403")


@asynchronous
async def test_a_cluster_that_cannot_be_reached_says_why(tmp_path):
    ref = ClusterRef(None, config_file=str(tmp_path / "missing"))
    found = await pod.of_trigger(trigger(ref))
    assert "There is no kubeconfig" in found.unreadable


@asynchronous
async def test_the_trigger_of_the_stock_operator_names_its_pod_otherwise(tmp_path):
    async with serve(tmp_path) as (api, ref):
        await api.run("p", "Running")
        arguments = {"pod_name": "p", "pod_namespace": "team", "base_container_name": "base"}
        assert (await pod.of_trigger({**arguments, "cluster": ref})).phase == "Running"


@pytest.fixture
def default(monkeypatch):
    """Makes a cluster the default one."""

    def default(ref):
        monkeypatch.setattr(pod, "ClusterRef", lambda conn_id: ref)

    return default


@asynchronous
async def test_the_newest_worker_pod_with_the_labels(tmp_path, default):
    async with serve(tmp_path) as (api, ref):
        default(ref)
        spec = {"nodeName": "n", "containers": [{"name": "base"}]}
        worker, own = {"dag_id": "d", "kubernetes_executor": "True"}, {"dag_id": "d", "kubernetes_pod_operator": "True"}
        for name, age, labels in (("old", 60, worker), ("new", 5, worker), ("own", 3, own)):
            await api.run(name, "Running", spec=spec, metadata={"creationTimestamp": ago(age), "labels": labels})
        found = await pod.of_worker({"dag_id": "d"}, "airflow")
        assert (found.name, found.worker) == ("new", True)
        found = await pod.of_operator({"dag_id": "d"}, ("team", "other"))
        assert (found.name, found.worker) == ("own", False)
        assert await pod.of_operator({"dag_id": "e"}, ("team",)) is None


@asynchronous
async def test_no_worker_pod_is_no_error(tmp_path, default):
    async with serve(tmp_path) as (api, ref):
        default(ref)
        assert await pod.of_worker({"dag_id": "d"}, "airflow") is None
        api.refuse = {".*": 403}
        assert await pod.of_operator({"dag_id": "d"}, ("team",)) is None


@asynchronous
async def test_the_quota_that_a_launch_waits_for_and_who_uses_it(tmp_path):
    async with serve(tmp_path) as (api, ref):
        status = {"hard": {"pods": "2"}, "used": {"pods": "2"}}
        api.quotas = [{"metadata": {"name": "q", "namespace": "team"}, "spec": {}, "status": status}]
        for name, dag_id in (("one", "a"), ("two", "secret")):
            labels = {"kubernetes_pod_operator": "True", "dag_id": dag_id}
            await api.run(name, "Running", metadata={"labels": labels})
        arguments = {**trigger(ref), "quota": "q"}
        found = await pod.quota_of_trigger(arguments, None)
        assert {dag: used["pods"] for dag, used in found.users.items()} == {"a": 1, "secret": 1}
        assert (await pod.quota_of_trigger(arguments, {"a"})).users.keys() == {"a", ""}
        assert await pod.quota_of_trigger({**arguments, "quota": "other"}, None) is None
        assert await pod.quota_of_trigger(trigger(ref), None) is None
        api.refuse = {"resourcequotas": 403}
        assert await pod.quota_of_trigger(arguments, None) is None
