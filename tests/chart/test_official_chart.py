"""Values of the official Airflow chart, converted: this chart renders with them, and does what that one did.

`official/examples` holds values after the official documentation's examples. What each changes in the official chart's
render is recorded in `official/recorded.json`. With the chart at hand (``OFFICIAL_CHART=<folder of 1.22.0>``) the
record is checked too, and with ``RECORD=1`` as well it is made anew.
"""

import json
import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from tests.chart.official import facts
from tests.chart.release import CHART, ROOT, needs_helm, render

sys.path.append(str(ROOT / "images" / "airflow" / "src"))

from airflow_platform.official_chart import components, convert
from airflow_platform.official_chart.written import written

FOLDER = Path(__file__).parent / "official"
EXAMPLES = sorted((FOLDER / "examples").glob("*.yaml"))
RECORDED = FOLDER / "recorded.json"
OFFICIAL = os.environ.get("OFFICIAL_CHART")

NOTHING = object()


def example(path):
    """The values of an example, and what its comments of `differs` and `hand` say."""
    return yaml.safe_load(path.read_text())


@cache
def official_by_default(executor):
    """The facts of the official chart with nothing but an executor."""
    return facts.of(render(f"executor={json.dumps(executor)}", values=(), chart=Path(OFFICIAL)), official=True)


def official(path, folder):
    """The facts of the official chart's render that the example changes."""
    values = example(path)["values"]
    (folder / "theirs.yaml").write_text(yaml.safe_dump(values))
    before = official_by_default(values.get("executor", "CeleryExecutor"))
    after = facts.of(render(values=(), files=[folder / "theirs.yaml"], chart=Path(OFFICIAL)), official=True)
    return {name: value for name, value in after.items() if value != before.get(name, NOTHING) and value is not None}


def ours(path, folder):
    """The conversion of an example, and this chart's facts with it."""
    (folder / "theirs.yaml").write_text(yaml.safe_dump(example(path)["values"]))
    conversion = convert([str(folder / "theirs.yaml")])
    (folder / "ours.yaml").write_text(written(conversion, ["theirs.yaml"]))
    return conversion, facts.of(render(values=(), files=[folder / "ours.yaml"]), official=False)


@needs_helm
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_this_chart_does_what_the_official_one_did(path, tmp_path):
    expected = json.loads(RECORDED.read_text())[path.stem]
    _, found = ours(path, tmp_path)
    differs = example(path).get("differs") or {}
    wrong = {
        name: (value, found.get(name))
        for name, value in expected.items()
        if found.get(name) != value and not any(name.startswith(other) for other in differs)
    }
    assert not wrong, "\n".join(f"{name}: {one[0]} was, {one[1]} is" for name, one in wrong.items())
    # What is said to differ does so: no excuse outlives its reason.
    for prefix in differs:
        assert any(name.startswith(prefix) and found.get(name) != value for name, value in expected.items()), prefix


@needs_helm
def test_a_database_at_another_port_and_a_secrets_backend_are_reached(tmp_path):
    """The record says nothing of it: the official chart's policies are of ingress alone."""
    theirs = {
        "executor": "KubernetesExecutor",
        "data": {"metadataConnection": {"host": "db.example.com", "port": 5433}},
        "config": {"secrets": {"backend": "a.Vault", "backend_kwargs": '{"url": "https://v", "variables_path": null}'}},
    }
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(theirs))
    (tmp_path / "ours.yaml").write_text(written(convert([str(tmp_path / "theirs.yaml")]), []))
    objects = {(one["kind"], one["metadata"]["name"]): one for one in render(values=(), files=[tmp_path / "ours.yaml"])}
    egress = objects["NetworkPolicy", "airflow-scheduler"]["spec"]["egress"]
    ports = {port["port"] for rule in egress for port in rule.get("ports", [])}
    assert {5433, 8200} <= ports
    assert 5432 not in ports
    pod = objects["Deployment", "airflow-scheduler"]["spec"]["template"]["spec"]
    variables = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert variables["AIRFLOW__SECRETS__BACKEND"] == "a.Vault"
    assert json.loads(variables["AIRFLOW__SECRETS__BACKEND_KWARGS"]) == {"url": "https://v", "variables_path": None}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_is_left_to_do_is_said(path, tmp_path):
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(example(path)["values"]))
    conversion = convert(
        [str(tmp_path / "theirs.yaml")], task_namespaces=["tasks"], image="registry.example.com/airflow:1"
    )
    assert sorted({one.official for one in conversion.by_hand}) == sorted(example(path).get("hand") or [])


@needs_helm
@pytest.mark.skipif(not OFFICIAL, reason="no official chart: name its folder by $OFFICIAL_CHART")
def test_the_record_is_of_the_official_chart(tmp_path):
    found = {path.stem: official(path, tmp_path) for path in EXAMPLES}
    if os.environ.get("RECORD"):
        RECORDED.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    assert json.loads(RECORDED.read_text()) == json.loads(json.dumps(found))


@pytest.mark.parametrize(
    ("define", "known"), [("component-containers", components.CONTAINERS), ("component-volumes", components.VOLUMES)]
)
def test_names_that_this_chart_refuses_are_known_to_the_converter(define, known):
    text = (CHART / "templates" / "_validate-components.tpl").read_text()
    block = text.partition(f'define "airflow-platform.validate.{define}"')[2].partition("range .values.extraVolumes")[0]
    block = block.partition("{{- end -}}\n{{- end -}}")[0] if define == "component-containers" else block
    names = {
        name for one in re.findall(r"\(?list ((?:\"[a-z-]+\"[ \n]*)+)", block) for name in re.findall(r"[a-z-]+", one)
    }
    # Of components that the official chart's values have nothing for, and the keys by which they are looked up.
    assert len(names) > 10
    assert names - known <= {
        "pgbouncer",
        "credentials",
        "exporter",
        "monitor",
        "mapping",
        "expiring",
        "scheduler",
        "launcher",
    }


def test_every_place_that_a_value_goes_to_is_one_of_this_chart():
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def at(path):
        found = values
        for key in path.split("."):
            assert key in found, path
            found = found[key]
        return found

    for component, fields in components.FIELDS.items():
        for name in fields:
            at(f"{component}.{name}")
        # Helm merges maps: what the converter has to take out, because a file does not name it.
        for part, given in at(f"{component}.resources").items():
            assert set(given) == set(components.RESOURCES[part]), (component, part)
        if "strategy" in fields:
            assert set(at(f"{component}.strategy.rollingUpdate")) == set(components.ROLLING_UPDATE)
