"""What a release changes when a value changes: which pods restart, and whether the migrations Job runs again."""

import shutil
import sys

import pytest
import yaml
from tests.chart.release import CHART, ROOT, needs_helm, render
from tools.check import ENVIRONMENTS

sys.path.append(str(ROOT / "images" / "airflow" / "src"))

from airflow_platform import plan

pytestmark = needs_helm


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


PAGE = ROOT / "docs" / "what-restarts.md"
KINDS = {"local": ("common", "kind"), "celery": ("common", "kind", "kind-celery")}


def rows():
    """Of the page's table: each change, and to component what its cell says."""
    lines = [line[1:-1].split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    names, _, *cells = ([cell.strip() for cell in line] for line in lines)
    return [(change.strip("`"), dict(zip(names[1:], marks, strict=True))) for change, *marks in cells]


@pytest.fixture(scope="module")
def before():
    return {kind: render(values=values) for kind, values in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("change", "cells"), [pytest.param(*row, id=row[0]) for row in rows()])
def test_a_change_restarts_what_the_page_says(before, kind, change, cells):
    after = render(change, values=KINDS[kind])
    old, new = pods(before[kind]), pods(after)
    restarted = {component for component in old if new[component] != old[component]}
    assert restarted == {component for component in old if cells[component] in ("x", kind)}
    # A Job's pod template cannot change: what differs is a new Job.
    assert (job_name(before[kind]) != job_name(after)) == ("migrations" in restarted)
    # And so says the command that is asked before an upgrade.
    planned = plan.compare(*(plan.read(yaml.safe_dump_all(one), "airflow") for one in (before[kind], after)))
    assert {one.component for one in planned.restarts} == restarted - {"migrations"}
    assert bool(planned.jobs) == ("migrations" in restarted)
    assert not planned.blocked


def test_the_page_has_every_component_and_only_known_marks(before):
    for change, cells in rows():
        assert cells.keys() == pods(before["celery"]).keys(), change
        assert set(cells.values()) <= {"", "x", *KINDS}, change


def test_an_option_that_the_chart_knows_no_reader_of_restarts_all(before):
    for option in ("scheduler.not_known", "not_known.at_all"):
        section, name = option.split(".")
        new = pods(render(f'config={{"{section}": {{"{name}": 1}}}}', values=KINDS["celery"]))
        assert all(new[component] != old for component, old in pods(before["celery"]).items()), option


@pytest.mark.parametrize("values", ENVIRONMENTS, ids="-".join)
def test_the_same_values_render_the_same(values):
    assert render(values=values) == render(values=values)


def test_a_new_version_of_the_chart_alone_restarts_nothing(tmp_path):
    copy = shutil.copytree(CHART, tmp_path / "chart")
    chart = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(chart | {"version": "99.0.0"}))
    assert pods(render(chart=copy)) == pods(render())


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

    for names in ENVIRONMENTS:
        known = read(CHART / "values.yaml")
        for name in names:
            own = read(ROOT / "values" / f"{name}.yaml")
            for path, value in own.items():
                assert known.get(path) != value, f"values/{name}.yaml: {'.'.join(path)} is that without it"
            known |= own
