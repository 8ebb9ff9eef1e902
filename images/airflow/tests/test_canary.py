import io
import json
import subprocess
import uuid
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow.providers.amazon")

from airflow_platform import canary, metrics, task_log

START = datetime(2026, 11, 25, 10, 0, tzinfo=timezone.utc)
BEGAN = START.timestamp()


def at(seconds):
    return START + timedelta(seconds=seconds)


def line(seconds, event):
    return json.dumps({"timestamp": at(seconds).isoformat(), "event": event, "level": "info"})


class S3:
    """The logs' bucket: objects by key, with when they came. It is its own client."""

    def __init__(self, objects):
        self.objects = objects

    def get_conn(self):
        return self

    def parse_s3_url(self, url):
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return bucket, key

    def list_objects_v2(self, Bucket, Prefix):
        found = [
            {"Key": key, "LastModified": when} for key, (when, _) in self.objects.items() if key.startswith(Prefix)
        ]
        return {"Contents": found} if found else {}

    def get_object(self, Bucket, Key):
        return {"Body": io.BytesIO(self.objects[Key][1].encode())}


@pytest.fixture
def stored(monkeypatch):
    """Put objects into the logs' bucket, below the folder of the run's task ``pod``."""

    def stored(**objects):
        folder = "production/dag_id=platform_canary/run_id=r/task_id=pod/"
        there = {folder + name: (at(when), "\n".join(lines)) for name, (when, lines) in objects.items()}
        log = SimpleNamespace(hook=S3(there), remote_base="s3://logs/production")
        monkeypatch.setattr(task_log, "REMOTE_TASK_LOG", log)
        monkeypatch.setattr(canary, "_PATIENCE", 0)

    return stored


@pytest.fixture
def sent(monkeypatch):
    found = {}
    monkeypatch.setattr(canary.stats, "gauge", lambda name, value, tags: found.setdefault((name, tags["stage"]), value))
    return found


def context(parsed=-30):
    version = uuid.UUID(int=(int((BEGAN + parsed) * 1000) << 80) | (7 << 76) | (2 << 62))
    instance = SimpleNamespace(dag_id="platform_canary", run_id="r", dag_version_id=version)
    return {"ti": instance, "dag_run": SimpleNamespace(run_after=at(0), start_date=at(0.5))}


TRY = {
    "attempt=1.log": (4, [line(1.5, "Pod canary-1: created")]),
    "attempt=1.log.trigger.7.log": (6, [line(2, "trigger"), line(4, f"[base] canary {BEGAN + 3.25:.3f}")]),
}


def test_each_stage_is_what_its_traces_say(stored, sent):
    stored(**TRY)
    commit = {"id": "c0ffee", "committed": BEGAN - 45, "synced": BEGAN - 40}
    took = canary.measure(commit, "pod", **context(parsed=-30))
    assert took == {
        "synced": 5,
        "parsed": 15,
        "scheduled": 0.5,
        "launched": 1,
        "started": 1.75,
        "logged": 2.75,
    }
    assert list(took) == list(canary.STAGES)
    assert sent == {(metrics.CANARY_STAGE, stage): seconds for stage, seconds in took.items()}


def test_without_a_commit_the_stages_after_it_are_measured(stored, sent):
    stored(**TRY)
    assert list(canary.measure(None, "pod", **context())) == ["scheduled", "launched", "started", "logged"]


def test_the_last_try_is_measured(stored, sent):
    second = {
        "attempt=2.log": (24, [line(21.5, "Pod canary-2: created"), line(23, f"[base] canary {BEGAN + 22.5:.3f}")]),
        "attempt=2.evidence.json": (90, ["{}"]),
    }
    stored(**TRY, **second)
    took = canary.measure(None, "pod", **context())
    assert (took["launched"], took["logged"]) == (21, 1.5)


def test_clocks_that_differ_make_no_time_negative(stored, sent):
    stored(**TRY)
    commit = {"id": "c0ffee", "committed": BEGAN, "synced": BEGAN - 1}
    took = canary.measure(commit, "pod", **context(parsed=-2))
    assert (took["synced"], took["parsed"]) == (0, 0)


def test_a_log_that_does_not_come_fails_the_task_with_where_it_should_be(stored, sent):
    stored(**{"attempt=1.log": TRY["attempt=1.log"]})
    place = "s3://logs/production/dag_id=platform_canary/run_id=r/task_id=pod/"
    with pytest.raises(canary.NotMeasured, match=f"is not at {place}"):
        canary.measure(None, "pod", **context())
    assert sent == {}


def test_the_command_prints_what_is_looked_for(monkeypatch):
    said = subprocess.run(canary.COMMAND, capture_output=True, text=True, check=True).stdout
    assert abs(float(canary._PRINTED.findall(said)[0]) - datetime.now(timezone.utc).timestamp()) < 30


@pytest.fixture
def synced(tmp_path):
    """A file in a folder as git-sync makes it: a link to a worktree."""
    worktree = tmp_path / ".worktrees" / "c0ffee"
    (worktree / "dags").mkdir(parents=True)
    (worktree / "dags" / "dag.py").write_text("")
    environment = {
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_COMMITTER_DATE": "@1800000000 +0000", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=worktree, env=environment, check=True)
    (tmp_path / "current").symlink_to(worktree)
    return tmp_path / "current" / "dags" / "dag.py"


def test_a_commit_is_told_with_its_time_and_when_it_was_synced(synced):
    link = synced.parents[1]
    found = canary.commit(synced)
    assert (found["committed"], found["synced"]) == (1800000000, link.lstat().st_mtime)
    assert len(found["id"]) == 40


def test_a_file_that_git_sync_did_not_bring_has_no_commit(tmp_path):
    (tmp_path / "dag.py").write_text("")
    assert canary.commit(tmp_path / "dag.py") is None


def test_a_folder_that_is_no_repository_has_no_commit(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "dag.py").write_text("")
    (tmp_path / "current").symlink_to(tmp_path / "real")
    assert canary.commit(tmp_path / "current" / "dag.py") is None


@pytest.mark.parametrize(("kind", "named"), [("local", "launcher"), ("celery", "launcher"), ("none", None)])
def test_it_is_measured_in_the_launcher_where_there_is_one(write_config, kind, named):
    write_config(f"launcher: {{kind: {kind}}}")
    assert canary.executor() == named
