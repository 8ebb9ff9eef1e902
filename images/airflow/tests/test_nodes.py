import asyncio
import logging

import pytest
from api_server import asynchronous
from task_server import serve

from airflow_platform import nodes
from airflow_platform.cluster import Cluster
from airflow_platform.diagnosis.quantity import amounts

LISTS = r"^GET /api/v1/nodes"


def node(name):
    return {
        "metadata": {"name": name, "labels": {"node-pool": "light"}, "annotations": {"long": "text"}},
        "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
        "status": {"allocatable": {"cpu": "2"}, "images": [{"names": ["a"]}]},
    }


@pytest.fixture(autouse=True)
def times(monkeypatch):
    monkeypatch.setattr(nodes, "_KEEP", 60)
    monkeypatch.setattr(nodes, "_REST", 60)


@asynchronous
async def test_all_pages_are_read_and_what_nobody_needs_is_left_out(tmp_path):
    async with serve(tmp_path) as (api, ref):
        api.nodes, api.node_page = [node(name) for name in ("a", "b", "c")], 2
        found = await nodes.of(await Cluster.get(ref))
        assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]
        assert found[0] == {
            "metadata": {"name": "a", "labels": {"node-pool": "light"}},
            "requested": {},
            "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "2"}},
        }


@asynchronous
async def test_an_answer_serves_for_a_while(tmp_path):
    async with serve(tmp_path) as (api, ref):
        cluster = await Cluster.get(ref)
        assert await nodes.of(cluster) == []
        api.nodes = [node("a")]
        assert await nodes.of(cluster) == []
        assert api.count(LISTS) == 1
        nodes._known[cluster].until = 0
        assert len(await nodes.of(cluster)) == 1
        assert api.count(LISTS) == 2


@asynchronous
async def test_an_account_that_may_not_list_them_knows_none_and_that_is_said_once(tmp_path, caplog):
    async with serve(tmp_path) as (api, ref):
        api.nodes, api.refuse = [node("a")], {"/api/v1/nodes": 403}
        cluster = await Cluster.get(ref)
        with caplog.at_level(logging.WARNING):
            assert await nodes.of(cluster) == []
            assert await nodes.of(cluster) == []
            assert api.count(LISTS) == 1
            nodes._known[cluster].until = 0
            assert await nodes.of(cluster) == []
        (said,) = [record.message for record in caplog.records if "cannot be listed" in record.message]
        assert said.startswith(f"The nodes of {cluster} cannot be listed, so less is known of pods that wait: 403")
        api.refuse.clear()
        nodes._known[cluster].until = 0
        assert len(await nodes.of(cluster)) == 1


def on(node_name, **requests):
    containers = [{"name": "c", "image": "i", "resources": {"requests": requests, "limits": {"cpu": "9"}}}]
    return {"metadata": {"name": "p"}, "spec": {"nodeName": node_name, "containers": containers}, "status": {}}


@asynchronous
async def test_each_node_has_what_all_its_pods_ask_for(tmp_path):
    async with serve(tmp_path) as (api, ref):
        api.nodes = [node("a"), node("b")]
        api.pods_on_nodes = [on("a", cpu="500m", memory="1Gi"), on("a", cpu="1"), on("gone", cpu="1")]
        found = await nodes.of(await Cluster.get(ref))
        assert [amounts(one["requested"]) for one in found] == [amounts({"cpu": "1500m", "memory": "1Gi"}), {}]
        (query,) = (path for _, path, _ in api.requests if path.startswith("/api/v1/pods"))
        assert "spec.nodeName%21%3D" in query or "spec.nodeName!%3D" in query


@asynchronous
async def test_an_account_that_may_not_list_all_pods_knows_the_nodes_and_asks_no_more(tmp_path, caplog):
    async with serve(tmp_path) as (api, ref):
        api.nodes, api.refuse = [node("a")], {r"/api/v1/pods\?": 403}
        cluster = await Cluster.get(ref)
        with caplog.at_level(logging.INFO):
            for _ in range(2):
                (found,) = await nodes.of(cluster)
                assert "requested" not in found
                nodes._known[cluster].until = 0
        assert api.count(r"^GET /api/v1/pods\?") == 1
        assert len([one for one in caplog.records if "What is free" in one.message]) == 1


@asynchronous
async def test_who_asks_while_they_are_listed_anew_has_those_of_before(tmp_path):
    async with serve(tmp_path) as (api, ref):
        api.nodes = [node("a")]
        cluster = await Cluster.get(ref)
        await nodes.of(cluster)
        nodes._known[cluster].until = 0
        api.open.clear()
        asked = asyncio.ensure_future(nodes.of(cluster))
        await api.until(lambda: api.count(LISTS) == 2)
        assert len(await asyncio.wait_for(nodes.of(cluster), 1)) == 1
        api.open.set()
        await asked


@asynchronous
async def test_what_took_long_serves_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "_KEEP", 0)
    monkeypatch.setattr(nodes, "_SHARE", 1_000_000)
    async with serve(tmp_path) as (api, ref):
        cluster = await Cluster.get(ref)
        await nodes.of(cluster)
        await nodes.of(cluster)
        assert api.count(LISTS) == 1
