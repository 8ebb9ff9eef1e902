"""A release of the chart, as helm renders it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "airflow-platform"
HELM = os.environ.get("HELM", "helm")

needs_helm = pytest.mark.skipif(shutil.which(HELM) is None, reason="no helm: name it by $HELM")


def render(
    *settings: str,
    values: Sequence[str] = ("common", "kind"),
    files: Sequence[Path] = (),
    chart: Path = CHART,
) -> list[dict[str, Any]]:
    """The objects of a release with these files of `values/`, then these others, then these settings, `key=JSON`.

    :raises AssertionError: helm refused, with what it said.
    """
    command = [HELM, "template", "airflow", str(chart), "--namespace", "airflow"]
    for file in (*(ROOT / "values" / f"{name}.yaml" for name in values), *files):
        command += ["--values", str(file)]
    for setting in settings:
        command += ["--set-json", setting]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [one for one in yaml.safe_load_all(run.stdout) if one]


def pods(objects: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Component and pod, of all that runs one: the chart's, and the template of workers."""
    found = []
    for one in objects:
        spec, name = one.get("spec", {}), one["metadata"]["labels"]["app.kubernetes.io/component"]
        if one["kind"] == "Pod":
            found.append((name, one))
        elif "template" in spec:
            found.append((name, spec["template"]))
        elif one["kind"] == "CronJob":
            found.append((name, spec["jobTemplate"]["spec"]["template"]))
        elif "worker-pod.yaml" in one.get("data", {}):
            found.append((name, yaml.safe_load(one["data"]["worker-pod.yaml"])))
    return found
