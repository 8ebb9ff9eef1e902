"""git_sync against a repository on disk, most of it as a process of its own with its environment as the only input."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import git_sync
import pytest
from git_sync import ConfigError, duration, read_config

IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


class Origin:
    """A bare repository and a clone that pushes to it."""

    def __init__(self, folder: Path):
        self.path = folder / "origin.git"
        self.work = folder / "work"
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.path), cwd=folder)
        self.git("clone", "--quiet", str(self.path), str(self.work), cwd=folder)
        self.git("checkout", "-q", "-b", "main")

    def git(self, *arguments, cwd=None):
        environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.work, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, text, *push):
        (self.work / "dag.py").write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", text)
        self.git("push", "-q", "origin", "HEAD:main", *push)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path):
    origin = Origin(tmp_path)
    origin.first = origin.commit("one")
    return origin


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def environment(origin, root):
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(git_sync.__file__).parent),
        "HOME": "/nonexistent",
        "GITSYNC_REPO": f"file://{origin.path}",
        "GITSYNC_REF": "main",
        "GITSYNC_ROOT": str(root),
        "GITSYNC_LINK": "current",
        "GITSYNC_PERIOD": "100ms",
        "GITSYNC_MAX_FAILURES": "-1",
    }


def once(environment, **more):
    """Run one synchronisation to its end."""
    return subprocess.run(
        [sys.executable, "-m", "git_sync"],
        env={**environment, "GITSYNC_ONE_TIME": "true", "GITSYNC_MAX_FAILURES": "0", **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def running(environment, log, **more):
    """Run synchronisations in the background, as a sidecar does."""
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-m", "git_sync"], env={**environment, **more}, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(20) is not None


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def content(root):
    try:
        return (root / "current" / "dag.py").read_text()
    except FileNotFoundError:
        return None


def worktrees(root):
    return sorted(path.name for path in (root / ".worktrees").iterdir())


def test_the_first_sync_publishes_the_ref_through_a_relative_link(origin, root, environment):
    done = once(environment)
    assert done.returncode == 0, done.stderr
    assert content(root) == "one"
    assert os.readlink(root / "current") == f".worktrees/{origin.first}"


def test_updates_arrive_and_old_worktrees_go(origin, root, environment, tmp_path):
    with running(environment, tmp_path / "log"):
        wait_for(lambda: content(root) == "one")
        second = origin.commit("two")
        wait_for(lambda: content(root) == "two")
        wait_for(lambda: worktrees(root) == [second])


def test_readers_never_see_a_missing_or_partial_folder(origin, root, environment, tmp_path):
    with running(environment, tmp_path / "log"):
        wait_for(lambda: content(root) == "one")
        for text in ("two", "three", "four"):
            origin.commit(text)
            seen = set()
            wait_for(lambda text=text, seen=seen: seen.add(content(root)) or text in seen)
            assert None not in seen


def test_a_force_push_is_followed(origin, root, environment, tmp_path):
    origin.commit("two")
    with running(environment, tmp_path / "log"):
        wait_for(lambda: content(root) == "two")
        origin.git("reset", "-q", "--hard", origin.first)
        origin.commit("other", "--force")
        wait_for(lambda: content(root) == "other")


@pytest.mark.parametrize("kind", ["branch", "lightweight tag", "annotated tag", "commit", "full name", "HEAD"])
def test_refs_of_every_kind(origin, root, environment, kind):
    origin.commit("two")
    origin.git("branch", "release", origin.first)
    origin.git("branch", "team/main", origin.first)  # must not pass for main
    origin.git("tag", "light", origin.first)
    origin.git("tag", "-a", "-m", "t", "annotated", origin.first)
    origin.git("push", "-q", "origin", "--all")
    origin.git("push", "-q", "origin", "--tags")
    ref, expected = {
        "branch": ("release", "one"),
        "lightweight tag": ("light", "one"),
        "annotated tag": ("annotated", "one"),
        "commit": (origin.first, "one"),
        "full name": ("refs/heads/main", "two"),
        "HEAD": ("HEAD", "two"),
    }[kind]
    done = once(environment, GITSYNC_REF=ref)
    assert done.returncode == 0, done.stderr
    assert content(root) == expected


def test_an_unknown_ref_is_named(root, environment):
    done = once(environment, GITSYNC_REF="gone")
    assert done.returncode == 1
    assert "GITSYNC_REF" in done.stderr
    assert "'gone'" in done.stderr
    assert content(root) is None


def test_while_the_server_is_away_the_last_files_stay(origin, root, environment, tmp_path):
    log = tmp_path / "log"
    away = origin.path.with_name("away.git")
    with running(environment, log) as process:
        wait_for(lambda: content(root) == "one")
        origin.path.rename(away)
        wait_for(lambda: log.read_text().count("trying again") >= 2)
        assert content(root) == "one"
        assert process.poll() is None
        away.rename(origin.path)
        origin.commit("two")
        wait_for(lambda: content(root) == "two")


def test_too_many_failures_end_the_process(origin, root, environment, tmp_path):
    log = tmp_path / "log"
    with running(environment, log, GITSYNC_MAX_FAILURES="3") as process:
        wait_for(lambda: content(root) == "one")
        shutil.rmtree(origin.path)
        assert process.wait(30) == 1
    assert log.read_text().count("trying again") == 2
    assert "failed 3 times, giving up (GITSYNC_MAX_FAILURES)" in log.read_text()
    assert content(root) == "one"


def test_a_restart_goes_on_from_an_existing_root(origin, root, environment):
    once(environment)
    assert once(environment).returncode == 0
    second = origin.commit("two")
    assert once(environment).returncode == 0
    assert content(root) == "two"
    assert worktrees(root) == [second]


def test_a_damaged_root_is_repaired_without_taking_the_link_away(origin, root, environment):
    once(environment)
    (root / ".git" / "HEAD").write_text("")
    second = origin.commit("two")
    half = root / ".worktrees" / second
    half.mkdir()
    (half / "left-over").touch()
    done = once(environment)
    assert done.returncode == 0, done.stderr
    assert content(root) == "two"
    assert not (half / "left-over").exists()


def test_a_lock_left_by_a_killed_process_does_not_stop_it(origin, root, environment):
    once(environment)
    (root / ".git" / "shallow.lock").touch()
    origin.commit("two")
    done = once(environment)
    assert done.returncode == 0, done.stderr
    assert content(root) == "two"


def test_stale_worktrees_stay_as_long_as_asked(origin, root, environment):
    once(environment)
    second = origin.commit("two")
    assert once(environment, GITSYNC_STALE_WORKTREE_TIMEOUT="1h").returncode == 0
    assert worktrees(root) == sorted([origin.first, second])
    assert once(environment).returncode == 0
    assert worktrees(root) == [second]


@pytest.mark.parametrize(("depth", "count"), [("1", 1), ("2", 2), ("0", 3)])
def test_the_depth_of_history(origin, root, environment, depth, count):
    origin.commit("two")
    origin.commit("three")
    assert once(environment, GITSYNC_DEPTH=depth).returncode == 0
    assert int(origin.git("-c", "safe.directory=*", "rev-list", "--count", "HEAD", cwd=root / "current")) == count


def test_a_shallow_root_becomes_a_full_one(origin, root, environment):
    once(environment)
    origin.commit("two")
    assert once(environment, GITSYNC_DEPTH="0").returncode == 0
    assert int(origin.git("-c", "safe.directory=*", "rev-list", "--count", "HEAD", cwd=root / "current")) == 2


@pytest.mark.parametrize(("mode", "expected"), [("recursive", True), ("shallow", True), ("off", False)])
def test_submodules(origin, root, environment, tmp_path, mode, expected):
    (tmp_path / "other").mkdir()
    other = Origin(tmp_path / "other")
    other.commit("library")
    allow = {
        "GIT_ALLOW_PROTOCOL": "file",
    }
    origin.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", f"file://{other.path}", "library")
    origin.commit("with submodule")
    done = once(environment, GITSYNC_SUBMODULES=mode, **allow)
    assert done.returncode == 0, done.stderr
    assert (root / "current" / "library" / "dag.py").exists() is expected


def test_a_sync_that_takes_too_long_fails(root, environment, tmp_path):
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    start = time.monotonic()
    done = once(environment, GITSYNC_SYNC_TIMEOUT="500ms", PATH=f"{tmp_path}:{environment['PATH']}")
    assert done.returncode == 1
    assert "GITSYNC_SYNC_TIMEOUT" in done.stderr
    assert time.monotonic() - start < 20


def test_the_touch_file_is_touched_when_files_arrive(origin, root, environment, tmp_path):
    touched = root / "touched"
    with running(environment, tmp_path / "log", GITSYNC_TOUCH_FILE="touched"):
        wait_for(touched.exists)
        assert content(root) == "one"
        touched.unlink()
        origin.commit("two")
        wait_for(touched.exists)
        assert content(root) == "two"


def test_health_turns_good_with_the_first_sync(origin, root, environment, tmp_path, unused_port):
    def status():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/", timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    away = origin.path.with_name("away.git")
    origin.path.rename(away)
    with running(environment, tmp_path / "log", GITSYNC_HTTP_BIND=f":{unused_port}"):
        wait_for(lambda: status() == 503)
        away.rename(origin.path)
        wait_for(lambda: status() == 200)
        assert content(root) == "one"


def test_synchronisations_are_counted_by_how_they_ended(origin, root, environment, tmp_path, unused_port):
    def counted(path="metrics"):
        try:
            text = urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/{path}", timeout=5).read().decode()
        except OSError:
            return {}
        found = re.findall(r'^git_sync_count_total\{status="(\w+)"\} (\d+)$', text, re.MULTILINE)
        return {status: int(number) for status, number in found}

    options = {"GITSYNC_HTTP_BIND": f":{unused_port}", "GITSYNC_HTTP_METRICS": "true", "GITSYNC_PERIOD": "100ms"}
    with running(environment, tmp_path / "log", **options):
        wait_for(lambda: counted().get("noop", 0) >= 2)
        assert counted()["success"] == 1
        away = origin.path.rename(origin.path.with_name("away.git"))
        wait_for(lambda: counted().get("error", 0) >= 1)
        away.rename(origin.path)
        origin.commit("two")
        wait_for(lambda: counted()["success"] == 2)
        assert counted("") == {}


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_sigterm_ends_it_at_once(root, environment, tmp_path):
    with running(environment, tmp_path / "log", GITSYNC_PERIOD="1h") as process:
        wait_for(lambda: content(root) == "one")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.fixture
def record_git(tmp_path):
    """A git that writes down its arguments, then asks the credential helper as the real one would over http."""
    folder = tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("git")
    fake = folder / "git"
    fake.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/arguments
if [ "$1" = ls-remote ]; then
  printf 'url=https://git.example.com/dags.git\\n\\n' | {real} credential fill > {tmp_path}/credentials 2>&1
  printf 'url=https://elsewhere.example.com/x.git\\n\\n' | {real} credential fill > {tmp_path}/elsewhere 2>&1
  cat {tmp_path}/password >&2; exit 1
fi
exec {real} "$@"
"""
    )
    fake.chmod(0o755)
    return folder


