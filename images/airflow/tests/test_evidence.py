import time

import pytest
from api_server import asynchronous
from task_server import ago, serve

from airflow_platform.cluster import Cluster
from airflow_platform.evidence import Evidence

BIG = {"name": "base", "resources": {"requests": {"cpu": "64"}}}
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient cpu.",
}
NODE = {"metadata": {"name": "n"}, "spec": {}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi"}}}


@pytest.fixture
def evidence(tmp_path):
    class Made:
        async def __aenter__(self):
            self._serve = serve(tmp_path)
            self.api, ref = await self._serve.__aenter__()
            return self.api, Evidence(await Cluster.get(ref), "team", "base")

        async def __aexit__(self, *error):
            await self._serve.__aexit__(*error)

    return Made


async def waiting(api, **spec):
    return await api.run("p", "Pending", conditions=[UNSCHEDULABLE], spec={"containers": [BIG], **spec})


@asynchronous
async def test_the_nodes_tell_that_a_pod_will_never_run(evidence):
    async with evidence() as (api, known):
        api.nodes = [NODE]
        pod = await waiting(api)
        assert known.diagnose(pod).cause == "no-room"
        await known.gather(pod)
        verdict = known.diagnose(pod)
        assert (verdict.cause, verdict.final) == ("too-big-for-any-node", True)


@asynchronous
async def test_what_the_watch_leaves_out_of_a_pod_is_asked_for_once(evidence):
    """A toleration: without it, nobody can say that the node's taint keeps the pod away."""
    async with evidence() as (api, known):
        taint = {"key": "gpu", "effect": "NoSchedule"}
        api.nodes = [{**NODE, "spec": {"taints": [taint]}}]
        whole = await waiting(api, tolerations=[{"key": "gpu", "operator": "Exists"}])
        seen = {**whole, "spec": {"containers": whole["spec"]["containers"]}}
        await known.gather(seen)
        await known.gather(seen)
        assert api.count(r"^GET .*/pods/p$") == 1
        assert known.diagnose(seen).cause == "too-big-for-any-node"


@asynchronous
async def test_events_tell_what_the_pod_does_not(evidence):
    async with evidence() as (api, known):
        pod = await api.run("p", "Pending", spec={"nodeName": "n", "containers": [{"name": "base"}]}, startTime=ago(5))
        message = 'MountVolume.SetUp failed for volume "v" : secret "s" not found'
        api.events = [{"reason": "FailedMount", "message": message, "firstTimestamp": ago(5), "lastTimestamp": ago(1)}]
        assert known.diagnose(pod) is None
        await known.gather(pod)
        assert known.diagnose(pod).cause == "secret-missing"
        # It has a node: the others are of no interest.
        assert api.count("/api/v1/nodes") == 0


@asynchronous
async def test_a_cluster_that_does_not_answer_is_no_error(evidence):
    async with evidence() as (api, known):
        pod = await waiting(api)
        api.refuse = {".*": 503}
        began = time.monotonic()
        await known.gather(pod)
        assert known.diagnose(pod).cause == "no-room"
        assert time.monotonic() - began < 5


@asynchronous
async def test_a_pod_that_cannot_be_read_has_no_verdict(evidence):
    async with evidence() as (api, known):
        pod = await api.run("p", "Pending", startTime="never", containerStatuses=[])
        assert known.diagnose(pod) is None
