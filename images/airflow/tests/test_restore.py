"""The way back to a backup, against a kubectl that keeps a few objects."""

import io
import json
import re

import pytest

from airflow_platform import cli
from airflow_platform.command_error import CommandError
from airflow_platform.restore import release as module

OWNER = {"kind": "CronJob", "name": "airflow-restore"}
#: What `kubectl scale` leaves in `managedFields`.
SCALE = {"manager": "kubectl", "subresource": "scale"}


class Cluster:
    """Stands in for kubectl and helm: Deployments with their pods, a CronJob, and Jobs that end at once."""

    def __init__(self, *, backups=True, succeeds=True):
        self.deployments = {"airflow-scheduler": 2, "airflow-api-server": 1, "airflow-launcher": 3}
        self.annotations = {name: {} for name in self.deployments}
        self.owners = {name: [{"manager": "helm"}] for name in self.deployments}
        self.backups, self.succeeds, self.stuck = backups, succeeds, False
        #: Of migrations, and of a restore before: whether it has ended.
        self.migrations = {"airflow-migrations-1": True, "airflow-migrations-2": False, "airflow-restore-1": True}
        #: What `helm get metadata` says besides: `applyMethod` is Helm 4's alone.
        self.metadata = {}
        self.calls, self.jobs = [], []
        #: What happens at a call that begins so, before it is made.
        self.at = {}

    def __call__(self, program, *words, stdin="", timeout=0):
        words = [word for word in words if word not in ("--namespace", "platform")]
        self.calls.append(" ".join([program, *words]))
        for begin, happens in self.at.items():
            if self.calls[-1].startswith(begin):
                happens()
        return getattr(self, f"_{words[0]}", lambda *_: "")(words, stdin) or ""

    def _get(self, words, _):
        if words[1] == "metadata":
            assert words[2:5] == ["airflow", "--revision", "4"]
            return json.dumps({"revision": 4} | self.metadata)
        if words[1] == "job":
            kind = "Complete" if self.succeeds else "Failed"
            return json.dumps({"status": {"conditions": [{"type": kind, "status": "True"}]}})
        if words[1] == "deployment":
            return json.dumps({"metadata": {"managedFields": self.owners[words[2]]}})
        kinds = {"jobs": self._migrations, "deployments": self._items, "pods": self._pods, "cronjobs": self._cronjobs}
        found = kinds[words[1]]()
        return json.dumps({"items": found})

    def _items(self):
        return [
            {
                "metadata": {"name": name, "annotations": self.annotations[name]},
                "spec": {
                    "replicas": pods,
                    "template": {
                        "metadata": {"labels": {"app.kubernetes.io/component": name.removeprefix("airflow-")}}
                    },
                },
            }
            for name, pods in self.deployments.items()
        ]

    def _pods(self):
        left = 1 if self.stuck else sum(self.deployments.values())
        evicted = [{"metadata": {"name": "evicted"}, "status": {"phase": "Failed"}}]
        return evicted + [
            {"metadata": {"name": f"pod-{number}"}, "status": {"phase": "Running"}} for number in range(left)
        ]

    def _migrations(self):
        return [
            {
                "metadata": {"name": name, **({"ownerReferences": [OWNER]} if "restore" in name else {})},
                "status": {"conditions": [{"type": "Complete", "status": "True"}]} if ended else {},
            }
            for name, ended in self.migrations.items()
        ]

    def _delete(self, words, _):
        assert "--cascade=foreground" in words
        del self.migrations[words[2]]

    def _cronjobs(self):
        names = ["airflow-clean-database", *(["airflow-restore"] if self.backups else [])]
        where = {"bucket": "dumps", "prefix": "production", "endpoint": "https://s3.example.com"}
        where |= {"namespace": "team", "release": "airflow"}
        variable = {"name": "AIRFLOW_PLATFORM_BACKUP", "value": json.dumps(where)}
        containers = [{"name": "of-somebody"}, {"name": "fetch-backup", "env": [variable]}]
        spec = {"jobTemplate": {"spec": {"template": {"spec": {"initContainers": containers}}}}}
        return [{"metadata": {"name": name}, "spec": spec} for name in names]

    def _annotate(self, words, _):
        name, (key, _, value) = words[2], words[3].partition("=")
        if key.endswith("-"):
            del self.annotations[name][key[:-1]]
        else:
            self.annotations[name][key] = value

    def _scale(self, words, _):
        pods = int(words[-1].partition("=")[2])
        names = self.deployments if "--selector" in words else [words[2]]
        self.deployments |= dict.fromkeys(names, pods)
        for name in names:
            if SCALE not in self.owners[name]:
                self.owners[name].append(SCALE)

    def _patch(self, words, _):
        for step in json.loads(words[words.index("--patch") + 1]):
            _, _, _, number, *part = step["path"].split("/")
            if step["op"] == "remove":
                del self.owners[words[2]][int(number)]
            else:
                assert self.owners[words[2]][int(number)][part[0]] == step["value"]

    def _create(self, words, stdin):
        if "--dry-run=client" in words:
            container = {"name": "fetch-backup", "env": [{"name": "KEPT", "value": "1"}]}
            spec = {"template": {"spec": {"initContainers": [container], "containers": [{"name": "restore"}]}}}
            return json.dumps({"metadata": {"name": words[2]}, "spec": spec})
        self.jobs.append((json.loads(stdin), dict(self.deployments)))
        return ""

    def _history(self, words, _):
        return json.dumps([{"revision": revision} for revision in (3, 4, 5)])

    def _logs(self, words, _):
        return "what the Job said"


