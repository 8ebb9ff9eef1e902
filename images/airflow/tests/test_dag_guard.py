"""The guard of the DAGs' repository: real repositories, real DAG files, and git as git-sync uses it."""

import hashlib
import json
import os
import select
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import psycopg2
import pytest

from airflow_platform.dag_guard import __main__ as guard
from airflow_platform.dag_guard import known
from airflow_platform.dag_guard.judgement import excused, refusal
from airflow_platform.dag_guard.parse import Parsed, parse
from airflow_platform.dag_guard.repository import BRANCH, Repository, RepositoryError
from airflow_platform.schema import NotReady


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
def make(upstream, tmp_path, monkeypatch):
    """A guard that has just started: in a new pod, or in that of `before`, another. Airflow has no DAG."""
    count = iter(range(9))
    monkeypatch.setattr(known, "read", lambda: None)

    def make(before=None, **options):
        folder = before.folder if before else tmp_path / f"accepted-{next(count)}"
        folder.mkdir(exist_ok=True)
        options = {"max_drop": 50, "timeout": 60, "accept": "", "history": 5, **options}
        made = guard.Guard(Repository(folder, upstream.link, options["timeout"]), folder / "judging", "dags", **options)
        made.folder = folder
        return made

    return make


@pytest.fixture
def holds(monkeypatch):
    """What each commit holds, instead of what its parser would say; `asked`: the commits that were parsed."""

    class Holds(dict):
        def __init__(self):
            self.asked = []

    holds = Holds()

    def run_parser(_, commit):
        holds.asked.append(commit)
        if isinstance(holds[commit], BaseException):
            raise holds[commit]
        return holds[commit]

    monkeypatch.setattr(guard.Guard, "_run_parser", run_parser)
    return holds


