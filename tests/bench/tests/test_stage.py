"""The node without a kubelet, against the records of an API server that is not there."""

import time

import pytest
import requests
import urllib3
from tests.bench import stage
from tests.bench.stage import LINE_EVERY, NODE, Stage
from tests.observe.pods import Pod, PodEvent


class Record:
    def __init__(self):
        self.found = []

    def pods(self, where):
        return [pod for pod in self.found if where(pod)]


class Core:
    """What the stage asked for, in order."""

    def __init__(self):
        self.asked = []

    def patch_namespaced_pod_status(self, name, namespace, body, **_):
        self.asked.append((name, body["status"]["phase"]))

    def delete_namespaced_pod(self, name, namespace, body, **_):
        self.asked.append((name, "delete", body["preconditions"]["uid"]))


def pod(name, phase="Pending", node=NODE, deleting=False, began=None):
    metadata = {"name": name, "namespace": "support", "uid": f"uid-{name}"}
    metadata |= {"deletionTimestamp": "2026-01-02T03:04:05Z"} if deleting else {}
    status = {"phase": phase}
    if began:
        status["containerStatuses"] = [{"name": "base", "state": {"running": {"startedAt": began}}}]
    manifest = {"metadata": metadata, "spec": {"nodeName": node, "containers": [{"name": "base"}]}, "status": status}
    return Pod(metadata["uid"], manifest, [PodEvent(0.0, "ADDED", metadata["uid"], phase)])


@pytest.fixture
def record():
    return Record()


@pytest.fixture
def node(record):
    node = Stage(None, record)
    node._core = Core()
    return node


def moved(node):
    """What is asked of the API server when the stage looks at its pods once."""
    node._core.asked.clear()
    for one in node._mine():
        node._next(one)
    return node._core.asked


def test_a_pod_runs_until_the_stage_ends_it_and_goes_when_it_is_deleted(node, record):
    record.found = [pod("a"), pod("elsewhere", node="worker")]
    assert moved(node) == [("a", "Running")]
    record.found = [pod("a", "Running")]
    assert moved(node) == []
    node.end()
    assert moved(node) == [("a", "Succeeded")]
    record.found = [pod("a", "Succeeded", deleting=True)]
    assert moved(node) == [("a", "delete", "uid-a")]


def test_what_was_done_is_not_done_again_while_the_record_is_behind(node, record):
    record.found = [pod("a")]
    assert moved(node) == [("a", "Running")]
    assert moved(node) == []


def test_a_pod_that_came_after_the_end_runs(node, record):
    record.found = [pod("a")]
    moved(node)
    node.end()
    record.found = [pod("a", "Running"), pod("b")]
    assert moved(node) == [("a", "Succeeded"), ("b", "Running")]
    record.found = [pod("b", "Running")]
    assert moved(node) == []


def test_a_pod_that_runs_may_be_deleted(node, record):
    record.found = [pod("a", "Running", deleting=True)]
    assert moved(node) == [("a", "delete", "uid-a")]


@pytest.fixture
def log(node, record, monkeypatch):
    """Ask for the log of pod ``a``, which began ``age`` seconds ago, as the API server asks a kubelet."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    urllib3.disable_warnings()
    server = stage.Logs(node, "127.0.0.1")

    def log(age, path="a/base", **asked):
        record.found = [pod("a", "Running", began=stage._stamp(time.time() - age))]
        node._ended.setdefault("uid-a", stage._End(node.loop))
        address = f"https://127.0.0.1:{server.port}/containerLogs/support/{path}"
        return requests.get(address, params=asked, verify=False, stream=True, timeout=30)

    yield log
    server.close()


def test_a_log_has_a_line_for_each_interval(log):
    assert log(2.5 * LINE_EVERY).text == "line 1\nline 2\nline 3\n"


def test_a_log_goes_on_where_the_client_was(log):
    since = stage._stamp(time.time() - LINE_EVERY - 2, 9)
    (line,) = log(1.5 * LINE_EVERY, sinceTime=since, timestamps="true").text.splitlines()
    stamp, _, text = line.partition(" ")
    assert stamp >= since
    assert text == "line 2"


def test_a_log_that_is_followed_ends_with_its_pod(log, node):
    lines = log(1, follow="true").iter_lines()
    assert next(lines) == b"line 1"
    node.end()
    assert list(lines) == []


def test_the_lines_that_a_pod_has_printed_are_known_once_it_has_ended(node):
    began = stage._stamp(time.time() - 2.5 * LINE_EVERY)
    node.end()
    assert node.printed(pod("a", "Succeeded", began=began)) == 3


def test_there_is_no_log_of_another_pod(log):
    assert log(1, path="other/base").status_code == 404
