"""What is said of a pool's nodes, and the check that ``helm test`` runs."""

import pytest

from airflow_platform import pools
from airflow_platform.config import NodePool
from airflow_platform.diagnosis.quantity import amounts
from airflow_platform.pools import capacity

GPU_TAINT = {"key": "node-pool", "value": "gpu", "effect": "NoSchedule"}


def node(name, pool="gpu", *, taints=(GPU_TAINT,), ready="True", unschedulable=False, **allocatable):
    size = {"cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "90Gi"} | allocatable
    return {
        "metadata": {"name": name, "labels": {"node-pool": pool, "kubernetes.io/os": "linux"}},
        "spec": {"taints": list(taints)} | ({"unschedulable": True} if unschedulable else {}),
        "status": {"allocatable": size, "conditions": [{"type": "Ready", "status": ready}]},
    }


def pool(**more):
    given = {
        "name": "gpu",
        "slots": 4,
        "nodeSelector": {"node-pool": "gpu"},
        "tolerations": [{"key": "node-pool", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}],
    }
    return NodePool.model_validate(given | more)


def test_a_pool_is_the_nodes_that_its_pods_may_run_on():
    foreign = node("w4", taints=[GPU_TAINT, {"key": "team", "value": "x", "effect": "NoExecute"}])
    soft = node("w5", taints=[{"key": "spot", "effect": "PreferNoSchedule"}], cpu="8", **{"nvidia.com/gpu": "2"})
    found = capacity(pool(), [node("w1", "light", taints=()), node("w2"), foreign, soft])
    assert (found.nodes, found.ready, found.problem) == (("w2", "w5"), 2, "")
    assert found.allocatable["cpu"] == 12
    assert found.largest_node["cpu"] == 8
    assert found.free is None
    assert found.sentence == (
        "Pool gpu: 2 nodes ready, with 12 CPU and 32Gi of memory and 2 nvidia.com/gpu, "
        "at most 8 CPU and 16Gi of memory and 2 nvidia.com/gpu on one"
    )


def test_a_pool_without_labels_is_every_node_that_is_open_to_it():
    found = capacity(pool(nodeSelector={}, tolerations=[]), [node("w1", "light", taints=()), node("w2")])
    assert found.nodes == ("w1",)
    assert found.sentence == "Pool gpu: 1 node ready, with 4 CPU and 16Gi of memory"


def test_what_pods_ask_for_is_not_free():
    def pod(cpu, node="w1", phase="Running"):
        containers = [{"name": "a", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]
        return {"spec": {"nodeName": node, "containers": containers}, "status": {"phase": phase}}

    pods = [pod("1"), pod("500m"), pod("2", phase="Succeeded"), pod("2", node="w9"), pod("1", node=None)]
    found = capacity(pool(), [node("w1"), node("w2")], pods)
    assert found.free == {**found.allocatable, **amounts({"cpu": "6500m", "memory": "30Gi"})}
    assert found.sentence.endswith("; 6.5 CPU and 30Gi of memory free")
    assert capacity(pool(), [node("w1")], [pod("9")]).free["cpu"] == 0


NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def test_nodes_that_take_no_pod_for_now_are_of_the_pool_and_hold_nothing():
    nodes = [
        node("w1"),
        node("w2", ready="Unknown", taints=[GPU_TAINT, NOT_READY]),
        node("w3", unschedulable=True, taints=[GPU_TAINT, CORDONED]),
        node("w4", taints=[GPU_TAINT, {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]),
    ]
    found = capacity(pool(), nodes)
    assert (len(found.nodes), found.ready, found.allocatable["cpu"]) == (4, 1, 4)
    assert found.sentence == (
        "Pool gpu: 1 node ready, with 4 CPU and 16Gi of memory; "
        "not ready: w2, not ready; w3, closed to new pods; w4, disk-pressure"
    )


@pytest.mark.parametrize(
    ("more", "nodes", "problem"),
    [
        (
            {},
            [node("w1", "light"), node("w2", "arm")],
            "no node has label node-pool=gpu (node-pool is arm, light on the nodes); label one "
            "(kubectl label node NAME node-pool=gpu), or correct the pool's nodeSelector under nodePools",
        ),
        (
            {"nodeSelector": {"node-pool": "gpu", "size": "big"}},
            [node("w1")],
            "no node has label node-pool=gpu, size=big (no node has a label size); label one "
            "(kubectl label node NAME node-pool=gpu size=big), or correct the pool's nodeSelector under nodePools",
        ),
        (
            {"tolerations": []},
            [node("w1"), node("w2", taints=[{"key": "team", "effect": "NoExecute"}])],
            "every node with label node-pool=gpu is reserved (taint node-pool=gpu:NoSchedule, team:NoExecute), and the "
            "pool does not tolerate that; add the toleration to the pool under nodePools, or take the taint off a node",
        ),
        (
            {},
            [node("w1", ready="False"), node("w2", unschedulable=True)],
            "none of its nodes takes a pod now (not ready: w1, not ready; w2, closed to new pods); whoever runs the "
            "cluster must look at them",
        ),
        (
            {"minNodes": 3},
            [node("w1"), node("w2"), node("w3", ready="False")],
            "2 of its nodes take pods, and its minNodes is 3 (not ready: w3, not ready); add nodes, or lower it",
        ),
        (
            {"largest": {"cpu": "2", "memory": "64Gi"}},
            [node("w1"), node("w2", memory="32Gi")],
            "lets a task ask for 64Gi of memory, and its largest node has 32Gi of memory: such a task would never run; "
            "lower `largest` of the pool under nodePools, or add a larger node",
        ),
        (
            {"largest": {"nvidia.com/gpu": "1"}},
            [node("w1")],
            "lets a task ask for 1 nvidia.com/gpu, and its largest node has 0 nvidia.com/gpu: such a task would never "
            "run; lower `largest` of the pool under nodePools, or add a larger node",
        ),
        (
            {"largest": {"cpu": "8", "memory": "32Gi"}},
            [node("w1", cpu="8"), node("w2", memory="32Gi")],
            "lets a task ask for 8 CPU and 32Gi of memory, and no node has all of that: such a task would never run; "
            "lower `largest` of the pool under nodePools, or add a larger node",
        ),
    ],
)
def test_what_is_wrong_with_a_pool_is_one_sentence(more, nodes, problem):
    found = capacity(pool(**more), nodes)
    assert found.problem == problem
    assert found.sentence == f"Pool gpu: {problem}"


def test_the_largest_node_may_be_closed_for_now():
    closed = node("w2", cpu="16", ready="False")
    assert capacity(pool(largest={"cpu": "16"}), [node("w1"), closed]).problem == ""


def test_a_pool_that_an_autoscaler_fills_may_be_empty():
    for nodes in ([], [node("w1", "light")], [node("w1", ready="False")]):
        found = capacity(pool(minNodes=0, largest={"cpu": "4"}), nodes)
        assert found.problem == ""
        assert "no node now, which its minNodes allows" in found.sentence


class Nodes:
    """The API server's list of nodes, in pages of two."""

    def __init__(self, *nodes, status=200):
        self.nodes, self.status, self.paths = nodes, status, []

    def __call__(self, method, path, body, content_type):
        self.paths.append(path)
        if self.status != 200:
            return self.status, {"message": "nodes is forbidden"}
        start = int(path.partition("continue=")[2] or 0)
        end = start + 2
        more = {"continue": str(end)} if end < len(self.nodes) else {}
        return 200, {"metadata": more, "items": list(self.nodes[start:end])}


@pytest.fixture
def check(monkeypatch, write_config, platform):
    """The check, with the nodes of a cluster; its exit code."""

    def check(api):
        monkeypatch.setattr(pools, "api_server", lambda: api)
        try:
            pools.main()
        except SystemExit as ended:
            return ended.code
        return 0

    return check


def test_the_check_says_of_each_pool_what_it_has(check, capsys):
    api = Nodes(node("w0", "none"), node("w1", "light", taints=()), node("w2"), node("w3"), node("w4"))
    assert check(api) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Pool light: 1 node ready, with 4 CPU and 16Gi of memory",
        "Pool gpu: 3 nodes ready, with 12 CPU and 48Gi of memory, at most 4 CPU and 16Gi of memory on one",
    ]
    assert len(api.paths) == 3


def test_the_check_fails_where_a_pool_is_empty(check, capsys):
    assert check(Nodes(node("w1", "light", taints=()))) == 1
    assert "Pool gpu: no node has label node-pool=gpu (node-pool is light on the nodes)" in capsys.readouterr().out


def test_the_check_fails_where_a_queue_does_not_work(check, capsys, monkeypatch):
    monkeypatch.setattr(pools.queues, "problems", lambda platform, api: ["Pool gpu: queue q of namespace n is wrong"])
    assert check(Nodes(node("w1", "light", taints=()), node("w2"))) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "Pool gpu: queue q of namespace n is wrong"


def test_the_check_says_what_it_may_not_do(check):
    assert check(Nodes(status=403)) == ("The nodes cannot be listed: the API server answered 403: nodes is forbidden")


def test_without_pools_nothing_is_asked(check, write_config):
    write_config("nodePools: []")
    api = Nodes()
    assert check(api) == 0
    assert api.paths == []


def test_outside_of_a_pod_the_check_says_so(platform, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SystemExit, match="KUBERNETES_SERVICE_HOST is not set: this runs in a pod alone"):
        pools.main()