def fails(error):
    """What raises it, as an expression."""

    def happens():
        raise error

    return happens


@pytest.fixture
def cluster(monkeypatch):
    def make(**how):
        cluster = Cluster(**how)
        monkeypatch.setattr(module, "called", cluster)
        monkeypatch.setattr("airflow_platform.programs.called", cluster)
        return cluster

    return make


WORDS = ["restore", "airflow", "--namespace", "platform", "--yes"]


def test_airflow_is_stopped_restored_and_started_as_it_was(cluster, capsys):
    there = cluster()
    before = dict(there.deployments)
    assert cli.main(["restore", "airflow", "20260101T000000Z", *WORDS[2:]]) == 0
    ((job, meanwhile),) = there.jobs
    assert set(meanwhile.values()) == {0}
    (container,) = job["spec"]["template"]["spec"]["initContainers"]
    assert container["env"] == [
        {"name": "KEPT", "value": "1"},
        {"name": "AIRFLOW_PLATFORM_RESTORE", "value": "20260101T000000Z"},
    ]
    assert there.deployments == before
    assert there.annotations == {name: {} for name in before}
    # Launchers reach no database: nobody waits for their end.
    assert any("component in (api-server,scheduler)" in call for call in there.calls)
    assert "what the Job said" in capsys.readouterr().out
    # One at work would migrate what is restored; one that has ended would not be made again by the next upgrade.
    assert list(there.migrations) == ["airflow-restore-1"]
    assert there.calls.index(next(call for call in there.calls if "delete job airflow-migrations-2" in call)) < (
        there.calls.index(next(call for call in there.calls if "create job" in call))
    )


def test_a_restore_that_failed_starts_airflow_on_the_database_as_it_was(cluster, capsys):
    there = cluster(succeeds=False)
    before = dict(there.deployments)
    assert cli.main(WORDS) == 1
    assert "airflow-migrations-1" in there.migrations
    assert there.deployments == before
    assert re.search("the database is as it was, .* Job airflow-restore-[0-9]{14} says why", capsys.readouterr().err)


def test_an_older_release_is_gone_back_to(cluster):
    there = cluster()
    assert cli.main([*WORDS, "--rollback", "4"]) == 0
    assert there.calls[-1].startswith("helm rollback airflow 4 --wait --wait-for-jobs")
    assert there.deployments == {"airflow-scheduler": 2, "airflow-api-server": 1, "airflow-launcher": 3}


@pytest.mark.parametrize(
    ("metadata", "forced"), [({"applyMethod": "ssa"}, True), ({"applyMethod": "csa"}, False), ({}, False)]
)
def test_what_an_autoscaler_has_written_is_taken_back_where_helm_can(cluster, metadata, forced):
    """Helm 3 has no such option, and Helm 4 refuses it for what Helm 3 installed."""
    there = cluster()
    there.metadata = metadata
    assert cli.main([*WORDS, "--rollback", "4"]) == 0
    assert there.calls[-1].endswith(" --force-conflicts") is forced


def test_after_it_helm_may_set_another_number_of_pods(cluster):
    """Helm 4 refuses to change what another client has written."""
    there = cluster()
    assert cli.main(WORDS) == 0
    assert there.owners == {name: [{"manager": "helm"}] for name in there.deployments}


@pytest.mark.parametrize("revision", [0, -1, 6])
def test_a_revision_that_is_not_there_is_said_before_anything_is_done(cluster, capsys, revision):
    there = cluster()
    assert cli.main([*WORDS, "--rollback", str(revision)]) == 1
    assert re.search(
        f"airflow has no revision {revision} to go back to, and nothing was done. "
        "`helm history airflow --namespace platform` has: 3, 4, 5",
        capsys.readouterr().err,
    )
    assert not [call for call in there.calls if "scale" in call]


@pytest.mark.parametrize(
    ("call", "said"), [("helm history", "Nothing was done. .* without --rollback"), ("helm get", "Nothing was done")]
)
def test_a_helm_that_does_not_answer_is_said_before_anything_is_done(cluster, capsys, call, said):
    there = cluster()
    there.at[call] = fails(CommandError("helm is not on the PATH: install it"))
    assert cli.main([*WORDS, "--rollback", "4"]) == 1
    assert re.search(f"not on the PATH: install it\n{said}", capsys.readouterr().err)
    assert not [call for call in there.calls if "scale" in call]


