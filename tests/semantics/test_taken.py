"""Twenty tasks of one run lose their pods: to a drain, to a pod of higher priority, to a node short of memory."""

from collections import Counter
from pathlib import Path

import pytest
from local.cluster.console import wait_for
from tests.causes import fillers, outages
from tests.faults import ledger, work
from tests.semantics.run import gone, never_two_at_once

pytestmark = pytest.mark.beyond_stock("the task fails")

PROGRAM = Path(work.SOURCE, "hold.py").read_text()
TASKS = 20
#: What the log of a task says, by what took its pod.
SAID = {"drained": "is being emptied", "preempted": "to make room", "evicted": "ran out of memory"}
#: Seconds in which kubelet stops a pod of a node that is short of memory: one every ten seconds.
EVICTS = 180


@pytest.fixture
def counted():
    """What is written by the tasks themselves: when each begins, is told to stop, and ends."""
    with ledger.running() as counted:
        yield counted


def test_20_tasks_drained_preempted_and_evicted_succeed_without_a_retry(start, priorities, core, kubectl, counted):
    run = start("semantics_taken", conf={"ledger": counted.url, "program": PROGRAM})

    def entries(event):
        return Counter(one.map_index for one in counted.entries(run.run_id) if one.event == event)

    wait_for("the tasks' beginnings", lambda: len(entries("start")) == TASKS, seconds=600)
    first = {task_id: run.running_pod(task_id) for task_id in run.states()}
    assert len(first) == TASKS
    by_way = {way: [pod for pod in first.values() if pod.labels["taken"] == way] for way in SAID}

    (node,) = {pod.manifest["spec"]["nodeName"] for pod in by_way["drained"]}
    try:
        wanted = f"--pod-selector=taken=drained,run_id={run.run_id}"
        # By force: a task's pod has no controller that would make it anew. It has a /tmp of its own.
        kubectl("drain", node, wanted, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=120s")
    finally:
        kubectl("uncordon", node)
    _all_gone(by_way["drained"])
    # They take room again before it is reckoned what is left.
    begun = TASKS + len(by_way["drained"])
    wait_for("the second beginnings", lambda: entries("start").total() == begun, seconds=300)

    (node,) = {pod.manifest["spec"]["nodeName"] for pod in by_way["preempted"]}
    uids = [pod.uid for pod in by_way["preempted"]]
    with fillers.room_taken(core, node, "semantics-higher", but=15, without=uids):
        _all_gone(by_way["preempted"])

    (node,) = {pod.manifest["spec"]["nodeName"] for pod in by_way["evicted"]}
    with outages.short_of_memory(node):
        for pod in by_way["evicted"]:
            wait_for(f"the eviction of {pod.name}", lambda pod=pod: pod.phase == "Failed", seconds=EVICTS, every=0.5)

    wait_for("each task's second beginning", lambda: set(entries("start").values()) == {2}, seconds=300)
    counted.open(run.run_id, TASKS)
    assert run.ended() == "success"

    assert {(one["state"], one["try_number"]) for one in run.instances()} == {("success", 1)}
    # Each began anew once, and ran to its end once.
    assert entries("start") == Counter(dict.fromkeys(range(TASKS), 2))
    assert entries("end") == Counter(range(TASKS))
    for task_id, pod in first.items():
        pods = run.pods(task_id)
        assert [one.uid for one in pods][:1] == [pod.uid]
        assert len(pods) == 2
        never_two_at_once(pods)
        said = SAID[pod.labels["taken"]]
        assert any(said in line and "no retry is spent" in line for line in run.log(task_id)), task_id


def _all_gone(pods):
    for pod in pods:
        gone(pod, seconds=120)
