"""Pods that failed and are kept for somebody to look at: as long as the values say, then the reaper has them."""

import json
import re
from datetime import datetime

import pytest
import yaml
from local.cluster import images, registry, releases, settings
from local.cluster.console import Problem, wait_for
from tests.observe import reach

pytestmark = pytest.mark.long

DAG = "e2e_failed"
#: Seconds for which a pod that failed is kept.
KEPT = 40
#: Seconds for the reaper to have seen twice, five seconds apart, that its time is over.
REAPS = 30
RECEIVER = "e2e-metrics"
#: Takes what OpenTelemetry sends, and prints the words of each message that is of the reaper.
SERVER = """
import gzip, re
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if b"pods_reaped" in body:
            print(b" ".join(re.findall(rb"[a-z_.]{4,}", body)).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
HTTPServer(("0.0.0.0", 4318), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def metrics(kubectl):
    """Where Airflow sends its metrics; what came of those of the reaper."""
    (image,) = (one for one in images.tasks() if one.name == "ticket-extract")
    metadata = {"name": RECEIVER, "namespace": settings.TASK_NAMESPACE, "labels": {"e2e": "metrics"}}
    container = {
        "name": "receiver",
        "image": registry.reference(image),
        "command": ["python3", "-u", "-c", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 4318}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "5m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": settings.PULL_SECRET}],
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    service = {"selector": metadata["labels"], "ports": [{"port": 4318}]}
    objects = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
        *reach.policies(RECEIVER, metadata["labels"], 4318),
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    try:
        kubectl("apply", "-f", "-", stdin=listed)
        kubectl("wait", f"pod/{RECEIVER}", "-n", settings.TASK_NAMESPACE, "--for=condition=Ready", "--timeout=90s")
        yield lambda: kubectl("logs", RECEIVER, "-n", settings.TASK_NAMESPACE).splitlines()
    finally:
        kubectl("delete", "--ignore-not-found", "--now", "-f", "-", stdin=listed)


@pytest.fixture(scope="module")
def installed(metrics, tmp_path_factory):
    """Install the platform with these values of ``tasks``, and metrics that are sent; as it was at the end."""
    host = f"{RECEIVER}.{settings.TASK_NAMESPACE}.svc"
    sent = {"otel_on": True, "otel_host": host, "otel_port": 4318, "otel_interval_milliseconds": 2000}

    def installed(**tasks):
        path = tmp_path_factory.mktemp("values") / "values.yaml"
        path.write_text(yaml.safe_dump({"config": {"metrics": sent}, "tasks": tasks}))
        releases.install_platform(path)

    yield installed
    releases.install_platform()


@pytest.fixture(scope="module")
def reaper_says(kubectl):
    """What the triggerers' log has of a pod that is reaped."""
    selector = f"app.kubernetes.io/instance={settings.RELEASE},app.kubernetes.io/component=triggerer"

    def reaper_says(name):
        log = kubectl("logs", "-l", selector, "-n", settings.NAMESPACE, "--tail=-1")
        return [line for line in log.splitlines() if f"Pod {name} " in line and "deleted: it was" in line]

    return reaper_says


def test_a_pod_that_failed_is_kept_and_then_reaped(
    airflow, push, run_dag, get, kubectl, installed, metrics, reaper_says
):
    push("failed.py")
    wait_for(f"DAG {DAG}", lambda: airflow.dag(DAG), seconds=60)
    installed(keepFailedPods=f"{KEPT}s", reaper={"dryRun": True})

    state, instances = run_dag(DAG)
    assert state == "failed"
    said = _kept(airflow, instances["report"])
    name = said[1]

    def pod():
        try:
            return get("pod", name, "-n", settings.TASK_NAMESPACE)
        except Problem:
            return None

    # It is there for whoever wants to look, and says until when.
    ended = _ended(pod())
    assert kubectl("logs", name, "-n", settings.TASK_NAMESPACE) == "the last words\n"
    assert (datetime.fromisoformat(f"{said[2]}+00:00") - ended).total_seconds() == KEPT

    # A dry run says what would go, once, and nothing goes.
    would = "would be (tasks.reaper.dryRun) deleted: it was kept for as long as the values say"
    wait_for("the dry run's word", lambda: reaper_says(name), seconds=KEPT + REAPS)
    assert (datetime.now(ended.tzinfo) - ended).total_seconds() >= KEPT
    wait_for("the metric of a dry run", lambda: _counted(metrics(), dry="true"), seconds=30)
    assert pod() is not None
    (line,) = reaper_says(name)
    assert would in line

    installed(keepFailedPods=f"{KEPT}s", reaper={"dryRun": False})
    wait_for("the pod's end", lambda: pod() is None, seconds=60 + REAPS)
    assert any("is deleted: it was kept for as long as the values say" in line for line in reaper_says(name))
    wait_for("the metric", lambda: _counted(metrics(), dry="false"), seconds=30)


def test_a_pod_is_reaped_once_its_time_is_over_and_not_before(airflow, run_dag, get, installed):
    state, instances = run_dag(DAG)
    assert state == "failed"
    name = _kept(airflow, instances["report"])[1]
    ended = _ended(get("pod", name, "-n", settings.TASK_NAMESPACE))

    def gone_at():
        try:
            get("pod", name, "-n", settings.TASK_NAMESPACE)
        except Problem:
            return datetime.now(ended.tzinfo)
        return None

    stayed = (wait_for("the pod's end", gone_at, seconds=KEPT + REAPS, every=0.5) - ended).total_seconds()
    assert KEPT <= stayed <= KEPT + REAPS


def _kept(airflow, instance):
    """What the task's log says of the pod that is kept: its name, and until when."""
    pattern = re.compile(r"Pod (\S+) is kept until (\S+ \S+) UTC \(tasks\.keepFailedPods\)")

    def found():
        return next((match for line in airflow.log(instance) if (match := pattern.search(line))), None)

    return wait_for("the log's word of the pod", found, seconds=60)


def _ended(pod):
    (status,) = pod["status"]["containerStatuses"]
    return datetime.fromisoformat(status["state"]["terminated"]["finishedAt"])


def _counted(lines, *, dry):
    """Whether a metric of pods that were kept came, from a dry run or not."""
    return any(
        "airflow_platform.pods_reaped" in line and "kept" in line.split() and f"dry_run {dry}" in line for line in lines
    )
