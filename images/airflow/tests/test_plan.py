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
from airflow_platform.plan.report import lines
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


def said(plan, tasks="as it was not asked."):
    return "\n".join(lines(plan, tasks))


def test_the_golden_manifests_are_told_as_recorded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    tasks = Tasks(in_launcher=3, in_workers=1, deferred=40, queued=7)
    monkeypatch.setattr(command, "_tasks", lambda *_: tasks)
    monkeypatch.setattr(command, "_jobs", lambda *_: None)
    code = cli.main(["plan", "airflow", "--before", str(BEFORE), "--after", str(AFTER)])
    printed = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    assert printed == (FOLDER / "said.txt").read_text()
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
    printed = " ".join(capsys.readouterr().out.split())
    assert "The image is another one. Where it has another Airflow than 3.2.2, or another FAB provider, the" in printed


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


POD = {"metadata": {}, "spec": {"containers": [], "terminationGracePeriodSeconds": 90}}
LAUNCHER = {"kind": "Deployment", "metadata": {"name": "it", "labels": {"app.kubernetes.io/component": "launcher"}}}


def scaled(*replicas):
    """A plan for a launcher, of its numbers of pods before and after; None is an autoscaler's."""
    specs = tuple({"template": POD} | ({} if number is None else {"replicas": number}) for number in replicas)
    return one(**LAUNCHER, spec=specs)


@pytest.mark.parametrize("replicas", [(1, 2), (2, 2), (None, None), (1, None)])
def test_more_pods_restart_and_end_none(replicas):
    plan = scaled(*replicas)
    assert not plan.restarts
    assert not plan.fewer
    assert plan.untouched == ("launcher",)
    assert "Touched: no task." in said(plan, Tasks(in_launcher=3))


@pytest.mark.parametrize(
    ("replicas", "told"),
    [((3, 1), "3 → 1"), ((3, None), "3 → as scaled"), ((None, 2), "as scaled → 2")],
)
def test_a_pod_that_a_lower_number_ends_touches_tasks(replicas, told):
    plan = scaled(*replicas)
    assert not plan.untouched
    text = said(plan, Tasks(in_launcher=3))
    assert f"Pods end: launcher ({told})." in text
    assert "Touched: up to 3, as pods of launcher end. They have 90 s" in text
    assert "loses its rights" not in text


def test_a_launcher_that_is_removed_touches_tasks():
    made = {"apiVersion": "apps/v1", "spec": {"replicas": 2, "template": POD}} | LAUNCHER
    plan = compare(read(yaml.safe_dump(made), "airflow"), {})
    text = said(plan, Tasks(in_launcher=3))
    assert "Pods end: launcher (2 → 0)." in text
    assert "Touched: up to 3, as pods of launcher end. They have 90 s" in text
    assert "A launcher that is removed loses its rights at once" in text


@pytest.mark.parametrize(("replicas", "forced"), [((None, 2), True), ((2, None), False), ((1, 2), False)])
def test_helm_4_is_to_be_forced_where_an_autoscaler_goes(replicas, forced):
    assert ("Autoscaling ends: launcher." in said(scaled(*replicas))) is forced


def test_pods_have_the_time_to_end_that_they_were_made_with():
    template = {"metadata": {}, "spec": {"containers": [], "terminationGracePeriodSeconds": 5}}
    plan = one(kind="Deployment", spec=({"template": POD}, {"template": template}))
    assert plan.restarts[0].grace == 90


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


def helm(revisions, after=AFTER):
    """Answers as helm does of a release with revisions of these states."""

    def answer(words):
        if words[1] == "history":
            return 0, json.dumps([{"revision": number, "status": status} for number, status in revisions.items()])
        return 0, json.dumps({"manifest": after.read_text()}) if words[1] == "upgrade" else BEFORE.read_text()

    return answer


def kubectl(jobs):
    """Answers with Jobs, by name and how each has ended, and with tasks."""

    def answer(words):
        if words[1] == "exec":
            return 0, json.dumps({"tasks": [["running", "launcher", 2]]})
        items = [
            {"metadata": {"name": name}, "status": {"conditions": [{"type": end, "status": "True"}] if end else []}}
            for name, end in jobs.items()
        ]
        return 0, json.dumps({"items": items})

    return answer


