"""The platform with metrics on the local cluster, and a Prometheus that scrapes it and evaluates the chart's alerts."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from local.cluster import images, registry, releases, settings, toolchain
from local.cluster.console import run, step, wait_for
from local.cluster.images import Image
from local.cluster.kind import kubectl

#: The chart's alerts.
RULES = settings.REPO / "charts" / "airflow-platform" / "files" / "monitoring" / "rules.yaml"

_VALUES = settings.REPO / "values" / "kind-metrics.yaml"
_NAME = "prometheus"
#: Seconds between two scrapes, and between two looks at the alerts.
_INTERVAL = 5


def prometheus() -> Image:
    """The image with Debian's Prometheus and promtool."""
    return Image("local/prometheus", settings.REPO / "local" / "prometheus")


def test_rules(tests: Path) -> str:
    """What promtool says of tests of the chart's alerts, which name the file ``rules.yaml`` beside them.

    :raises Problem: an alert does not do what a test says.
    """
    image = images.build(prometheus())
    words = ["docker", "run", "--rm", "--network", "none", "--cap-drop", "ALL", "--workdir", "/rules"]
    # promtool keeps its series in a folder of its own.
    words += ["--read-only", "--tmpfs", "/tmp"]
    for path in (RULES, tests):
        words += ["--volume", f"{path}:/rules/{path.name}:ro"]
    return run([*words, "--entrypoint", "promtool", image, "test", "rules", tests.name], log="chart", doing="promtool")


@contextlib.contextmanager
def installed(**metrics: Any) -> Iterator[None]:
    """The platform with metrics; afterwards all is as `make up` installs it.

    :param metrics: values of the chart, below ``metrics``.
    :raises Problem: with the state of what is not ready.
    """
    exports = exporter()
    registry.push([exports, prometheus()])
    image = {"exporter": {"image": {"repository": _address(exports), "tag": exports.tag()}}}
    with tempfile.TemporaryDirectory() as temporary:
        more = Path(temporary, "values.yaml")
        more.write_text(yaml.safe_dump({"metrics": {**image, **metrics}}))
        try:
            releases.install_platform(_VALUES, more)
            yield
        finally:
            releases.install_platform()


@contextlib.contextmanager
def scraping() -> Iterator[None]:
    """A Prometheus that scrapes the platform's metrics every five seconds, with the chart's alerts; see `ask`.

    :raises Problem: it does not become ready.
    """
    labels = {"app": _NAME}
    metadata = {"name": _NAME, "namespace": settings.NAMESPACE, "labels": labels}
    files = {"prometheus.yml": yaml.safe_dump(_configuration()), "rules.yaml": RULES.read_text()}
    container = {
        "name": _NAME,
        "image": f"{_address(prometheus())}:{prometheus().tag()}",
        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "files", "mountPath": "/etc/prometheus"},
            {"name": "data", "mountPath": "/data"},
        ],
    }
    spec = {
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": settings.PULL_SECRET}],
        "securityContext": {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "files", "configMap": {"name": _NAME}}, {"name": "data", "emptyDir": {}}],
    }
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 9090}]},
        },
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    try:
        with step("Prometheus: starting it"):
            kubectl("apply", "-f", "-", stdin=listed)
            wait_for("Prometheus", lambda: ask("query", query="up"), seconds=120)
        yield
    finally:
        kubectl("delete", "--ignore-not-found", "--now", "-f", "-", stdin=listed)


def ask(what: str, **parameters: str) -> Any:
    """The ``data`` of an answer of Prometheus' API, ``/api/v1/<what>``."""
    path = f"/api/v1/namespaces/{settings.NAMESPACE}/services/{_NAME}:9090/proxy/api/v1/{what}?{urlencode(parameters)}"
    return json.loads(kubectl("get", "--raw", path))["data"]


def _configuration() -> dict[str, Any]:
    """Scrapes as the chart's ServiceMonitor and PodMonitor have them, with the labels that the operator gives."""
    namespace, service = settings.NAMESPACE, f"{settings.RELEASE}-metrics"
    jobs = [
        {"job_name": port, "static_configs": [_target(f"{service}:{number}", pod=service)]}
        for port, number in (("exporter", 9102), ("monitor", 9103))
    ]
    jobs[0]["metric_relabel_configs"] = [
        {"source_labels": ["exported_pod"], "regex": "(.+)", "target_label": "pod"},
        {"regex": "exported_pod", "action": "labeldrop"},
    ]
    selector = f"app.kubernetes.io/instance={settings.RELEASE}"
    pods = json.loads(kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json"))["items"]
    synced = [
        _target(f"{pod['status']['podIP']}:{port['containerPort']}", pod=pod["metadata"]["name"])
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if port.get("name") == "git-sync" and not pod["metadata"].get("deletionTimestamp")
    ]
    jobs.append({"job_name": "git-sync", "static_configs": synced})
    every = f"{_INTERVAL}s"
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": ["/etc/prometheus/rules.yaml"],
        "scrape_configs": jobs,
    }


def _target(address: str, **labels: str) -> dict[str, Any]:
    return {"targets": [address], "labels": {"namespace": settings.NAMESPACE, **labels}}


def exporter() -> Image:
    """The image that turns what Airflow says of itself into metrics of Prometheus."""
    program = toolchain.programs("monitoring") / "statsd_exporter"
    folder = settings.REPO / "local" / "statsd-exporter"
    return Image("local/statsd-exporter", folder, programs={"statsd_exporter": program})


def _address(image: Image) -> str:
    return f"{settings.registry()}/{image.name}"
