"""What a release changes when a value changes: which pods restart, and whether the migrations Job runs again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "airflow-platform"
HELM = os.environ.get("HELM", "helm")

pytestmark = pytest.mark.skipif(shutil.which(HELM) is None, reason="no helm: name it by $HELM")


def render(*settings, values=("common", "kind")):
    command = [HELM, "template", "airflow", str(CHART), "--namespace", "airflow"]
    for name in values:
        command += ["--values", str(ROOT / "values" / f"{name}.yaml")]
    for setting in settings:
        command += ["--set-json", setting]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [one for one in yaml.safe_load_all(run.stdout) if one]


def pods(objects):
    """Component to pod template, of everything that runs pods."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]
        for one in objects
        if one["kind"] in ("Deployment", "Job")
    }


def job_name(objects):
    (name,) = (one["metadata"]["name"] for one in objects if one["kind"] == "Job")
    return name


ALL = {"api-server", "scheduler", "dag-processor", "triggerer", "migrations"}


@pytest.mark.parametrize(
    ("setting", "restarts"),
    [
        ('image.tag="9"', ALL),
        ('config={"core": {"parallelism": 8}}', ALL),
        ('extraEnv=[{"name": "A", "value": "b"}]', ALL),
        # Read where tasks are parsed and pods are made, shown in the UI, and written to the pools.
        ('nodePools=[{"name": "light", "slots": 8}]', {"api-server", "scheduler", "dag-processor", "migrations"}),
        ('tasks.keepFailedPods="2h"', {"api-server", "scheduler", "dag-processor", "triggerer"}),
        ("triggerer.replicas=2", {"triggerer"}),
        ("scheduler.replicas=2", set()),
        ('workers.resources={"requests": {"memory": "1Gi"}}', set()),
        ('workers.nodeSelector={"node-pool": "light"}', set()),
        ("launcher.slots=4", {"scheduler", "dag-processor"}),
        ('dags.gitSync.ref="release"', {"scheduler", "dag-processor"}),
        ('apiServer.service.annotations={"a": "b"}', set()),
        ('triggerer.podAnnotations={"a": "b"}', {"triggerer"}),
        ('migrations.podAnnotations={"a": "b"}', {"migrations"}),
        ('admin.email="me@example.com"', {"migrations"}),
        ("migrations.backoffLimit=1", set()),
        ("tasks.xcomSidecar=true", set()),
        ('tasks.imagePullSecrets=[{"name": "other"}]', set()),
    ],
)
def test_a_value_restarts_what_reads_it(setting, restarts):
    before, after = render(), render(setting)
    old, new = pods(before), pods(after)
    assert {component for component in new if new[component] != old[component]} == restarts
    # A Job's pod template cannot change: what differs is a new Job.
    assert (job_name(before) != job_name(after)) == ("migrations" in restarts)


@pytest.mark.parametrize(
    ("setting", "restarts"),
    [
        ('launcher.celery.podAnnotations={"a": "b"}', {"launcher"}),
        ('launcher.celery.broker.secretKey="uri"', {"scheduler", "launcher"}),
        (
            'nodePools=[{"name": "light", "slots": 8}]',
            {"api-server", "scheduler", "dag-processor", "launcher", "migrations"},
        ),
        ('dags.gitSync.ref="release"', {"dag-processor", "launcher"}),
        ("launcher.celery.replicas=2", set()),
        ('launcher.celery.autoscaling={"hpa": {"enabled": true}}', set()),
        ('launcher.celery.autoscaling={"keda": {"enabled": true}}', set()),
    ],
)
def test_a_value_restarts_what_reads_it_with_celery(setting, restarts):
    values = ("common", "kind", "kind-celery")
    old, new = pods(render(values=values)), pods(render(setting, values=values))
    assert {component for component in new if new[component] != old[component]} == restarts


@pytest.mark.parametrize("values", [("common", "kind"), ("common", "kind", "kind-celery"), ("common", "production")])
def test_the_same_values_render_the_same(values):
    assert render(values=values) == render(values=values)


def test_a_new_version_of_the_chart_alone_restarts_nothing(tmp_path):
    copy = shutil.copytree(CHART, tmp_path / "chart")
    chart = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(chart | {"version": "99.0.0"}))
    command = [HELM, "template", "airflow", str(copy), "--namespace", "airflow"]
    for name in ("common", "kind"):
        command += ["--values", str(ROOT / "values" / f"{name}.yaml")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert pods(one for one in yaml.safe_load_all(text) if one) == pods(render())


def test_the_local_platform_asks_for_little_memory():
    units = {"Mi": 1, "Gi": 1024}

    def mebibytes(quantity):
        return int(quantity[:-2]) * units[quantity[-2:]]

    def request(pod):
        main, waiting = pod["spec"]["containers"], pod["spec"].get("initContainers", [])
        asked = [[mebibytes(one["resources"]["requests"]["memory"]) for one in group] for group in (main, waiting)]
        return max(sum(asked[0]), *asked[1], 0)

    assert sum(request(pod) for pod in pods(render()).values()) <= 1536


def test_every_environment_names_only_what_differs():
    def leaves(values, path=()):
        for key, value in values.items():
            if isinstance(value, dict) and value:
                yield from leaves(value, (*path, key))
            else:
                yield (*path, key), value

    def read(path):
        return dict(leaves(yaml.safe_load(path.read_text())))

    for names in (("common", "kind", "kind-celery"), ("common", "production")):
        known = read(CHART / "values.yaml")
        for name in names:
            own = read(ROOT / "values" / f"{name}.yaml")
            for path, value in own.items():
                assert known.get(path) != value, f"values/{name}.yaml: {'.'.join(path)} is that without it"
            known |= own
