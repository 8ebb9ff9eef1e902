"""The record of pods, against an API server that breaks off, forgets and stays silent."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client import ApiClient, ApiException, Configuration
from tests.observe.pods import PodRecord


class Cluster:
    """The pods, what each watch is to say in turn, and what was asked."""

    def __init__(self):
        self.version = 0
        self.listed = []
        self.watches = []
        self.asked = []
        self.silent = threading.Event()
        self.refuse = None

    def pod(self, name, phase="Pending", **labels):
        self.version += 1
        times = {"creationTimestamp": f"2026-01-01T00:00:{self.version:02d}Z", "resourceVersion": str(self.version)}
        return {"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels, **times}, "status": {"phase": phase}}

    def says(self, *changes, then="end"):
        """A watch that tells these changes, and then ends, breaks off or stays open."""
        self.watches.append(([{"type": kind, "object": thing} for kind, thing in changes], then))


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def record(cluster):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            cluster.asked.append({key: values[0] for key, values in query.items()})
            if cluster.refuse:
                return self._answer(cluster.refuse, {"kind": "Status", "code": cluster.refuse})
            if "watch" not in query:
                items = {"items": cluster.listed, "metadata": {"resourceVersion": str(cluster.version)}}
                return self._answer(200, items)
            changes, then = cluster.watches.pop(0) if cluster.watches else ([], "stay")
            if isinstance(then, int):
                return self._answer(then, {"kind": "Status", "code": then})
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for change in changes:
                line = json.dumps(change).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            if then == "stay":
                cluster.silent.wait(30)
            if then == "end":
                self.wfile.write(b"0\r\n\r\n")
            # Else the connection breaks in the middle of the answer.
            self.close_connection = True

        def _answer(self, status, body):
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    configuration = Configuration(host=f"http://127.0.0.1:{server.server_port}")
    configuration.retries = False
    record = PodRecord(ApiClient(configuration), "support")
    yield record
    cluster.silent.set()
    # A thread that still runs while the interpreter ends may abort it. What the record says is the test's affair.
    with contextlib.suppress(Exception):
        record.stop()
    server.shutdown()
    server.server_close()


def names(record, **labels):
    return [pod.name for pod in record.pods(**labels)]


def wait_until(check):
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_pods_that_were_there_and_that_came_are_known_and_counted(cluster, record):
    old = cluster.pod("old", "Running", dag_id="a")
    cluster.listed = [old]
    first, second = cluster.pod("first", dag_id="a"), cluster.pod("second", dag_id="b")
    ended = cluster.pod("old", "Succeeded", dag_id="a")
    third = cluster.pod("third", dag_id="a")
    changes = [("ADDED", first), ("ADDED", second), ("MODIFIED", ended), ("ADDED", third)]
    cluster.says(*changes, then="stay")
    record.start()
    wait_until(lambda: len(record.pods()) == 4)
    assert names(record) == ["old", "first", "second", "third"]
    assert names(record, dag_id="b") == ["second"]
    assert record.most_at_once() == 3
    assert record.most_at_once(dag_id="a") == 2
    assert record.pods(lambda pod: pod.terminated is not None)[0].phase == "Succeeded"


def test_a_pod_of_the_same_name_is_another(cluster, record):
    first = cluster.pod("same")
    second = cluster.pod("same") | {"metadata": cluster.pod("same")["metadata"] | {"uid": "other"}}
    cluster.says(("ADDED", first), ("DELETED", first), ("ADDED", second), then="stay")
    record.start()
    wait_until(lambda: len(record.pods()) == 2)
    assert [pod.deleted is None for pod in record.pods()] == [False, True]
    assert record.most_at_once() == 1


@pytest.mark.parametrize("end", ["end", "break", 503])
def test_a_watch_that_ends_goes_on_where_it_was(cluster, record, end):
    first, second = cluster.pod("first"), cluster.pod("second")
    cluster.says(("ADDED", first), then=end if end != 503 else "end")
    if end == 503:
        cluster.says(then=503)
    cluster.says(("ADDED", second), then="stay")
    cluster.version = 0
    record.start()
    wait_until(lambda: len(record.pods()) == 2)
    assert names(record) == ["first", "second"]
    assert cluster.asked[-1]["resourceVersion"] == "1"
    assert record.gaps == 0


@pytest.mark.parametrize("how", ["status", "event"])
def test_a_version_too_old_brings_a_new_list_with_what_is_gone(cluster, record, how):
    gone, stays, came = cluster.pod("gone", "Running"), cluster.pod("stays"), cluster.pod("came")
    cluster.listed = [gone, stays]
    if how == "status":
        cluster.says(then=410)
    else:
        cluster.says(("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"}))
    record.start()
    cluster.listed = [cluster.pod("stays", "Running"), came]
    wait_until(lambda: len(record.pods()) == 3)
    wait_until(lambda: record.pods()[0].deleted is not None)
    assert [pod.phase for pod in record.pods()] == ["Running", "Running", "Pending"]
    assert record.gaps == 1
    assert all(event.relisted for event in record.events)


def test_bookmarks_move_the_version_and_are_no_pods(cluster, record):
    bookmark = {"metadata": {"resourceVersion": "77"}}
    cluster.says(("BOOKMARK", bookmark))
    record.start()
    wait_until(lambda: len(cluster.asked) >= 3)
    assert cluster.asked[2]["resourceVersion"] == "77"
    assert record.events == []


def test_stop_is_prompt_and_takes_in_what_came_last(cluster, record):
    cluster.says(then="stay")
    record.start()
    wait_until(lambda: len(cluster.asked) == 2)
    cluster.listed = [cluster.pod("last")]
    began = time.monotonic()
    record.stop()
    assert time.monotonic() - began < 5
    assert names(record) == ["last"]


def test_a_refused_list_is_said_at_once(cluster, record):
    cluster.refuse = 403
    with pytest.raises(ApiException):
        record.start()


def test_a_record_that_failed_does_not_answer(cluster, record):
    cluster.says(("ADDED", {"metadata": {"resourceVersion": "1"}}))
    record.start()
    with pytest.raises(RuntimeError, match="not complete"):
        wait_until(lambda: record.pods() and False)


def test_earlier_states_are_kept_where_they_are_wanted(cluster, record):
    cluster.says(("ADDED", cluster.pod("one")), ("MODIFIED", cluster.pod("one", "Running")), then="stay")
    record._states = True
    record.start()
    wait_until(lambda: len(record.events) == 2)
    (pod,) = record.pods()
    assert [state["status"]["phase"] for state in pod.states] == ["Pending", "Running"]
    assert len(pod.states) == len(pod.events)
