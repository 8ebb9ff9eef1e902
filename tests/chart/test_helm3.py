"""The chart is for Helm 3.19 as well as for Helm 4: both make the same objects of it."""

import os
import shutil
import subprocess

import pytest
import yaml
from tests.chart.release import CHART, HELM, ROOT, needs_helm
from tools.check import ENVIRONMENTS, SCENARIOS

HELM_3 = os.environ.get("HELM3", "helm3")

pytestmark = [needs_helm, pytest.mark.skipif(shutil.which(HELM_3) is None, reason="no Helm 3: name it by $HELM3")]

VALUES = {
    **{"+".join(names): [ROOT / "values" / f"{name}.yaml" for name in names] for names in ENVIRONMENTS},
    **{path.name: [path] for path in SCENARIOS},
}


def said(helm, *words):
    return subprocess.run([helm, *words], capture_output=True, text=True, check=True).stdout


def objects(helm, files):
    """What it renders, by kind and name."""
    # Without a cluster each takes the Kubernetes version that it was built with.
    words = ["template", "airflow", CHART, "--namespace=airflow", "--kube-version=1.36.0"]
    found = yaml.safe_load_all(said(helm, *words, *(f"--values={path}" for path in files)))
    return {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in found if one}


def test_it_is_helm_3_19():
    assert said(HELM_3, "version", "--template={{.Version}}").startswith("v3.19")


@pytest.mark.parametrize("name", VALUES)
def test_both_make_the_same_objects(name):
    ours = objects(HELM, VALUES[name])
    assert objects(HELM_3, VALUES[name]) == ours
    assert len(ours) > 10


def test_it_lints():
    words = [f"--values={path}" for path in VALUES["common+production"]]
    assert "0 chart(s) failed" in said(HELM_3, "lint", "--strict", CHART, *words)
