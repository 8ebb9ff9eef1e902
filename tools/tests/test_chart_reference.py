import json

import pytest
from tools import chart_reference
from tools.chart_reference import ValuesError, schema

VALUES = """\
# -- (int) How many, in
# pods.
# @schema {minimum: 1}
replicas: 1
# -- Its name.
name: ""
# -- On or off.
enabled: false
image:
  # -- Where it is.
  repository: airflow
  # -- What is asked for.
  # @schema resources
  resources: {}
# -- Anything.
config: {}
# -- None by default.
# @schema {type: [string, "null"]}
class: null
"""


@pytest.fixture
def chart(tmp_path, monkeypatch):
    """A copy of a chart; helm-docs is a program that prints its values."""
    chart = tmp_path / "charts" / "airflow-platform"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text(VALUES)
    monkeypatch.setattr(chart_reference, "CHART", chart)
    return chart


@pytest.fixture
def run(tmp_path):
    """Run the command with these words; its exit code."""
    helm_docs = tmp_path / "helm-docs"
    helm_docs.write_text('#!/bin/sh\n[ "$1" = --chart-search-root ] || exit 1\necho "# Values"; cat "$2/values.yaml"\n')
    helm_docs.chmod(0o755)
    return lambda *words: chart_reference.main([*words, "--helm-docs", str(helm_docs)])


def test_what_was_made_is_what_values_say(chart, run, capsys):
    assert run() == 0
    assert run("--check") == 0
    assert json.loads((chart / "values.schema.json").read_text())["properties"].keys() > {"replicas", "image"}
    assert (chart / "README.md").read_text().startswith("# Values\n")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda chart: (chart / "README.md").write_text("other"), ["README.md"]),
        (lambda chart: (chart / "values.schema.json").unlink(), ["values.schema.json"]),
        (
            lambda chart: (chart / "values.yaml").write_text(VALUES + "# -- New.\nmore: 1\n"),
            ["values.schema.json", "README.md"],
        ),
    ],
    ids=["README edited", "schema missing", "value added"],
)
def test_drift_is_found_named_and_mended(chart, run, capsys, change, stale):
    run()
    change(chart)
    before = {path: path.read_text() for path in chart.iterdir()}
    capsys.readouterr()
    assert run("--check") == 1
    assert capsys.readouterr().err.splitlines() == [
        f"charts/airflow-platform/{name} is not what values.yaml says. Run: {chart_reference.COMMAND}" for name in stale
    ]
    assert {path: path.read_text() for path in chart.iterdir()} == before
    assert run() == 0
    assert run("--check") == 0


def test_the_schema_of_the_charts_values_is_not_stale(tmp_path):
    """The half of the check that needs no helm-docs."""
    values = chart_reference.CHART / "values.yaml"
    made = json.dumps(schema(values.read_text()), indent=2) + "\n"
    assert (chart_reference.CHART / "values.schema.json").read_text() == made


def test_a_values_file_becomes_a_schema():
    made = schema(VALUES)
    assert made["additionalProperties"] is False
    properties = made["properties"]
    assert properties["replicas"] == {"description": "How many, in pods.", "minimum": 1, "type": "integer"}
    assert properties["enabled"]["type"] == "boolean"
    assert properties["class"]["type"] == ["string", "null"]
    assert properties["config"] == {"description": "Anything.", "type": "object", "additionalProperties": True}
    assert properties["image"]["properties"]["resources"] == {
        "description": "What is asked for.",
        **chart_reference.TYPES["resources"],
    }
    assert properties["global"]["type"] == "object"


def test_what_templates_rely_on_is_required():
    made = schema(VALUES)
    assert made["required"] == ["replicas", "image"]
    assert made["properties"]["image"]["required"] == ["repository"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("a: 1\n", 'values.yaml:1: a has no comment "# -- …"'),
        ("# -- A.\na:\n  b: 1\nc: 2\n", "values.yaml:4: c has no comment"),
        ("# -- A.\na: null\n", "values.yaml:2: a is null: give it a type by @schema"),
        ("# -- A.\n# @schema resorces\na: {}\n", "values.yaml:3: @schema resorces: no such type is known here"),
        ("# -- A.\n# @schema [1]\na: {}\n", "values.yaml:2: @schema takes a map or the name of a type"),
        ("# -- A.\n# @schema {minimum: 1\na: 1\n", "values.yaml:2: @schema takes a map or the name of a type"),
        ("- a\n", "values.yaml is not a map"),
        ("", "values.yaml is not a map"),
        ("a: [1\n", "values.yaml is not valid YAML: "),
    ],
)
def test_what_is_wrong_with_a_value_is_said_with_its_line(chart, run, capsys, values, said):
    with pytest.raises(ValuesError) as raised:
        schema(values)
    assert said in str(raised.value)
    (chart / "values.yaml").write_text(values)
    assert run() == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in chart.iterdir()] == ["values.yaml"]


def test_without_helm_docs_it_says_how_to_name_it(chart, capsys):
    assert chart_reference.main(["--helm-docs", "no-such-helm-docs"]) == 1
    assert capsys.readouterr().err == "no-such-helm-docs is not on the PATH: name it by --helm-docs\n"


def test_what_helm_docs_says_when_it_fails(chart, tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no template >&2\nexit 1\n")
    broken.chmod(0o755)
    assert chart_reference.main(["--helm-docs", str(broken)]) == 1
    assert capsys.readouterr().err == "helm-docs failed: no template\n"
