"""What an upgrade would do, by two manifests."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from airflow_platform import cli
from airflow_platform import programs as called_programs
from airflow_platform.plan import command, compare, read
from airflow_platform.plan.comparison import schema_moves
from airflow_platform.plan.manifest import ManifestError
from airflow_platform.plan.running import Tasks

FOLDER = Path(__file__).parent / "plan"
BEFORE, AFTER = FOLDER / "before.yaml", FOLDER / "after.yaml"


def planned(before=BEFORE, after=AFTER):
    return compare(*(read(one.read_text(), "airflow") for one in (before, after)))


def one(**spec):
    """A plan for one object, of its fields before and after."""
    objects = []
    for number in (0, 1):
        fields = {key: value[number] if isinstance(value, tuple) else value for key, value in spec.items()}
        made = {"apiVersion": "v1", "metadata": {"name": "it"}} | fields
        objects.append(read(yaml.safe_dump(made), "airflow"))
    return compare(*objects)


def test_the_golden_manifests_are_told_as_recorded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    tasks = Tasks(in_launcher=3, in_workers=1, deferred=40, queued=7)
    monkeypatch.setattr(command, "_tasks", lambda *_: tasks)
    code = cli.main(["plan", "airflow", "--before", str(BEFORE), "--after", str(AFTER)])
    said = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    assert said == (FOLDER / "said.txt").read_text()
    assert code == command.BLOCKED


def test_the_same_manifest_changes_nothing():
    plan = planned(after=BEFORE)
    assert (plan.restarts, plan.jobs, plan.created, plan.changed, plan.removed, plan.blocked) == ((),) * 6
    assert plan.schema_moves is False
    assert plan.untouched == ("scheduler", "triggerer", "broker")


def test_another_image_may_have_another_airflow(tmp_path, capsys):
    objects = list(yaml.safe_load_all(BEFORE.read_text()))
    (scheduler,) = (
        one for one in objects if one["metadata"]["name"] == "airflow-scheduler" and one["kind"] == "Deployment"
    )
    (container,) = (one for one in scheduler["spec"]["template"]["spec"]["containers"] if one["name"] == "scheduler")
    container["image"] += "-with-more"
    (tmp_path / "after.yaml").write_text(yaml.safe_dump_all(objects))
    cli.main(["plan", "airflow", "--before", str(BEFORE), "--after", str(tmp_path / "after.yaml"), "--without-tasks"])
    said = " ".join(capsys.readouterr().out.split())
    assert "The image is another one. Where it has another Airflow than 3.2.2, the schema may move: back up" in said


def test_a_label_of_the_chart_s_version_is_no_change():
    assert "airflow-triggerer" not in {name.name for name in planned().changed}


def test_no_value_of_a_variable_is_repeated(capsys):
    for words in ([], ["--json"]):
        files = ["--before", str(BEFORE), "--after", str(AFTER)]
        cli.main(["plan", "airflow", *files, "--without-tasks", *words])
        assert "secret" not in capsys.readouterr().out


def test_as_json(capsys):
    cli.main(["plan", "airflow", "--before", str(BEFORE), "--after", str(AFTER), "--without-tasks", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [restart["component"] for restart in found["restarts"]] == ["scheduler"]
    assert found["schema_moves"] is True
    assert found["blocked"][1] == {
        "object": "RoleBinding airflow-scheduler",
        "field": "roleRef",
        "remedy": "delete it first (kubectl delete rolebinding airflow-scheduler --namespace support)",
    }


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        ("Deployment", {"spec": ({"selector": 1, "template": {}}, {"selector": 2, "template": {}})}, "spec.selector"),
        ("StatefulSet", {"spec": ({"serviceName": "a", "template": {}}, {"template": {}})}, "spec.serviceName"),
        ("Job", {"spec": ({"template": {"a": 1}}, {"template": {"a": 2}})}, "spec.template"),
        ("Service", {"spec": ({"clusterIP": "10.0.0.1"}, {"clusterIP": "None"})}, "spec.clusterIP"),
        ("PriorityClass", {"value": (1, 2)}, "value"),
        ("PersistentVolumeClaim", {"spec": ({"volumeMode": "a"}, {"volumeMode": "b"})}, "spec.volumeMode"),
        ("ConfigMap", {"immutable": True, "data": ({"a": "1"}, {"a": "2"})}, "data"),
    ],
)
def test_what_the_api_server_refuses_is_named(kind, fields, field):
    (found,) = one(kind=kind, **fields).blocked
    assert (found.object.name, found.field) == ("it", field)
    assert "kubectl delete" in found.remedy


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("StatefulSet", {"spec": ({"replicas": 1, "template": {"a": 1}}, {"replicas": 2, "template": {"a": 1}})}),
        ("Service", {"spec": ({"clusterIP": "10.0.0.1"}, {"ports": []})}),
        ("Job", {"spec": ({"template": {}, "backoffLimit": 1}, {"template": {}, "backoffLimit": 2})}),
        ("ConfigMap", {"data": ({"a": "1"}, {"a": "2"})}),
    ],
)
def test_what_it_takes_is_not_blocked(kind, fields):
    plan = one(kind=kind, **fields)
    assert plan.changed
    assert not plan.blocked


def test_more_pods_restart_none():
    pod = {"metadata": {}, "spec": {"containers": []}}
    plan = one(kind="Deployment", spec=({"replicas": 1, "template": pod}, {"replicas": 2, "template": pod}))
    assert plan.changed
    assert not plan.restarts


@pytest.mark.parametrize(
    ("old", "new", "moves"),
    [
        ("3.3.0", "3.3.2", False),
        ("3.2.2", "3.3.2", True),
        ("3.3.2", "3.2.2", True),
        ("3.1.7", "3.1.8", True),
        ("3.4.1", "3.4.1", False),
        ("3.3.2", "3.4.0", None),
        ("2.11.0", "3.3.2", None),
        (None, "3.3.2", None),
        ("main", "3.3.2", None),
    ],
)
def test_whether_the_schema_moves(old, new, moves):
    assert schema_moves(old, new) is moves


def test_the_schemas_are_those_of_airflow():
    from airflow.utils.db import _REVISION_HEADS_MAP

    from airflow_platform.plan.comparison import SCHEMAS

    known = {tuple(map(int, version.split("."))) for version in _REVISION_HEADS_MAP}
    assert {version for version in known if version[0] >= 3} == set(SCHEMAS)


def test_tasks_by_what_an_upgrade_does_to_them():
    rows = [
        ("running", "launcher", 2),
        ("restarting", "launcher", 1),
        ("running", "", 4),
        ("deferred", "launcher", 30),
        ("deferred", "", 1),
        ("queued", "launcher", 5),
        ("up_for_reschedule", "", 1),
    ]
    assert Tasks.of(rows) == Tasks(in_launcher=3, in_workers=4, deferred=31, queued=6)


def programs(monkeypatch, **answers):
    """Stands in for helm and kubectl: what they were called with, in order."""
    called = []

    def run(words, **options):
        called.append((words, options["input"]))
        code, said = answers[words[0]](words)
        return SimpleNamespace(returncode=code, stdout=said, stderr=said)

    monkeypatch.setattr(called_programs.subprocess, "run", run)
    return called


def test_helm_and_the_scheduler_are_asked(monkeypatch, capsys):
    def helm(words):
        text = AFTER.read_text() if words[1] == "upgrade" else BEFORE.read_text()
        return 0, json.dumps({"manifest": text}) if words[1] == "upgrade" else text

    answer = json.dumps({"schema": ["x"], "tasks": [["running", "launcher", 2]]})
    called = programs(monkeypatch, helm=helm, kubectl=lambda _: (0, answer))
    words = ["airflow", "chart", "-n", "platform", "-f", "a.yaml", "--set", "b=1", "--values", "c.yaml"]
    assert cli.main(["plan", *words]) == command.BLOCKED
    assert [one[0] for one in called] == [
        ["helm", "get", "manifest", "airflow", "--namespace", "platform"],
        ["helm", "upgrade", "airflow", "chart", "--values", "a.yaml", "--set", "b=1", "--values", "c.yaml",
         "--dry-run=server", "--output", "json", "--namespace", "platform"],
        ["kubectl", "exec", "--stdin", "deployment/airflow-scheduler", "--container", "scheduler",
         "--namespace", "platform", "--", "python", "-"],
    ]  # fmt: skip
    assert "SELECT version_num FROM alembic_version" in called[2][1]
    assert "Touched: up to 2, as pods of scheduler end. They have 60 s" in capsys.readouterr().out


def test_a_pod_that_cannot_be_asked_leaves_the_tasks_unknown(monkeypatch, capsys):
    programs(monkeypatch, kubectl=lambda _: (1, "error: timed out"))
    assert cli.main(["plan", "airflow", "--before", str(BEFORE), "--after", str(AFTER)]) == command.BLOCKED
    assert "Tasks: not known, as the scheduler's pod could not be asked: kubectl exec failed: error: timed out" in (
        capsys.readouterr().out
    )


def test_helm_s_refusal_is_said(monkeypatch, capsys):
    programs(monkeypatch, helm=lambda _: (1, "Error: release: not found"))
    assert cli.main(["plan", "airflow", "chart"]) == 1
    assert capsys.readouterr().err == "error: helm get failed: Error: release: not found\n"


def test_a_program_that_is_not_there_is_named(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(["plan", "airflow", "chart"]) == 1
    assert "helm is not on the PATH" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["chart", "--after", "x.yaml"]])
def test_what_is_to_be_is_named_once(words, capsys):
    assert cli.main(["plan", "airflow", *words]) == 1
    assert "name what is to be" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: [", "- 1", "kind: Pod\nmetadata: {}"])
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(ManifestError):
        read(text, "airflow")


def test_a_file_that_is_not_there_is_said(capsys, tmp_path):
    assert cli.main(["plan", "airflow", "--before", str(tmp_path / "no.yaml"), "--after", str(AFTER)]) == 1
    assert "no.yaml cannot be read" in capsys.readouterr().err