@pytest.fixture
def airflow_has(monkeypatch):
    """Set what Airflow has of the DAGs; None: none yet. A list: one answer after the other; an error: none."""

    def has(what):
        def read():
            one = what.pop(0) if isinstance(what, list) else what
            if isinstance(one, Exception):
                raise one
            return one

        monkeypatch.setattr(known, "read", read)

    return has


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def handed_on(made):
    """The commit that is, None: none."""
    done = subprocess.run(
        ["git", f"--git-dir={made.folder / 'dags.git'}", "rev-parse", "--verify", "--quiet", BRANCH],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or None


def test_a_good_commit_is_handed_on_and_a_broken_one_is_not_until_it_is_mended(upstream, make, caplog):
    caplog.set_level("INFO")
    made = make()
    made.look()
    assert handed_on(made) is None
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
    for _ in range(2):
        made.look()
    assert seen == [good]
    assert handed_on(made) == good != also


@pytest.mark.parametrize(("has", "parsed"), [(None, 2), (Parsed(["one"], {}), 1)])
def test_a_start_with_a_good_history_parses_no_more_than_it_has_to(upstream, make, holds, airflow_has, has, parsed):
    for number in range(4):
        commit = upstream.push(one=f"# {number}")
        holds[commit] = Parsed(["one"], {})
    upstream.sync(commit)
    airflow_has(has)
    made = make()
    made.look()
    assert handed_on(made) == commit
    assert len(holds.asked) == parsed


def test_a_start_makes_no_rule_of_what_was_refused_before_it(upstream, make, holds, airflow_has, caplog):
    holds[upstream.push(one="one", two="two")] = Parsed(["one", "two"], {})
    for number in range(5):
        broken = upstream.push(one=f"# {number}", two="broken")
        holds[broken] = Parsed(["one"], {"two.py": "ImportError: x"}, {"two.py": md5("broken")})
    upstream.sync(broken)
    airflow_has(Parsed(["one", "two"], {}, {"one.py": md5("one"), "two.py": md5("two")}))
    made = make()
    made.look()
    assert (handed_on(made), made.refuses) == (None, True)
    assert f"Commit {broken} is refused, and DAGs stay as Airflow has them: two.py cannot be imported" in caplog.text
    assert "None of the last 5 commits is good beside what Airflow has: nothing is handed on" in caplog.text
    # From now, each is judged by itself, beside the same.
    airflow_has(None)
    still = upstream.sync(upstream.push(one="one"))
    holds[still] = holds[broken]
    made.look()
    assert (handed_on(made), made.refuses) == (None, True)
    assert f"Commit {still} is refused" in caplog.text
    mended = upstream.sync(upstream.push(two="two"))
    holds[mended] = Parsed(["one", "two"], {})
    made.look()
    assert (handed_on(made), made.refuses) == (mended, False)


def test_where_airflow_has_nothing_the_oldest_commit_stands_for_it(upstream, make, holds, airflow_has, caplog):
    caplog.set_level("INFO")
    for number in range(3):
        commit = upstream.push(one=f"# {number}")
        holds[commit] = Parsed(["one"], {"two.py": "ImportError: x"})
    worse = upstream.push(one="# worse")
    holds[worse] = Parsed(["one"], {"two.py": "ImportError: x", "three.py": "ImportError: y"})
    upstream.sync(worse)
    airflow_has(None)
    made = make()
    made.look()
    assert (handed_on(made), made.refuses) == (commit, True)
    assert "The oldest commit stands for what Airflow has, which knows no DAG of this repository yet" in caplog.text
    assert f"Commit {worse} is refused, and DAGs stay those of {commit}: three.py cannot be imported" in caplog.text


def test_where_its_database_does_not_answer_it_is_asked_again(upstream, make, holds, airflow_has):
    fewer, good = (upstream.push(one=f"# {number}") for number in range(2))
    holds |= {fewer: Parsed(["one"], {}), good: Parsed(["one", "two", "three"], {})}
    worse = upstream.sync(upstream.push(one="# worse"))
    holds[worse] = Parsed(["one"], {})
    airflow_has([NotReady("the database is away"), Parsed(["one", "two", "three"], {})])
    made = make()
    with pytest.raises(NotReady, match="the database is away"):
        made.look()
    assert (handed_on(made), holds.asked) == (None, [])
    made.look()
    assert (handed_on(made), made.refuses) == (good, True)


def test_a_start_in_the_same_pod_goes_on_with_what_was_accepted(upstream, make, holds, airflow_has, caplog):
    airflow_has([NotReady("the database is away"), Parsed([], {})])
    good = upstream.push(one="one")
    holds[good] = Parsed(["one", "two"], {})
    upstream.sync(good)
    first = make()
    first._repository.fetch()
    first._repository.accept(good)
    # In the middle of a push, and good: a guard that ran on would not have handed it on. The last good one is far away.
    middle, *broken = (upstream.push(one=f"# {number}") for number in range(6))
    holds |= {middle: Parsed(["one", "two"], {}), **dict.fromkeys(broken, Parsed(["one"], {"two.py": "E: x"}))}
    upstream.sync(broken[-1])
    made = make(before=first)
    # Without the database, which DAG files ask as well, nothing is judged.
    with pytest.raises(NotReady):
        made.look()
    assert (handed_on(made), holds.asked) == (good, [])
    made.look()
    assert (handed_on(made), made.refuses) == (good, True)
    assert holds.asked == [good, broken[-1]]
    assert f"Commit {broken[-1]} is refused, and DAGs stay those of {good}: two.py cannot be imported" in caplog.text


def test_what_was_accepted_and_cannot_be_parsed_is_judged_by_what_airflow_has(upstream, make, holds, airflow_has):
    named, worse = (upstream.push(one=f"# {number}") for number in range(2))
    holds |= {named: guard.Unparsed("it has no folder dags"), worse: Parsed([], {})}
    upstream.sync(worse)
    first = make()
    first._repository.fetch()
    first._repository.accept(named)
    airflow_has(Parsed(["one"], {}))
    made = make(before=first)
    made.look()
    assert (handed_on(made), made.refuses) == (named, True)


def test_a_start_looks_at_as_many_commits_as_it_is_told(upstream, make, holds, airflow_has):
    airflow_has(Parsed(["one", "two"], {}))
    good, *broken = (upstream.push(one=f"# {number}") for number in range(4))
    holds |= {good: Parsed(["one", "two"], {}), **dict.fromkeys(broken, Parsed(["one"], {"two.py": "E: x"}))}
    upstream.sync(broken[-1])
    for history, expected in ((3, None), (4, good)):
        made = make(history=history)
        made.look()
        assert handed_on(made) == expected


def test_a_commit_that_ended_the_guard_as_it_was_parsed_is_refused_after_a_start(
    upstream, make, holds, airflow_has, monkeypatch, caplog
):
    airflow_has(Parsed(["one"], {}))
    good = upstream.sync(upstream.push(one="one"))
    holds[good] = Parsed(["one"], {})
    made = make()
    made.look()
    greedy = upstream.sync(upstream.push(one="greedy"))
    # As where the memory is at its end: nothing of the guard goes on.
    if not (process := os.fork()):
        guard.Guard._run_parser = lambda *_: os._exit(9)
        made.look()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    again = make(before=made)
    again.look()
    assert (handed_on(again), again.refuses) == (good, True)
    why = "the guard was ended while it was parsed: it may need more memory than dagProcessor.resources allows"
    assert f"Commit {greedy} is refused, and DAGs stay those of {good}: {why}" in caplog.text
    monkeypatch.setattr(guard.time, "monotonic", lambda now=guard.time.monotonic: now() + guard._AGAIN)
    again.look()
    assert holds.asked.count(greedy) == 0
    # What is parsed to its end is not noted, and in a new pod, which may have more memory, nothing is.
    holds[greedy] = Parsed(["one"], {})
    mended = upstream.sync(upstream.push(one="mended"))
    holds[mended] = guard.Unparsed("its parser ended with 1")
    again.look()
    assert [path.name for path in (made.folder / "judging").iterdir()] == [greedy]
    new = make()
    new.look()
    assert handed_on(new) == greedy


def test_what_airflow_has_broken_is_no_commits_fault_and_what_it_has_may_not_go(upstream, make, holds, airflow_has):
    names = ["one", "two", "three"]
    airflow_has(Parsed(names, {"old.py": ""}))
    first, good, fewer = (upstream.push(one=f"# {number}") for number in range(3))
    holds |= dict.fromkeys((first, fewer), Parsed(["one"], {}))
    holds[good] = Parsed(names, {"old.py": "ImportError: x"})
    upstream.sync(fewer)
    made = make()
    made.look()
    assert (handed_on(made), made.refuses) == (good, True)


def test_what_comes_after_a_commit_that_a_person_has_named_is_judged_beside_it(upstream, make, holds, airflow_has):
    airflow_has(Parsed(["one", "two", "three"], {}))
    named, after = (upstream.push(one=f"# {number}") for number in range(2))
    holds |= {named: Parsed(["one"], {}), after: Parsed(["one"], {})}
    upstream.sync(after)
    made = make(accept=named[:8])
    made.look()
    assert (handed_on(made), made.refuses) == (after, False)
    assert sorted(holds.asked) == sorted([named, after])


def test_a_file_that_airflow_has_to_the_letter_was_broken_by_an_image_and_not_by_a_commit(
    upstream, make, holds, airflow_has, caplog
):
    airflow_has(Parsed(["one", "two"], {}, {"one.py": md5("one"), "two.py": md5("two")}))
    same, changed = (upstream.push(one=f"# {number}") for number in range(2))
    errors = {"two.py": "ImportError: x"}
    holds[same] = Parsed(["one"], errors, {"two.py": md5("two")})
    holds[changed] = Parsed(["one"], {**errors, "three.py": "ImportError: y"}, {"two.py": md5("two"), "three.py": "3"})
    upstream.sync(changed)
    made = make()
    made.look()
    assert (handed_on(made), made.refuses) == (same, True)
    assert f"Commit {same} is accepted, as Airflow has the same file, which it has not broken: two.py" in caplog.text
    assert f"Commit {changed} is refused, and DAGs stay those of {same}: three.py cannot be imported" in caplog.text


def test_a_commit_that_breaks_what_a_file_imports_is_not_taken_for_a_broken_image(upstream, make, holds, airflow_has):
    airflow_has(Parsed(["one", "two"], {}, {"one.py": md5("one"), "two.py": md5("two")}))
    good, broken = (upstream.push(one=f"# {number}") for number in range(2))
    holds[good] = Parsed(["one", "two"], {})
    holds[broken] = Parsed(["one"], {"two.py": "ImportError: x"}, {"two.py": md5("two")})
    upstream.sync(broken)
    made = make()
    made.look()
    assert (handed_on(made), made.refuses) == (good, True)


def test_a_git_that_hangs_is_an_error_and_the_next_look_is_another(upstream, make, holds, tmp_path, monkeypatch):
    slow = tmp_path / "slow" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    commit = upstream.sync(upstream.push(one="one"))
    holds[commit] = Parsed(["one"], {})
    made = make()
    with monkeypatch.context() as hung:
        hung.setattr(made._repository, "_timeout", 0.2)
        hung.setitem(made._repository._environment, "PATH", f"{slow.parent}:{os.environ['PATH']}")
        with pytest.raises(RepositoryError, match="fetch .*: not done within 0.2 s"):
            made.look()
    made.look()
    assert handed_on(made) == commit


def test_git_has_as_long_as_a_commit_to_be_parsed(make):
    assert make(timeout=700)._repository._timeout == 700


def test_a_git_that_was_killed_holds_nothing_up_after_a_start(upstream, make, holds):
    first = make()
    for name in ("index.lock", "shallow.lock", f"refs/heads/{BRANCH}.lock"):
        (first.folder / "dags.git" / name).touch()
    commit = upstream.sync(upstream.push(one="one"))
    holds[commit] = Parsed(["one"], {})
    with pytest.raises(RepositoryError, match="lock"):
        first.look()
    made = make(before=first)
    made.look()
    made._repository.export(commit, made.folder / "files")
    assert handed_on(made) == commit


def test_a_commit_is_parsed_once_however_often_it_cannot_be_handed_on(upstream, make, holds, monkeypatch):
    commit = upstream.sync(upstream.push(one="one"))
    holds[commit] = Parsed(["one"], {})
    made = make()
    with monkeypatch.context() as full:

        def accept(_):
            raise OSError(28, "No space left on device")

        full.setattr(made._repository, "accept", accept)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                made.look()
    made.look()
    assert handed_on(made) == commit
    assert holds.asked == [commit]


def test_a_commit_is_parsed_once_however_often_a_look_fails(upstream, make, holds, airflow_has):
    good, broken = (upstream.push(one=f"# {number}") for number in range(2))
    holds |= {good: RepositoryError("git: not done"), broken: Parsed([], {"one.py": "E: x"})}
    upstream.sync(broken)
    airflow_has(Parsed(["one"], {}))
    made = make()
    for _ in range(3):
        with pytest.raises(RepositoryError):
            made.look()
    holds[good] = Parsed(["one"], {})
    made.look()
    assert handed_on(made) == good
    assert holds.asked.count(broken) == 1


@pytest.mark.parametrize(
    ("error", "told"), [(RepositoryError("git: no"), 1), (OSError("no"), 1), (NotReady("no"), 1), (None, 0)]
)
def test_a_guard_that_fails_is_told_as_one_that_refuses(upstream, tmp_path, monkeypatch, caplog, error, told):
    seen, stop = [], threading.Event()

    def look(_):
        if error:
            raise error

    monkeypatch.setattr(guard.Guard, "look", look)
    monkeypatch.setattr(guard.threading, "Event", lambda: stop)
    monkeypatch.setattr(guard.metrics, "initialize", lambda: None)
    monkeypatch.setattr(guard.stats, "gauge", lambda name, value, **_: (seen.append((name, value)), stop.set()))
    monkeypatch.setattr(guard.signal, "signal", lambda *_: None)
    assert guard.main([str(upstream.link), str(tmp_path), "--port=19419"]) == 0
    assert seen == [(guard.metrics.GUARD_REFUSES, told)]
    assert (f"{error}; trying again" in caplog.text) == bool(error)


def test_a_start_that_git_has_interrupted_begins_anew(upstream, make, holds, airflow_has, monkeypatch):
    for number in range(2):
        commit = upstream.push(one=f"# {number}")
        holds[commit] = Parsed(["one"], {"two.py": "ImportError: x"})
    upstream.sync(commit)
    made = make()

    def fail(*_, **__):
        raise RepositoryError("git: not done")

    with monkeypatch.context() as failing:
        failing.setattr(guard.Guard, "_newest", fail)
        airflow_has(None)
        with pytest.raises(RepositoryError):
            made.look()
    airflow_has(Parsed(["one", "two"], {}))
    made.look()
    assert (handed_on(made), made.refuses) == (None, True)


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


def test_a_commit_that_was_refused_is_judged_again_after_a_while(upstream, make, holds, airflow_has, monkeypatch):
    airflow_has(None)
    good = upstream.sync(upstream.push(one=dag("one")))
    holds[good] = Parsed(["one"], {})
    made = make()
    made.look()
    later = upstream.sync(upstream.push(two=dag("two")))
    holds[later] = Parsed(["one"], {"two.py": "OSError: a host is away"})
    for _ in range(3):
        made.look()
    assert (handed_on(made), made.refuses, holds.asked.count(later)) == (good, True, 1)
    holds[later] = Parsed(["one", "two"], {})
    monkeypatch.setattr(guard.time, "monotonic", lambda now=guard.time.monotonic: now() + guard._AGAIN)
    for _ in range(3):
        made.look()
    assert (handed_on(made), made.refuses, holds.asked.count(later)) == (later, False, 2)


def test_a_file_that_ends_its_process_is_named_and_the_others_are_parsed(tmp_path):
    killer = "import os\nfrom airflow.sdk import DAG\nos._exit(3)\n"
    (tmp_path / "a.py").write_text(killer)
    (tmp_path / "b.py").write_text(killer.replace("os._exit(3)", "os.kill(os.getpid(), 9)"))
    (tmp_path / "c.py").write_text(dag("c"))
    found = parse(tmp_path)
    assert found.dags == ["c"]
    assert found.errors == {"a.py": "its process ended with 3", "b.py": "its process ended with -9"}
    assert found.sources["a.py"] == md5(killer)


def test_a_thread_that_a_file_leaves_behind_holds_up_nothing(tmp_path):
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n"
    (tmp_path / "a.py").write_text(thread + dag("a"))
    (tmp_path / "b.py").write_text(dag("b"))
    assert parse(tmp_path).dags == ["a", "b"]


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


def test_its_server_takes_as_many_connections_as_there_are_pods(upstream, make, holds):
    commit = upstream.sync(upstream.push(one="one"))
    holds[commit] = Parsed(["one"], {})
    made = make()
    made.look()
    server = made._repository.serve(19420)
    try:
        with ExitStack() as stack:
            held = []
            # Of other addresses, as pods': it ends those of one that has several.
            while len(held) < 40:
                source = (f"127.0.1.{len(held) + 1}", 0)
                try:
                    one = socket.create_connection(("127.0.0.1", 19420), timeout=5, source_address=source)
                except ConnectionRefusedError:
                    threading.Event().wait(0.1)
                else:
                    held.append(stack.enter_context(one))
            command = ["git", "ls-remote", "git://127.0.0.1:19420/dags.git", BRANCH]
            done = subprocess.run(command, capture_output=True, text=True)
            dropped, _, _ = select.select(held, [], [], 0)
        assert (done.stdout.split(), dropped) == ([commit, f"refs/heads/{BRANCH}"], [])
    finally:
        server.terminate()
        server.wait(10)


def test_each_file_is_parsed_by_itself(tmp_path):
    for team in ("a", "b"):
        (tmp_path / team).mkdir()
        (tmp_path / team / "dag.py").write_text(
            f"import sys\nsys.path.insert(0, {str(tmp_path / team)!r})\nimport common\n"
            + dag(f"{team}_dag")
            + f"assert common.TEAM == {team!r}\n"
        )
        (tmp_path / team / "common.py").write_text(f"TEAM = {team!r}\n")
    broken = "from airflow.sdk import DAG\nraise RuntimeError('of itself')\n"
    (tmp_path / "broken.py").write_text(broken)
    error, source = {"broken.py": "RuntimeError: of itself"}, {"broken.py": md5(broken)}
    assert parse(tmp_path) == Parsed(["a_dag", "b_dag"], error, source)


def test_the_parser_prints_its_answer_alone(tmp_path):
    noise = "import os, subprocess\nprint('a line')\nos.system('echo of a shell')\nos.write(1, b'of the file')\n"
    (tmp_path / "one.py").write_text(noise + "subprocess.run(['echo', 'of a program'])\n" + dag("one"))
    command = [sys.executable, "-m", "airflow_platform.dag_guard.parse", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == '{"dags": ["one"], "errors": {}, "sources": {}, "files": {}}'
    assert "of a shell" in done.stderr


def test_a_dag_that_the_dag_processor_cannot_serialize_is_an_error(tmp_path):
    broken = "from airflow.sdk import DAG\nfrom airflow.timetables.simple import NullTimetable\n\n\n"
    broken += (
        "class Unknown(NullTimetable):\n    pass\n\n\none = DAG('broken', schedule=Unknown())\ntwo = DAG('whole')\n"
    )
    (tmp_path / "two.py").write_text(broken)
    found = parse(tmp_path)
    assert found.dags == ["whole"]
    assert list(found.errors) == ["two.py"]
    assert "Unknown" in found.errors["two.py"]
    assert found.sources == {"two.py": md5(broken)}


def test_a_file_that_the_dag_processor_finds_unstable_is_an_error_where_it_is_one_there(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL", "error")
    (tmp_path / "one.py").write_text(
        "import datetime\n" + dag("one").replace("'one'", "f'one_{datetime.datetime.now()}'")
    )
    found = parse(tmp_path)
    assert (found.dags, list(found.errors)) == ([], ["one.py"])


def test_a_file_may_ask_for_what_airflows_database_has(metadata_database, tmp_path, monkeypatch):
    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Variable(key="tenant", val="acme"))
        session.add(Connection(conn_id="warehouse", conn_type="postgres", host="db"))
    text = "from airflow.models import Variable as Old\nfrom airflow.sdk import DAG, Connection, Variable\n\n"
    text += "names = [Variable.get('tenant'), Connection.get('warehouse').host, 'old_' + Old.get('tenant')]\n"
    text += "for name in names:\n    with DAG(name):\n        pass\n"
    (tmp_path / "one.py").write_text(text)
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    command = [sys.executable, "-m", "airflow_platform.dag_guard.parse", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = Parsed(**json.loads(done.stdout))
    assert (found.errors, found.dags) == ({}, ["acme", "db", "old_acme"])


@pytest.mark.parametrize("answer", ["no JSON", '{"dags": []}', "1", "\\377"])
def test_an_answer_that_cannot_be_read_is_a_refusal(upstream, make, tmp_path, monkeypatch, caplog, answer):
    made = make()
    good = upstream.sync(upstream.push(one=dag("one")))
    made.look()
    parser = tmp_path / "parser"
    parser.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    parser.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(parser))
    commit = upstream.sync(upstream.push(one=dag("one", "# changed")))
    made.look()
    assert (handed_on(made), made.refuses) == (good, True)
    assert f"Commit {commit} is refused, and DAGs stay those of {good}: its parser's answer cannot" in caplog.text


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


def test_what_broke_a_file_that_is_the_same_is_excused():
    last = Parsed(["a", "b"], {"old.py": ""}, {"a.py": "1", "b.py": "2"})
    new = Parsed([], {"a.py": "E: a", "b.py": "E: b", "c.py": "E: c"}, {"a.py": "1", "b.py": "3", "c.py": "4"})
    assert excused(new, last) == Parsed(["a", "b"], {"old.py": "", "a.py": "E: a"}, last.sources)


def test_the_dags_of_a_file_that_is_excused_are_not_missed():
    files = {"a": "factory.py", "b": "factory.py", "c": "c.py"}
    last = Parsed(["a", "b", "c"], {}, {"factory.py": "1", "c.py": "2"}, files)
    new = Parsed(["c"], {"factory.py": "E"}, {"factory.py": "1"})
    assert refusal(new, excused(new, last), 50) is None
    # One that is gone for another reason is.
    assert (
        refusal(Parsed([], new.errors, new.sources), excused(new, last), 50)
        == "1 of 1 DAGs are gone, more than 50 %: c"
    )


def test_what_airflow_has_is_read_from_its_database(metadata_database, monkeypatch):
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagcode import DagCode
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session

    # The queries are PostgreSQL's and SQLite's alike.
    @contextmanager
    def connect():
        with closing(sqlite3.connect(metadata_database.removeprefix("sqlite:///"))) as connection:
            yield connection

    monkeypatch.setattr(known, "connect", connect)
    assert known.read() is None
    with create_session() as session:
        session.add_all(DagBundleModel(name=name) for name in ("dags", "research"))
        session.flush()
        for name, bundle, stale in (("one", "dags", False), ("gone", "dags", True), ("other", "research", False)):
            file = f"team/{name}.py"
            session.add(DagModel(dag_id=name, bundle_name=bundle, relative_fileloc=file, fileloc=file, is_stale=stale))
            session.add(ParseImportError(filename=f"broken_{name}.py", bundle_name=bundle, stacktrace="ImportError: x"))
        session.flush()
        for number, text in enumerate(("new", "old")):
            version = DagVersion(dag_id="one", version_number=2 - number, bundle_name="dags")
            code = DagCode(version, "/git/current/team/one.py", text)
            code.last_updated = datetime(2026, 1, 2 - number, tzinfo=timezone.utc)
            session.add_all([version, code])
    errors, sources = {"broken_one.py": "", "broken_gone.py": ""}, {"team/one.py": md5("new")}
    assert known.read() == Parsed(["one"], errors, sources, {"one": "team/one.py"})


def test_a_database_that_fails_amid_an_answer_is_one_that_does_not_answer(monkeypatch):
    @contextmanager
    def connect():
        raise psycopg2.OperationalError("server closed the connection unexpectedly\n")
        yield

    monkeypatch.setattr(known, "connect", connect)
    with pytest.raises(NotReady, match="the database does not answer: server closed the connection unexpectedly$"):
        known.read()
