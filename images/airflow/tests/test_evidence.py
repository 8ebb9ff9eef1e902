import json
import time

import pytest
from api_server import asynchronous
from task_server import ago, instance, serve

from airflow_platform import evidence as module
from airflow_platform import nodes
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
async def test_what_is_around_a_pod_that_has_no_node_is_known_without_its_events(evidence):
    async with evidence() as (api, known):
        labelled = {"name": "n", "labels": {"node-pool": "gpu"}}
        api.nodes = [{**NODE, "metadata": labelled}]
        api.pods_on_nodes = [{"spec": {"nodeName": "n", "containers": [{"resources": {"requests": {"cpu": "1500m"}}}]}}]
        small = {"name": "base", "resources": {"requests": {"cpu": "1"}}}
        for number in range(2):
            metadata = {"creationTimestamp": ago(60 + number), "annotations": {"airflow-platform/pool": "gpu"}}
            labels = {"labels": {"kubernetes_pod_operator": "True"}}
            await api.run(f"older{number}", "Pending", conditions=[UNSCHEDULABLE], metadata={**metadata, **labels})
        pod = await api.run(
            "p", "Pending", conditions=[UNSCHEDULABLE], spec={"containers": [small]},
            metadata={"annotations": {"airflow-platform/pool": "gpu"}},
        )  # fmt: skip
        await known.look_around(pod)
        assert "waits for 1 CPU on pool gpu (free 0.5 of 2 CPU, 2 tasks ahead)" in known.diagnose(pod).sentence
        assert api.count("/events") == 0
        # One that has a node, or has not been looked at, needs none of it.
        asked = len(api.requests)
        await known.look_around({**pod, "spec": {**pod["spec"], "nodeName": "n"}})
        await known.look_around({**pod, "status": {"phase": "Pending"}})
        assert len(api.requests) == asked


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


def ready(status, at):
    return {**NODE, "status": {**NODE["status"], "conditions": [{"type": "Ready", "status": status, **at}]}}


async def given_up(api, **condition):
    """A pod that runs, and whose node Kubernetes has given up."""
    status = {"name": "base", "containerID": "c", "state": {"running": {"startedAt": ago(90)}}}
    condition = {"status": "True", "reason": "DeletionByTaintManager", "lastTransitionTime": ago(1), **condition}
    spec = {"nodeName": "n", "containers": [{"name": "base"}]}
    return await api.run("p", "Running", spec=spec, containerStatuses=[status], conditions=[condition])


@asynchronous
async def test_a_node_that_is_silent_is_looked_at_anew_once(evidence):
    async with evidence() as (api, known):
        at = {"lastTransitionTime": ago(5)}
        api.nodes = [ready("True", at)]
        await nodes.of(known._cluster)
        nodes._known[known._cluster].asked -= 20
        api.nodes = [ready("Unknown", at)]
        pod = await given_up(api, type="Ready", status="False", reason=None)
        assert known.diagnose(pod).cause == "node-lost"
        for _ in range(2):
            await known.look_around(pod)
        assert api.count("/api/v1/nodes") == 2
        assert "Node n, where pod p is, does not answer any more" in known.diagnose(pod).sentence
        # It is back: what was known of it is no more.
        pod["status"]["conditions"][0]["status"] = "True"
        assert known.diagnose(pod) is None


@asynchronous
async def test_a_node_that_is_well_and_was_closed_is_told_from_one_that_is_away(evidence):
    async with evidence() as (api, known):
        api.nodes = [ready("True", {"lastTransitionTime": ago(500)})]
        pod = await given_up(api, type="DisruptionTarget")
        assert known.diagnose(pod).cause == "node-lost"
        await known.look_around(pod)
        assert known.diagnose(pod).cause == "drained"
        assert known.diagnose({**pod, "status": {**pod["status"], "phase": "Failed"}}).cause == "drained"


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


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """The folder of logs, which are uploaded."""
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    return tmp_path / "logs"


async def failed(api, known):
    status = {"name": "base", "image": "i:1", "imageID": "registry/i@sha256:1"}
    status["state"] = {"terminated": {"exitCode": 3, "reason": "Error"}}
    container = {"name": "base", "image": "i:1", "env": [{"name": "PASSWORD", "value": "hunter2"}]}
    pod = await api.run("p", "Failed", spec={"nodeName": "n", "containers": [container]}, containerStatuses=[status])
    api.events = [{"reason": "Killing", "message": "Stopping container base", "lastTimestamp": ago(1)}]
    api.nodes = [NODE]
    await known.gather(pod)
    return pod


@asynchronous
async def test_the_evidence_of_a_failure_stands_beside_its_log(evidence, logs):
    async with evidence() as (api, known):
        pod = await failed(api, known)
        module.save("7", known.of(pod, known.diagnose(pod), ["[base] one", "[base] two"]))
    path = "dag_id=d/run_id=r/task_id=t/attempt=1"
    assert module.taken("7", f"{path}.log.trigger.4.log") == [f"{path}.evidence.json", f"{path}.evidence.txt"]
    found = json.loads((logs / f"{path}.evidence.json").read_text())
    assert (found["verdict"]["cause"], found["verdict"]["exit_code"]) == ("exit-code", 3)
    assert found["containers"] == [
        {"name": "base", "image": "registry/i@sha256:1", "state": "terminated with exit code 3 (Error)"}
    ]
    assert found["last_lines"] == ["[base] one", "[base] two"]
    assert found["pod"]["spec"]["nodeName"] == found["node"]["metadata"]["name"] == "n"
    assert found["node"]["status"] == NODE["status"]
    text = (logs / f"{path}.evidence.txt").read_text()
    assert text.startswith("Container base of pod p ended with exit code 3; its log says why.\n")
    assert "  [base] two\n" in text
    assert "Killing: Stopping container base" in text
    assert "hunter2" not in text + (logs / f"{path}.evidence.json").read_text()
    assert module.taken("7", f"{path}.log.trigger.4.log") == []


@asynchronous
async def test_a_pod_that_nobody_has_seen_leaves_evidence_too(evidence, logs):
    async with evidence() as (_, known):
        module.save("8", known.of(None, known.diagnose(None, deleted=True), [], "It is gone."))
        assert module.reason("8") == "It is gone."
    (_, text) = module.taken("8", "a.log.trigger.4.log")
    assert (logs / text).read_text().startswith("It is gone.\n")


def test_the_evidence_of_a_phase_is_named_as_its_log(logs):
    """Also where the names in it look like a log's."""
    module.save("6", module.record(None, None, "team"))
    path = "dag_id=a.log.trigger.b/run_id=r.log/task_id=t/attempt=1"
    assert module.taken("6", f"{path}.log") == [f"{path}.evidence.json", f"{path}.evidence.txt"]


@pytest.mark.parametrize(("map_index", "part"), [(-1, ""), (3, "map_index=3/")])
def test_where_evidence_is_can_be_told_before_it_is_there(logs, monkeypatch, map_index, part):
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", "s3://logs/prefix/")
    found = module.address(instance("t", "r", map_index))
    assert found == f"s3://logs/prefix/dag_id=dag/run_id=r/task_id=t/{part}attempt=1.evidence.txt"
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "False")
    assert module.address(instance()) == ""


@asynchronous
async def test_nothing_is_saved_where_logs_are_not_uploaded(evidence, logs, monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "False")
    async with evidence() as (_, known):
        module.save("9", known.of(None, None, []))
    assert not logs.exists()
