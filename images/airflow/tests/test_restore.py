"""The way back to a backup, against a kubectl that keeps a few objects."""

import json
import re

import pytest

from airflow_platform import cli
from airflow_platform.command_error import CommandError
from airflow_platform.restore import release as module


class Cluster:
    """Stands in for kubectl and helm: Deployments with their pods, a CronJob, and Jobs that end at once."""

    def __init__(self, *, backups=True, succeeds=True):
        self.deployments = {"airflow-scheduler": 2, "airflow-api-server": 1, "airflow-launcher": 3}
        self.annotations = {name: {} for name in self.deployments}
        self.backups, self.succeeds, self.stuck = backups, succeeds, False
        #: Of migrations, and of a restore before: whether it has ended.
        self.migrations = {"airflow-migrations-1": True, "airflow-migrations-2": False, "airflow-restore-1": False}
        self.calls, self.jobs = [], []

    def __call__(self, program, *words, stdin="", timeout=0):
        words = [word for word in words if word not in ("--namespace", "platform")]
        self.calls.append(" ".join([program, *words]))
        return getattr(self, f"_{words[0]}", lambda *_: "")(words, stdin) or ""

    def _get(self, words, _):
        if words[1] == "job":
            kind = "Complete" if self.succeeds else "Failed"
            return json.dumps({"status": {"conditions": [{"type": kind, "status": "True"}]}})
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
                "metadata": {"name": name, **({"ownerReferences": [{}]} if "restore" in name else {})},
                "status": {"conditions": [{"type": "Complete", "status": "True"}]} if ended else {},
            }
            for name, ended in self.migrations.items()
        ]

    def _delete(self, words, _):
        assert "--cascade=foreground" in words
        del self.migrations[words[2]]

    def _cronjobs(self):
        names = ["airflow-clean-database", *(["airflow-restore"] if self.backups else [])]
        return [{"metadata": {"name": name}} for name in names]

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

    def _create(self, words, stdin):
        if "--dry-run=client" in words:
            container = {"name": "fetch-backup", "env": [{"name": "KEPT", "value": "1"}]}
            spec = {"template": {"spec": {"initContainers": [container], "containers": [{"name": "restore"}]}}}
            return json.dumps({"metadata": {"name": words[2]}, "spec": spec})
        self.jobs.append((json.loads(stdin), dict(self.deployments)))
        return ""

    def _logs(self, words, _):
        return "what the Job said"


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
    assert capsys.readouterr().err == "error: nothing was done\n"
    assert not [call for call in there.calls if "scale" in call]


def test_a_job_that_does_not_end_leaves_airflow_stopped_and_says_so(cluster, monkeypatch, capsys):
    there = cluster()
    monkeypatch.setattr(module.Release, "run", lambda *_: (_ for _ in ()).throw(CommandError("it has not ended")))
    assert cli.main(WORDS) == 1
    assert "Airflow is stopped" in capsys.readouterr().err
    assert set(there.deployments.values()) == {0}