def test_helm_is_asked_nothing_where_the_release_stays(cluster):
    there = cluster()
    assert cli.main(WORDS) == 0
    assert not [call for call in there.calls if call.startswith("helm")]


@pytest.mark.parametrize(("error", "code"), [(CommandError("helm rollback failed"), 1), (KeyboardInterrupt(), 130)])
def test_a_release_that_does_not_go_back_leaves_a_restored_database_and_says_so(cluster, capsys, error, code):
    there = cluster()
    there.at["helm rollback"] = fails(error)
    assert cli.main([*WORDS, "--rollback", "4"]) == code
    assert (
        "The database is restored; only the release is still to go back: "
        "helm rollback airflow 4 --namespace platform --wait --wait-for-jobs --timeout 15m\n"
    ) in capsys.readouterr().err
    # Whoever upgrades in place of that has the schema migrated again.
    assert list(there.migrations) == ["airflow-restore-1"]


def test_a_restore_that_is_at_work_is_left_alone(cluster, capsys):
    there = cluster()
    there.migrations["airflow-restore-by-hand"] = False
    assert cli.main(WORDS) == 1
    assert re.search(
        r"Job airflow-restore-by-hand is at work on the database: wait for its end "
        r"\(kubectl --namespace platform get job airflow-restore-by-hand --watch\)\nNothing was done",
        capsys.readouterr().err,
    )
    assert all(call.startswith("kubectl get") for call in there.calls)


@pytest.mark.parametrize("succeeds", [True, False])
def test_airflow_stays_stopped_while_another_restore_is_at_work(cluster, capsys, succeeds):
    there = cluster(succeeds=succeeds)
    there.at["kubectl create job"] = lambda: there.migrations.update({"airflow-restore-2": False})
    assert cli.main(WORDS) == 1
    said = capsys.readouterr().err
    assert "Job airflow-restore-2 is at work on the database" in said
    assert "Airflow is stopped. Where nobody starts it then, run this again" in said
    assert "as it was" not in said
    assert set(there.deployments.values()) == {0}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("kubectl scale", "Airflow may be stopped by now: run this again, which also starts it"),
        ("kubectl get job ", r"Airflow is stopped. Job airflow-restore-[0-9]{14} goes on where it was made: when it"),
        ("kubectl scale deployment airflow-", "Airflow is stopped, at least in part: run this again"),
    ],
)
def test_whoever_interrupts_it_is_told_what_goes_on(cluster, capsys, call, said):
    cluster().at[call] = fails(KeyboardInterrupt())
    assert cli.main(WORDS) == 130
    assert re.search(said, capsys.readouterr().err)


def test_whoever_was_interrupted_has_the_numbers_of_before_when_it_is_run_again(cluster, monkeypatch, capsys):
    there = cluster()
    there.stuck = True
    monkeypatch.setattr(module, "_until", lambda true, _: bool(true()))
    assert cli.main(WORDS) == 1
    said = capsys.readouterr().err
    assert "pods are still there after 900 s: pod-0\nAirflow may be stopped by now: run this again" in said
    assert set(there.deployments.values()) == {0}
    there.stuck = False
    assert cli.main(WORDS) == 0
    assert there.deployments == {"airflow-scheduler": 2, "airflow-api-server": 1, "airflow-launcher": 3}


def test_a_release_without_backups_is_told_so_and_goes_on(cluster, capsys):
    there = cluster(backups=False)
    assert cli.main(WORDS) == 1
    assert "has no backups: set backup.enabled" in capsys.readouterr().err
    assert not [call for call in there.calls if "scale" in call]


def test_nothing_is_done_unasked(cluster, monkeypatch, capsys):
    there = cluster()
    monkeypatch.setattr("builtins.input", lambda _: "other")
    assert cli.main(WORDS[:-1]) == 1
    captured = capsys.readouterr()
    assert captured.err == "error: nothing was done\n"
    assert "aws s3 ls s3://dumps/production/team/airflow/ --endpoint-url https://s3.example.com" in captured.out
    assert not [call for call in there.calls if "scale" in call]


def test_nobody_to_ask_is_said_in_a_sentence(cluster, monkeypatch, capsys):
    there = cluster()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.main(WORDS[:-1]) == 1
    assert capsys.readouterr().err == (
        "error: nothing was done: there is nobody to ask. Run this in a terminal, or add --yes\n"
    )
    assert not [call for call in there.calls if "scale" in call]


def test_a_job_that_does_not_end_leaves_airflow_stopped_and_says_so(cluster, monkeypatch, capsys):
    there = cluster()
    monkeypatch.setattr(module.Release, "run", lambda *_: fails(CommandError("it has not ended"))())
    assert cli.main(WORDS) == 1
    assert "Airflow is stopped" in capsys.readouterr().err
    assert set(there.deployments.values()) == {0}
