"""The pods of tasks, as a process that watches them knows them, and as one that does not."""

import pytest
from api_server import asynchronous
from task_server import ago, serve

from airflow_platform import crowd
from airflow_platform.cluster import Cluster
from airflow_platform.diagnosis.quantity import amounts
from airflow_platform.watch import PodWatch

LISTS = r"^GET .*/pods\?(?!.*watch)"


@pytest.fixture(autouse=True)
def long(monkeypatch):
    monkeypatch.setattr(crowd, "_KEEP", 60)


def on(node):
    return {"nodeName": node, "containers": [{"name": "base", "resources": {"requests": {"cpu": "1"}}}]}


@asynchronous
async def test_without_a_watch_they_are_listed_for_all_who_ask(tmp_path):
    async with serve(tmp_path) as (api, ref):
        cluster = await Cluster.get(ref)
        for name in ("a", "b"):
            await api.run(name, "Running", spec=on("n"))
        found = await crowd.of(cluster, "team")
        assert found.on(["n"]) == amounts({"cpu": "2"})
        assert await crowd.of(cluster, "team") is found
        assert api.count(LISTS) == 1


@asynchronous
async def test_what_is_watched_is_not_asked_for(tmp_path):
    async with serve(tmp_path) as (api, ref):
        cluster = await Cluster.get(ref)
        await api.run("a", "Running", spec=on("n"))
        watch = await PodWatch.get(cluster, "team")
        async with watch.follow("a") as feed:
            await feed.next(5)
            asked = api.count(LISTS)
            assert (await crowd.of(cluster, "team")).on(["n"]) == amounts({"cpu": "1"})
            assert api.count(LISTS) == asked


@asynchronous
async def test_the_watch_keeps_what_the_order_depends_on(tmp_path):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    async with serve(tmp_path) as (api, ref):
        cluster = await Cluster.get(ref)
        watch = await PodWatch.get(cluster, "team")
        for name, priority in (("high", 5), ("low", 1)):
            metadata = {"annotations": {"airflow-platform/pool": "gpu"}, "creationTimestamp": ago(5)}
            labels = {"labels": {"kubernetes_pod_operator": "True"}}
            await api.run(
                name, "Pending", spec={"priority": priority}, metadata={**metadata, **labels}, conditions=[condition]
            )
        async with watch.follow("high") as high, watch.follow("low") as low:
            pods = [await one.next(5) for one in (high, low)]
            found = await crowd.of(cluster, "team")
            assert [found.ahead(pod) for pod in pods] == [0, 1]


@asynchronous
async def test_where_they_cannot_be_read_they_are_not_known(tmp_path):
    async with serve(tmp_path) as (api, ref):
        api.refuse = {"/pods": 403}
        assert await crowd.of(await Cluster.get(ref), "team") is None
