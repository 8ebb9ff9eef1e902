import logging

import pytest
from api_server import asynchronous
from task_server import serve

from airflow_platform import nodes
from airflow_platform.cluster import Cluster

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
            "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "2"}},
        }


@asynchronous
async def test_an_answer_serves_for_a_while(tmp_path, monkeypatch):
    async with serve(tmp_path) as (api, ref):
        cluster = await Cluster.get(ref)
        assert await nodes.of(cluster) == []
        api.nodes = [node("a")]
        assert await nodes.of(cluster) == []
        assert api.count(LISTS) == 1
        monkeypatch.setattr(nodes, "_KEEP", 0)
        nodes._known[cluster].until = 0
        assert len(await nodes.of(cluster)) == 1
        assert api.count(LISTS) == 2


@asynchronous
async def test_an_account_that_may_not_list_them_knows_none_and_that_is_said_once(tmp_path, caplog, monkeypatch):
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