def test_helm_and_the_scheduler_are_asked(monkeypatch, capsys):
    called = programs(monkeypatch, helm=helm({7: "deployed"}), kubectl=kubectl({}))
    words = ["airflow", "chart", "-n", "platform", "-f", "a.yaml", "--set", "b=1", "--values", "c.yaml"]
    assert cli.main(["plan", *words]) == command.BLOCKED
    assert [one[0] for one in called] == [
        ["helm", "history", "airflow", "--namespace", "platform", "--output", "json"],
        ["helm", "get", "manifest", "airflow", "--revision", "7", "--namespace", "platform"],
        ["helm", "upgrade", "airflow", "chart", "--values", "a.yaml", "--set", "b=1", "--values", "c.yaml",
         "--dry-run=server", "--output", "json", "--namespace", "platform"],
        ["kubectl", "get", "--namespace", "platform", "jobs", "--selector",
         "app.kubernetes.io/name=airflow-platform,app.kubernetes.io/instance=airflow", "--output", "json"],
        ["kubectl", "exec", "--stdin", "deployment/airflow-scheduler", "--container", "scheduler",
         "--namespace", "platform", "--", "python", "-"],
    ]  # fmt: skip
    assert "FROM task_instance" in called[-1][1]
    assert "Touched: up to 2, as pods of scheduler end. They have 60 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("revisions", "compared", "note"),
    [
        ({3: "superseded", 4: "deployed"}, "4", ""),
        (
            {10: "failed", 8: "superseded", 9: "deployed"},
            "9",
            "Revision 10 is failed: compared with 9, the last that was deployed. What the newer one has changed",
        ),
        ({1: "failed"}, "1", "Revision 1 is failed, and none was deployed: what of it is in the cluster"),
    ],
)
def test_it_is_compared_with_what_was_deployed_last(monkeypatch, capsys, revisions, compared, note):
    called = programs(monkeypatch, helm=helm(revisions), kubectl=kubectl({}))
    cli.main(["plan", "airflow", "chart", "--without-tasks"])
    (words,) = (words for words, _ in called if words[1:3] == ["get", "manifest"])
    assert words[words.index("--revision") + 1] == compared
    printed = capsys.readouterr().out
    assert note in printed
    assert ("Revision" in printed) is bool(note)


STAYS = "The schema stays (Airflow 3.2.2): `helm rollback` goes back."
MAY_MOVE = "so it may move (Airflow 3.2.2): back up the database first."
OLD, NEW = "airflow-migrations-11111111", "airflow-migrations-22222222"


@pytest.mark.parametrize(
    ("after", "jobs", "told"),
    [
        (BEFORE, {OLD: "Complete"}, ["No Job runs. ", STAYS]),
        # After a restore, or with `migrations.ttlSecondsAfterFinished`.
        (BEFORE, {}, [f"Job {OLD} runs. ", MAY_MOVE]),
        (BEFORE, {OLD: "Failed"}, [f"Job {OLD} has failed, and is left as it is: delete it first (kubectl", MAY_MOVE]),
        (BEFORE, {OLD: ""}, [f"Job {OLD} is at work. ", MAY_MOVE]),
        (AFTER, {OLD: "Complete"}, [f"Job {NEW} runs. ", "The schema moves (Airflow 3.2.2 → 3.3.2): back up"]),
        (AFTER, {NEW: "Failed"}, [f"Job {NEW} has failed, and is left as it is", "The schema moves"]),
        (AFTER, {NEW: "Complete"}, ["No Job runs. ", "The schema has moved already (Airflow 3.2.2 → 3.3.2): `helm"]),
    ],
)
def test_jobs_of_the_cluster_say_whether_one_runs_and_the_schema_may_move(monkeypatch, capsys, after, jobs, told):
    programs(monkeypatch, helm=helm({4: "deployed"}, after), kubectl=kubectl(jobs))
    cli.main(["plan", "airflow", "chart", "--without-tasks"])
    printed = capsys.readouterr().out
    for text in told:
        assert text in printed
    assert ("goes back" in printed) is (STAYS in told)


def test_a_job_of_other_values_is_no_sign_of_a_migration_where_the_one_of_before_is_gone():
    before, after = (read(BEFORE.read_text().replace(OLD, name), "airflow") for name in ("a", "b"))
    assert MAY_MOVE in said(compare(before, after, {}))
    assert STAYS in said(compare(before, after, {"a": "Complete"}))


def test_two_manifests_are_compared_without_a_cluster(monkeypatch):
    called = programs(monkeypatch)
    cli.main(["plan", "airflow", "--before", str(BEFORE), "--after", str(AFTER), "--without-tasks"])
    assert not called


def test_a_pod_that_cannot_be_asked_leaves_the_tasks_unknown(monkeypatch, capsys):
    programs(monkeypatch, kubectl=lambda _: (1, "error: timed out"))
    assert cli.main(["plan", "airflow", "--before", str(BEFORE), "--after", str(AFTER)]) == command.BLOCKED
    printed = capsys.readouterr().out
    assert (
        "Tasks: not known, as the scheduler's pod could not be asked: kubectl exec failed: error: timed out" in printed
    )
    assert "Whether Jobs have ended is not known: kubectl get failed: error: timed out" in printed


def test_helm_s_refusal_is_said(monkeypatch, capsys):
    programs(monkeypatch, helm=lambda _: (1, "Error: release: not found"))
    assert cli.main(["plan", "airflow", "chart"]) == 1
    assert capsys.readouterr().err == "error: helm history failed: Error: release: not found\n"


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
