"""The guard of the DAGs' repository: real repositories, real DAG files, and git as git-sync uses it."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airflow_platform.dag_guard import __main__ as guard
from airflow_platform.dag_guard.judgement import refusal
from airflow_platform.dag_guard.parse import Parsed, parse
from airflow_platform.dag_guard.repository import BRANCH, Repository


def dag(name, before=""):
    return f"{before}\nfrom airflow.sdk import DAG\n\nwith DAG({name!r}):\n    pass\n"


class Upstream:
    """A team's repository, and a git-sync that follows it: worktrees, and a link to the one that is current."""

    def __init__(self, folder):
        self.work, self.root = folder / "work", folder / "git"
        self.git("init", "--quiet", "--initial-branch=main", str(self.work), cwd=folder)
        (self.root / ".worktrees").mkdir(parents=True)
        self.link = self.root / "current"

    def git(self, *words, cwd=None):
        names = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "HOME": str(self.root.parent)}
        done = subprocess.run(
            ["git", *words], cwd=cwd or self.work, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def push(self, **files):
        """Commit these files of the folder `dags`, None: without it; the commit, which git-sync does not show yet."""
        for name, content in files.items():
            path = self.work / "dags" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.unlink() if content is None else path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")
        return self.git("rev-parse", "HEAD")

    def sync(self, commit):
        if not (self.root / ".git").exists():
            self.git("init", "--quiet", str(self.root), cwd=self.root)
        self.git("fetch", "--quiet", "--depth=5", str(self.work), "main", cwd=self.root)
        self.git("worktree", "add", "--detach", f".worktrees/{commit}", commit, cwd=self.root)
        new = self.root / ".new"
        new.symlink_to(f".worktrees/{commit}")
        new.rename(self.link)
        return commit


pytestmark = pytest.mark.usefixtures("platform")


@pytest.fixture
def upstream(tmp_path):
    return Upstream(tmp_path)


@pytest.fixture
def make(upstream, tmp_path):
    """A guard that has just started."""
    count = iter(range(9))

    def make(**options):
        folder = tmp_path / f"accepted-{next(count)}"
        folder.mkdir()
        made = guard.Guard(
            Repository(folder, upstream.link), "dags", **{"max_drop": 50, "timeout": 60, "accept": "", **options}
        )
        made.folder = folder
        return made

    return make


def handed_on(made):
    done = subprocess.run(
        ["git", f"--git-dir={made.folder / 'dags.git'}", "rev-parse", BRANCH],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_a_good_commit_is_handed_on_and_a_broken_one_is_not_until_it_is_mended(upstream, make, caplog):
    caplog.set_level("INFO")
    made = make()
    made.look()
    assert made.accepted is None
    good = upstream.sync(upstream.push(one=dag("one"), two=dag("two")))
    made.look()
    assert (handed_on(made), made.refuses) == (good, False)
    broken = upstream.sync(upstream.push(two="import nothing_of_that_name\n" + dag("two")))
    made.look()
    assert (handed_on(made), made.refuses) == (good, True)
    assert f"Commit {broken} is refused, and DAGs stay those of {good}: two.py cannot be imported" in caplog.text
    assert "No module named 'nothing_of_that_name'" in caplog.text
    mended = upstream.sync(upstream.push(two=dag("two"), three=dag("three")))
    made.look()
    assert (handed_on(made), made.refuses) == (mended, False)


def test_a_start_hands_on_what_was_accepted_before_it_and_never_an_older_one(upstream, make):
    upstream.push(one=dag("one"), two=dag("two"))
    good = upstream.push(three=dag("three"))
    upstream.push(two=dag("two", "broken("))
    also = upstream.sync(upstream.push(three=dag("three", "# changed")))
    made = make()
    seen = []
    accept = made._repository.accept
    made._repository.accept = lambda commit: (seen.append(commit), accept(commit))
    made.look()
    assert seen == [good]
    assert handed_on(made) == good != also


def test_a_start_with_a_good_history_parses_two_commits(upstream, make, monkeypatch):
    for number in range(4):
        commit = upstream.push(one=dag("one", f"# {number}"))
    upstream.sync(commit)
    made = make()
    parsed = []
    monkeypatch.setattr(guard.Guard, "_parse", lambda self, commit: (parsed.append(commit), Parsed(["one"], {}))[1])
    made.look()
    assert handed_on(made) == commit
    assert len(parsed) == 2


def test_a_commit_that_a_person_names_is_accepted(upstream, make, caplog):
    upstream.push(one=dag("one"), two=dag("two"), three=dag("three"))
    fewer = upstream.sync(upstream.push(two=None, three=None))
    refused = make()
    refused.look()
    assert handed_on(refused) != fewer
    assert "2 of 3 DAGs are gone, more than 50 %: three, two" in caplog.text
    made = make(accept=fewer[:8])
    made.look()
    assert handed_on(made) == fewer


def test_a_file_that_never_ends_is_refused_and_not_waited_for(upstream, make, caplog):
    upstream.push(one=dag("one"))
    upstream.sync(upstream.push(one="from airflow.sdk import DAG\nwhile True:\n    pass\n"))
    made = make(timeout=12)
    made.look()
    assert "it was not parsed within 12 s" in caplog.text
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"dag_guard.parse" in path.read_bytes()]
    assert not left


def test_other_git_syncs_take_the_accepted_commit_from_its_server(upstream, make, tmp_path, capfd):
    made = make()
    good = upstream.sync(upstream.push(one=dag("one")))
    made.look()
    server = made._repository.serve(19418)
    try:
        address = "git://127.0.0.1:19418/dags.git"
        for _ in range(50):
            done = subprocess.run(["git", "ls-remote", address, BRANCH], capture_output=True, text=True)
            if done.returncode == 0:
                break
            threading.Event().wait(0.1)
        assert done.stdout.split() == [good, f"refs/heads/{BRANCH}"]
        subprocess.run(
            ["git", "clone", "--quiet", "--depth=1", f"--branch={BRANCH}", address, str(tmp_path / "clone")], check=True
        )
        assert (tmp_path / "clone" / "dags" / "one.py").read_text() == dag("one")
        push = subprocess.run(["git", "push", address, f"HEAD:{BRANCH}"], cwd=tmp_path / "clone", capture_output=True)
        assert push.returncode != 0
        capfd.readouterr()
        # As the probes do, each few seconds: among a line of each, a refusal would not be found.
        with socket.create_connection(("127.0.0.1", 19418)) as probe:
            probe.shutdown(socket.SHUT_WR)
            assert probe.recv(1) == b""
    finally:
        server.terminate()
        server.wait(10)
    assert capfd.readouterr().err == ""


def test_each_file_is_parsed_by_itself(tmp_path):
    for team in ("a", "b"):
        (tmp_path / team).mkdir()
        (tmp_path / team / "dag.py").write_text(
            f"import sys\nsys.path.insert(0, {str(tmp_path / team)!r})\nimport common\n"
            + dag(f"{team}_dag")
            + f"assert common.TEAM == {team!r}\n"
        )
        (tmp_path / team / "common.py").write_text(f"TEAM = {team!r}\n")
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nraise RuntimeError('of itself')\n")
    assert parse(tmp_path) == Parsed(["a_dag", "b_dag"], {"broken.py": "RuntimeError: of itself"})


def test_the_parser_prints_its_answer_alone(tmp_path):
    (tmp_path / "one.py").write_text("print('a line of the author')\n" + dag("one"))
    command = [sys.executable, "-m", "airflow_platform.dag_guard.parse", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == '{"dags": ["one"], "errors": {}}'


TEN = Parsed([f"d{number}" for number in range(10)], {"old.py": "ImportError: x"})


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (TEN, None),
        (Parsed(TEN.dags[:5], {}), None),
        (Parsed(TEN.dags[:4], {}), "6 of 10 DAGs are gone, more than 50 %: d4, d5, d6, d7, d8, …"),
        (Parsed(TEN.dags, {"old.py": "ImportError: y"}), None),
        (Parsed(TEN.dags, {"new.py": "ImportError: y"}), "new.py cannot be imported: ImportError: y"),
        (
            Parsed(TEN.dags, {"a.py": "E: 1", "b.py": "E: 2", "c.py": "E: 3"}),
            "a.py cannot be imported: E: 1, and 2 more files",
        ),
        (Parsed([], {}), "10 of 10 DAGs are gone, more than 50 %: d0, d1, d2, d3, d4, …"),
    ],
)
def test_what_is_worse_than_before_is_refused(new, why):
    assert refusal(new, TEN, 50) == why


def test_nothing_is_lost_where_nothing_was():
    assert refusal(Parsed([], {}), Parsed([], {}), 0) is None