def test_the_password_reaches_git_alone(root, environment, tmp_path, record_git):
    password = "p$w'\"\\ %s x"
    (tmp_path / "password").write_text(password + "\n")
    done = once(
        environment,
        PATH=f"{record_git}:{environment['PATH']}",
        GITSYNC_REPO="https://git.example.com/dags.git",
        GITSYNC_USERNAME="me",
        GITSYNC_PASSWORD_FILE=str(tmp_path / "password"),
    )
    given = (tmp_path / "credentials").read_text()
    assert "username=me\n" in given
    assert f"password={password}\n" in given
    assert password not in (tmp_path / "elsewhere").read_text()
    assert password not in (tmp_path / "arguments").read_text()
    assert "***" in done.stderr  # what the fake wrote to its standard error
    assert password not in done.stderr + done.stdout
    assert password not in (root / ".git" / "config").read_text()


def test_a_missing_password_file_is_named(environment):
    done = once(environment, GITSYNC_USERNAME="me", GITSYNC_PASSWORD_FILE="/nonexistent/password")
    assert done.returncode == 1
    assert "GITSYNC_PASSWORD_FILE: /nonexistent/password" in done.stderr


def test_unknown_variables_are_warned_about_by_name(environment):
    done = once(environment, GITSYNC_WEBHOOK_URL="http://example.com/token")
    assert done.returncode == 0
    assert "GITSYNC_WEBHOOK_URL is not supported here" in done.stderr
    assert "token" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("GITSYNC_PERIOD", "10", "duration"),
        ("GITSYNC_ONE_TIME", "yes", '"true" or "false"'),
        ("GITSYNC_MAX_FAILURES", "many", "whole number"),
        ("GITSYNC_SUBMODULES", "some", '"recursive"'),
        ("GITSYNC_HTTP_BIND", "1234", '":1234"'),
        ("GITSYNC_REPO", "https://me:secret@example.com/x", "GITSYNC_PASSWORD"),
        ("GITSYNC_USERNAME", "me", "GITSYNC_PASSWORD"),
        ("GITSYNC_ROOT", "", "must be set"),
        ("GITSYNC_REPO", "", "must be set"),
    ],
)
def test_a_wrong_variable_is_named_with_what_was_expected(environment, variable, text, expected):
    with pytest.raises(ConfigError) as raised:
        read_config({**environment, variable: text})
    assert variable in str(raised.value)
    assert expected in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_links_default_is_the_repositorys_last_part(environment, root):
    assert read_config({**environment, "GITSYNC_LINK": ""}).link == root / "origin.git"


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("0", 0), ("0s", 0)]
)
def test_durations(text, seconds):
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "10", "10 s", "-1s", "1s x"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        duration(text)
