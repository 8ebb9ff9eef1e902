"""The commands, against a real git repository and an api-server on loopback."""

import json
import os
import subprocess
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
import yaml

from airflow_platform import cli, client
from airflow_platform.command_error import CommandError
from airflow_platform.release import check, registry
from airflow_platform.release.commands import release as command
from airflow_platform.release.commands import schedule

DIGEST, OTHER_DIGEST = "@sha256:" + "a1" * 32, "@sha256:" + "b2" * 32
#: What Airflow says of a version that is retired.
RETIRED = {"summary": "not scheduled", "allowed": ["scheduled"]}


class Airflow(ThreadingHTTPServer):
    """Airflow's public API, as far as the commands ask it. ``dags``: by id; ``runs``: by DAG, as the API has them."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.dags, self.runs = {}, defaultdict(list)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, path, query):
        if path == "/api/v2/dags":
            name = query["tags"][0].removeprefix("release:")
            dags = [dag for dag_id, dag in self.dags.items() if dag_id.startswith(f"{name}__")]
            dags = [dag for dag in dags if not dag["is_stale"] or query["exclude_stale"] == ["false"]]
            return {"dags": dags, "total_entries": len(dags)}
        dag_id = path.split("/")[4]
        runs = [run for one, runs in self.runs.items() for run in runs if dag_id in ("~", one)]
        if states := query.get("state"):
            runs = [run for run in runs if run["state"] in states]
        runs.sort(key=lambda run: run["run_after"], reverse=query.get("order_by") == ["-logical_date"])
        offset, limit = int(query.get("offset", ["0"])[0]), int(query["limit"][0])
        return {"dag_runs": runs[offset : offset + limit], "total_entries": len(runs)}

    def parsed(
        self, *dag_ids, summary="0 0 * * *", following=None, paused=False, allowed=None, stale=False, broken=False
    ):
        for dag_id in dag_ids:
            self.dags[dag_id] = {
                "dag_id": dag_id, "is_paused": paused, "timetable_summary": summary, "next_dagrun_run_after": following,
                "allowed_run_types": allowed, "is_stale": stale, "has_import_errors": broken,
            }  # fmt: skip

    def ran(self, dag_id, day, state="success"):
        run = {"dag_id": dag_id, "state": state, "run_type": "scheduled", "logical_date": day.isoformat()}
        run |= {"data_interval_start": day.isoformat(), "data_interval_end": (day + timedelta(days=1)).isoformat()}
        self.runs[dag_id].append(run | {"run_after": run["data_interval_end"]})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        body = json.dumps(self.server.answer(url.path, parse_qs(url.query))).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def airflow(monkeypatch):
    for name in (client.URL, client.USER, client.PASSWORD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(client.TOKEN, "secret")
    monkeypatch.setattr(schedule, "_EVERY", 0)
    with Airflow() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def run(remote, repository, airflow, monkeypatch, capsys):
    """Runs a command in the author's clone: exit code, stdout, stderr."""
    monkeypatch.chdir(repository.path)
    monkeypatch.delenv(command.REGISTRY, raising=False)

    def run(*words):
        url = ["--url", airflow.url] if words[0] != "release" else []
        code = cli.main([*words, *url])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def stored(remote):
    """A file of the branch of releases, as git has it."""

    def stored(name):
        words = ["git", "show", f"releases:dags/releases/{name}"]
        return subprocess.run(words, cwd=remote, check=True, capture_output=True, text=True).stdout

    return stored


def today():
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def plan(stored):
    return yaml.safe_load(stored("report.yaml"))


def test_a_release_is_pushed_and_says_what_it_is(run, stored):
    code, out, _ = run("release", "dags/research/report", "--version", "1.3.0")
    assert code == 0
    assert out.startswith("report 1.3.0 released: dags/releases on branch releases of ")
    assert "\n  DAG report__1_3_0\n" in out
    assert f"\n  image worker:1.0.0{DIGEST}\n" in out
    assert "load(" in stored("report__1_3_0.py")
    assert plan(stored) == {"source": "research/report", "schedule": [], "retired": [], "deleted": {}}


def test_a_version_follows_the_last(run, stored, repository):
    for version in ("1.0.0", "1.1.0"):
        repository.put("research/report/more.py", f"WHO = '{version}'\n")
        repository.commit()
        assert run("release", "dags/research/report")[1].startswith(f"report {version} released")


def test_a_released_version_never_changes(run, stored, repository):
    run("release", "dags/research/report", "--version", "1.0.0")
    first = stored("report__1_0_0.py")
    assert "was released already, the same" in run("release", "dags/research/report", "--version", "1.0.0")[1]
    repository.put("research/report/more.py", "WHO = 'another'\n")
    repository.commit()
    code, _, err = run("release", "dags/research/report", "--version", "1.0.0")
    assert code == 1
    assert (
        "released already, with other content, and a release never changes: give this one another version, as 1.1.0"
        in err
    )
    assert stored("report__1_0_0.py") == first


def test_others_push_meanwhile(run, stored, remote, repository, monkeypatch):
    from airflow_platform.release import store

    run("release", "dags/research/report", "--version", "1.0.0")
    real, pushed = store.git, []

    def git(*words, at):
        if words[0] == "push" and not pushed:
            pushed.append(True)
            repository.git("fetch", "--quiet", "origin", "releases")
            repository.git("push", "--quiet", "origin", "FETCH_HEAD:refs/heads/other")
            commit = repository.git("commit-tree", "FETCH_HEAD^{tree}", "-p", "FETCH_HEAD", "-m", "of another team")
            repository.git("push", "--quiet", "origin", f"{commit}:refs/heads/releases")
        return real(*words, at=at)

    monkeypatch.setattr(store, "git", git)
    assert run("release", "dags/research/report", "--version", "2.0.0")[0] == 0
    assert stored("report__1_0_0.py")
    assert stored("report__2_0_0.py")


def test_two_folders_of_a_name_do_not_mix(run, repository):
    run("release", "dags/research/report", "--version", "1.0.0")
    for name in ("dag.py", "tables.py", "more.py", "query.sh"):
        text = (repository.folder / name).read_text().replace("research.report", "sales.report")
        repository.put(f"sales/report/{name}", text)
    repository.commit()
    code, _, err = run("release", "dags/sales/report", "--version", "1.0.0")
    assert code == 1
    assert "releases named report are of research/report: give the folder of sales/report another name" in err


def test_a_release_can_be_written_to_a_folder(run, tmp_path, remote):
    words = ("release", "dags/research/report", "--version", "1.0.0", "--output", str(tmp_path / "out"))
    assert run(*words)[0] == 0
    assert (tmp_path / "out" / "report__1_0_0.py").exists()
    assert subprocess.run(["git", "branch"], cwd=remote, capture_output=True, text=True).stdout == ""


@pytest.fixture
def three(run, repository):
    """Three releases."""
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        repository.put("research/report/more.py", f"WHO = '{version}'\n")
        repository.commit()
        run("release", "dags/research/report", "--version", version)


def test_promote_and_rollback(run, three, stored, airflow):
    airflow.parsed("report__1_0_0")
    assert run("promote", "report", "1.0.0")[:2] == (0, "report 1.0.0 is scheduled\n")
    yesterday = today() - timedelta(days=1)
    airflow.ran("report__1_0_0", yesterday - timedelta(days=1))
    airflow.ran("report__1_0_0", yesterday)
    airflow.parsed("report__1_0_0", following=None, summary="0 0 * * * up to …")
    airflow.parsed("report__1_1_0")
    code, out, _ = run("promote", "report", "1.1.0")
    assert code == 0
    assert f"report: after the run of {yesterday:%Y-%m-%d} 00:00 UTC" in out
    (_, turn) = plan(stored)["schedule"]
    assert turn["version"] == "1.1.0"
    assert datetime.fromisoformat(turn["after"]["report"]["run_after"]) == today()
    # Nothing of it has run: the first one goes on where it was.
    airflow.parsed("report__1_1_0", following=None)
    airflow.parsed("report__1_0_0")
    assert run("rollback", "report")[0] == 0
    assert [one["version"] for one in plan(stored)["schedule"]] == ["1.0.0", "1.1.0", "1.0.0"]
    assert plan(stored)["schedule"][2]["after"] == plan(stored)["schedule"][1]["after"]
    # The version before is what was gone back from now.
    before = stored("report.yaml")
    code, out, err = run("rollback", "report")
    assert (code, out, stored("report.yaml")) == (1, "", before)
    assert "report 1.0.0 was scheduled before, and then again: somebody may have gone back already. Nothing" in err
    assert run("rollback", "report", "1.0.0")[:2] == (
        0,
        f"report 1.0.0 is scheduled\n  report: after the run of {yesterday:%Y-%m-%d} 00:00 UTC\n",
    )
    assert stored("report.yaml") == before
    airflow.parsed("report__1_0_0", following=None)
    assert run("rollback", "report", "1.1.0")[0] == 0
    assert plan(stored)["schedule"][3]["version"] == "1.1.0"


def test_a_rollback_goes_past_a_version_that_was_retired(run, three, stored):
    for version in ("1.0.0", "1.1.0"):
        run("promote", "report", version, "--no-wait")
    run("retire", "report", "1.1.0", "--no-wait")
    assert run("rollback", "report", "--no-wait")[1].splitlines()[0] == "report 1.0.0 is scheduled"
    assert plan(stored)["retired"] == ["1.1.0"]
    # What was gone back from does not come again, neither once nothing is scheduled.
    run("retire", "report", "1.0.0", "--no-wait")
    code, _, err = run("rollback", "report", "--no-wait")
    assert (code, "report 1.0.0 was scheduled before, and then again" in err) == (1, True)


def test_what_is_due_while_it_takes_its_time_is_the_versions_before(run, three, stored, airflow, monkeypatch):
    airflow.parsed("report__1_0_0", "report__1_1_0")
    run("promote", "report", "1.0.0", "--no-wait")
    real, tomorrow = check.parse, today() + timedelta(days=1)
    airflow.ran("report__1_0_0", today() - timedelta(days=1))

    def slow(*given):
        parsed = real(*given)
        clock.move_to(tomorrow - timedelta(seconds=60))
        return parsed

    monkeypatch.setattr(check, "parse", slow)
    with time_machine.travel(tomorrow - timedelta(minutes=10), tick=True) as clock:
        out = run("promote", "report", "1.1.0", "--no-wait", "--margin", "180")[1]
    assert f"report: after the run of {tomorrow:%Y-%m-%d} 00:00 UTC" in out


@pytest.mark.parametrize("words", [["release", "dags/research/report"], ["list"]])
def test_a_repository_may_be_named_from_here(run, remote, repository, words):
    run("release", "dags/research/report", "--version", "1.0.0")
    assert run(*words, "--repository", "../remote.git")[0] == 0
    repository.git("remote", "set-url", "origin", "../remote.git")
    os.chdir(repository.folder)
    assert run(*words[:1], *(["."] if words[1:] else []))[0] == 0


def test_a_rollback_that_airflow_has_not_read_may_be_done_again(run, three, stored, airflow):
    for version in ("1.0.0", "1.1.0"):
        run("promote", "report", version, "--no-wait")
    for words in (("rollback", "report"), ("rollback", "report", "1.0.0")):
        code, out, err = run(*words, "--margin", "0")
        assert (code, out.splitlines()[0]) == (1, "report 1.0.0 is scheduled")
        assert "is pushed; to wait once more: airflow-platform promote report 1.0.0\n" in err
        assert [one["version"] for one in plan(stored)["schedule"]] == ["1.0.0", "1.1.0", "1.0.0"]
    airflow.parsed("report__1_0_0")
    for repeat in ("rollback", "promote"):
        assert run(repeat, "report", "1.0.0", "--margin", "0")[0] == 0


def test_an_airflow_that_goes_away_after_the_push_does_not_hide_it(run, three, stored, airflow, monkeypatch):
    run("promote", "report", "1.0.0", "--no-wait")
    airflow.parsed("report__1_0_0")
    read = schedule.Runs.dags

    def dags(self, *words, **more):
        if plan(stored)["schedule"][-1]["version"] == "1.1.0":
            raise client.ClientError("Airflow does not answer")
        return read(self, *words, **more)

    monkeypatch.setattr(schedule.Runs, "dags", dags)
    code, out, err = run("promote", "report", "1.1.0")
    assert (code, out.splitlines()[0]) == (1, "report 1.1.0 is scheduled")
    assert "Airflow does not answer. The change is pushed; whether Airflow has read it is not known" in err


@pytest.mark.parametrize(
    ("words", "others", "said"),
    [
        (("rollback", "report"), ("rollback", "report"), "meanwhile: 1.0.0 of report is scheduled; nothing was done"),
        (("rollback", "report"), ("promote", "report", "2.0.0"), "meanwhile: 2.0.0 of report is scheduled; nothing"),
        (("rollback", "report"), ("retire", "report", "1.1.0"), "meanwhile: no version of report is scheduled"),
        # What was named is done.
        (("rollback", "report", "1.0.0"), ("rollback", "report"), ""),
        (("rollback", "report", "1.0.0"), ("promote", "report", "2.0.0"), ""),
    ],
)
def test_two_go_back_at_once(run, three, stored, monkeypatch, words, others, said):
    from airflow_platform.release import store

    for version in ("1.0.0", "1.1.0"):
        run("promote", "report", version, "--no-wait")
    real, pushed = store.git, []

    def git(*arguments, at):
        if arguments[0] == "push" and not pushed:
            pushed.append(True)
            assert run(*others, "--no-wait")[0] == 0
            pushed.append(stored("report.yaml"))
        return real(*arguments, at=at)

    monkeypatch.setattr(store, "git", git)
    code, _, err = run(*words, "--no-wait")
    if said:
        assert (code, stored("report.yaml")) == (1, pushed[1])
        assert said in err
    else:
        assert (code, plan(stored)["schedule"][-1]["version"]) == (0, "1.0.0")


def test_a_change_that_airflow_does_not_read_is_said(run, three, airflow):
    code, out, err = run("promote", "report", "1.0.0", "--margin", "0")
    assert (code, out) == (1, "report 1.0.0 is scheduled\n")
    assert "Airflow has not read the change after 0 seconds (report__1_0_0): look at git-sync" in err
    airflow.parsed("report__1_0_0", summary="not scheduled")
    assert "has not read the change" in run("promote", "report", "1.0.0", "--margin", "0")[2]
    # The version before goes on beyond its last run.
    airflow.parsed("report__1_0_0", following=(today() + timedelta(days=2)).isoformat())
    airflow.ran("report__1_0_0", today() - timedelta(days=1))
    airflow.parsed("report__1_1_0")
    assert "(report__1_0_0)" in run("promote", "report", "1.1.0", "--margin", "0")[2]


def test_a_version_that_had_the_schedule_before_is_not_taken_for_scheduled(run, three, airflow):
    for version in ("1.0.0", "1.1.0"):
        run("promote", "report", version, "--no-wait")
    airflow.parsed("report__1_0_0", summary="0 0 * * * up to 2026-03-02 00:00")
    assert "has not read the change" in run("rollback", "report", "--margin", "0")[2]


@pytest.mark.parametrize("why", ["paused", "stale", "broken"])
def test_of_a_version_that_airflow_makes_no_runs_of_the_next_one_makes_them(run, three, airflow, monkeypatch, why):
    def broken(release, folder=None):
        raise CommandError(f"{release.entry} does not parse")

    airflow.parsed("report__1_0_0", "report__1_1_0")
    run("promote", "report", "1.0.0")
    last = today() - timedelta(days=5)
    airflow.ran("report__1_0_0", last)
    airflow.parsed("report__1_0_0", **{why: True})
    if why == "broken":
        monkeypatch.setattr(check, "parse", broken)
    code, out, _ = run("promote", "report", "1.1.0")
    assert code == 0
    assert f"report: after the run of {last:%Y-%m-%d} 00:00 UTC" in out


def test_what_changes_no_schedule_does_not_wait_for_one(run, three, airflow):
    airflow.parsed("report__1_0_0", "report__1_1_0")
    run("promote", "report", "1.0.0")
    airflow.ran("report__1_0_0", today() - timedelta(days=1))
    airflow.parsed("report__1_0_0", summary="0 0 * * * up to …")
    run("promote", "report", "1.1.0")
    airflow.parsed("report__1_1_0", following=(today() + timedelta(days=2)).isoformat())
    handed = f"  report: after the run of {today() - timedelta(days=1):%Y-%m-%d} 00:00 UTC\n"
    assert run("promote", "report", "1.1.0", "--margin", "0")[:2] == (0, f"report 1.1.0 is scheduled\n{handed}")
    airflow.parsed("report__1_0_0", **RETIRED)
    said = f"report 1.0.0 is retired\nreport 1.1.0 is scheduled\n{handed}"
    assert run("retire", "report", "1.0.0", "--margin", "0")[:2] == (0, said)
    airflow.parsed("report__1_0_0", summary="0 0 * * * up to …")
    said = f"report 1.0.0 may be run again\nreport 1.1.0 is scheduled\n{handed}"
    assert run("reinstate", "report", "1.0.0", "--margin", "0")[:2] == (0, said)


def test_a_version_that_is_paused_is_said(run, three, airflow):
    airflow.parsed("report__1_0_0", paused=True)
    assert "report__1_0_0 is paused, and begins no run before it is unpaused" in run("promote", "report", "1.0.0")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("promote", "report", "9.0.0"), "report has no release 9.0.0. There are 1.0.0, 1.1.0, 2.0.0."),
        (("promote", "repot", "1.0.0"), "there is no release of repot. Released: report."),
        (("promote", "report", "1.0"), "'1.0' is no version: write three numbers, as 1.3.0"),
        (("rollback", "report"), "no version of report was scheduled before: promote one"),
        (("rollback", "report", "1.0.0"), "report 1.0.0 was never scheduled: promote it"),
        (("rollback", "report", "9.0.0"), "report has no release 9.0.0"),
        (("retire", "report", "9.0.0"), "report has no release 9.0.0"),
        (
            ("delete", "report", "1.0.0"),
            "report 1.0.0 is kept: retire it first, by airflow-platform retire report 1.0.0",
        ),
        (
            ("archive", "report", "1.0.0"),
            "report 1.0.0 is kept: retire it first, by airflow-platform retire report 1.0.0",
        ),
        (("archive", "report", "9.0.0"), "report has no release 9.0.0"),
        (("archive", "repot"), "there is no release of repot"),
        (("reinstate", "report", "1.0.0"), "report 1.0.0 is not retired: it can be run as it is"),
        (("list", "repot"), "there is no release of repot"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(run, three, stored, words, said):
    before = stored("report.yaml")
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert said in err
    assert stored("report.yaml") == before


def test_retire_drains_and_delete_waits_for_it(run, three, stored, airflow, repository):
    airflow.parsed("report__1_0_0")
    run("promote", "report", "1.0.0")
    airflow.ran("report__1_0_0", today() - timedelta(days=1), state="running")
    airflow.parsed("report__1_0_0", summary="not scheduled")
    # Airflow has read that it is not scheduled, as of an earlier change, and would still take a run by hand.
    code, _, err = run("retire", "report", "1.0.0", "--margin", "0")
    assert (code, "Airflow has not read the change after 0 seconds (report__1_0_0)" in err) == (1, True)
    airflow.parsed("report__1_0_0", summary="not scheduled", allowed=["scheduled"])
    code, out, _ = run("retire", "report", "1.0.0")
    assert (code, out.splitlines()[:2]) == (0, ["report 1.0.0 is retired", "no version of report is scheduled"])
    assert plan(stored)["retired"] == ["1.0.0"]
    code, _, err = run("delete", "report", "1.0.0")
    assert code == 1
    assert "report 1.0.0 has runs that have not ended (1 of report__1_0_0): wait for them, or end them" in err
    assert run("list", "--unused-images")[1] == ""
    airflow.runs["report__1_0_0"][0]["state"] = "success"
    content = stored("report__1_0_0.py")
    assert run("delete", "report", "1.0.0")[0] == 0
    with pytest.raises(subprocess.CalledProcessError):
        stored("report__1_0_0.py")
    # Its number is taken for ever, by what it was.
    code, _, err = run("release", "dags/research/report", "--version", "1.0.0")
    assert (code, "never changes" in err) == (1, True)
    repository.git("checkout", "--quiet", "HEAD~2")
    assert run("release", "dags/research/report", "--version", "1.0.0")[0] == 0
    assert stored("report__1_0_0.py") == content
    assert plan(stored)["deleted"] == {}


def test_what_is_retired_is_archived_once_its_runs_have_ended(run, three, stored, airflow):
    for version in ("1.0.0", "1.1.0"):
        run("retire", "report", version, "--no-wait")
    airflow.parsed("report__1_0_0")
    airflow.parsed("report__1_1_0", **RETIRED)
    airflow.ran("report__1_1_0", today(), state="queued")
    not_read = "Airflow has not read that it is retired (report__1_0_0)"
    assert run("archive")[1].splitlines() == [
        f"report 1.0.0 may still be run: {not_read}: wait for it; it is left",
        "report 1.1.0 has runs that have not ended (1 of report__1_1_0): wait for them, or end them; it is left",
    ]
    code, _, err = run("archive", "report", "1.1.0")
    assert (code, "report 1.1.0 has runs that have not ended" in err) == (1, True)
    airflow.parsed("report__1_0_0", **RETIRED)
    content = stored("report__1_0_0.py")
    assert run("archive", "report")[1].splitlines()[0] == "report 1.0.0 is archived"
    assert stored("archive/report__1_0_0.txt") == content
    with pytest.raises(subprocess.CalledProcessError):
        stored("report__1_0_0.py")
    assert stored("report__1_1_0.py")
    assert run("archive", "report", "1.0.0")[:2] == (0, "nothing to archive\n")


@pytest.mark.parametrize("command", ["archive", "delete"])
def test_a_version_goes_only_where_airflow_says_that_nothing_of_it_is_left(run, three, airflow, command):
    run("retire", "report", "1.0.0", "--no-wait")
    assert "is not known to Airflow (report__1_0_0): name the one that serves it" in run(command, "report", "1.0.0")[2]
    # A run that is due to it was not made yet.
    airflow.parsed("report__1_0_0", allowed=["scheduled"], following=today().isoformat(), paused=True)
    assert (
        "has runs to make that are due to it before the next version's (report__1_0_0 (paused))"
        in (run(command, "report", "1.0.0")[2])
    )
    airflow.parsed("report__1_0_0", **RETIRED)
    assert run(command, "report", "1.0.0")[0] == 0


def test_a_dag_all_of_whose_releases_are_deleted_is_no_error_of_the_others(run, three, airflow, repository):
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        run("retire", "report", version, "--no-wait")
        airflow.parsed(f"report__{version.replace('.', '_')}", **RETIRED)
        run("delete", "report", version)
    assert run("archive")[:2] == (0, "nothing to archive\n")


def archived(run, airflow):
    airflow.ran("report__1_0_0", today() - timedelta(days=1))
    airflow.parsed("report__1_0_0", **RETIRED)
    run("retire", "report", "1.0.0", "--no-wait")
    run("archive")
    airflow.parsed("report__1_0_0", **RETIRED, stale=True)


def test_an_archived_version_is_known_still(run, three, stored, airflow, repository):
    archived(run, airflow)
    one, *_ = json.loads(run("list", "report", "--json")[1])
    assert (one["version"], one["archived"], one["runs"], one["who"]) == ("1.0.0", True, 1, "Ann")
    assert one["schedule"] == {}
    assert "archived" in run("list")[1]
    code, _, err = run("release", "dags/research/report", "--version", "1.0.0")
    assert (code, "never changes: give this one another version, as 2.1.0" in err) == (1, True)
    repository.git("checkout", "--quiet", "HEAD~2")
    assert "was released already, the same" in run("release", "dags/research/report", "--version", "1.0.0")[1]
    assert run("delete", "report", "1.0.0")[0] == 0
    with pytest.raises(subprocess.CalledProcessError):
        stored("archive/report__1_0_0.txt")


@pytest.mark.parametrize("command", ["promote", "reinstate"])
def test_an_archived_version_comes_back(run, three, stored, airflow, command):
    archived(run, airflow)
    content = stored("archive/report__1_0_0.txt")
    code, _, err = run(command, "report", "1.0.0", "--margin", "0")
    assert (code, "Airflow has not read the change after 0 seconds (report__1_0_0)" in err) == (1, True)
    airflow.parsed("report__1_0_0")
    assert run("promote", "report", "1.0.0")[0] == 0
    assert stored("report__1_0_0.py") == content
    assert plan(stored)["retired"] == []
    with pytest.raises(subprocess.CalledProcessError):
        stored("archive/report__1_0_0.txt")


def test_who_released_a_version_is_known_when_it_comes_back(run, three, airflow, monkeypatch):
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Bob")
    archived(run, airflow)
    run("reinstate", "report", "1.0.0", "--no-wait")
    assert json.loads(run("list", "report", "--json")[1])[0]["who"] == "Ann"


def test_one_may_go_back_to_an_archived_version(run, three, stored, airflow):
    for version in ("1.0.0", "1.1.0"):
        run("promote", "report", version, "--no-wait")
    archived(run, airflow)
    assert run("rollback", "report", "--no-wait")[1].splitlines()[0] == "report 1.0.0 is scheduled"
    assert stored("report__1_0_0.py")


def test_a_reinstated_version_has_no_schedule(run, three, stored, airflow):
    run("promote", "report", "1.1.0", "--no-wait")
    archived(run, airflow)
    assert run("reinstate", "report", "1.0.0", "--no-wait")[:2] == (
        0,
        "report 1.0.0 may be run again\nreport 1.1.0 is scheduled\n",
    )
    assert plan(stored)["retired"] == []
    assert [one["version"] for one in plan(stored)["schedule"]] == ["1.1.0"]


def test_a_shallow_clone_does_not_know_the_commit(run, repository, remote, tmp_path, monkeypatch):
    repository.put("other.txt", "later")
    repository.commit()
    repository.git("push", "--quiet", "origin", "HEAD:main")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{remote}", shallow], check=True)
    monkeypatch.chdir(shallow)
    code, _, err = run("release", "dags/research/report", "--version", "1.0.0")
    assert code == 1
    assert "is shallow, so which commit changed research/report is not known: git fetch --unshallow" in err


def test_images_that_no_live_release_runs_are_listed(run, repository, stored, airflow):
    run("release", "dags/research/report", "--version", "1.0.0")
    repository.put("images.yaml", f"worker: 1.1.0{OTHER_DIGEST}\n")
    repository.commit()
    run("release", "dags/research/report", "--version", "1.1.0")
    assert run("list", "--unused-images")[1] == ""
    run("retire", "report", "1.0.0", "--no-wait")
    # As where --url names another Airflow.
    assert run("list", "--unused-images")[1] == ""
    airflow.parsed("report__1_0_0", allowed=["scheduled"], following=today().isoformat())
    assert run("list", "--unused-images")[1] == ""
    airflow.parsed("report__1_0_0", **RETIRED)
    assert run("list", "--unused-images")[1] == f"worker:1.0.0{DIGEST}\n"
    run("archive")
    airflow.dags.clear()
    assert run("list", "--unused-images")[1] == f"worker:1.0.0{DIGEST}\n"
    assert run("delete", "report", "1.0.0")[0] == 0
    assert run("list", "--unused-images")[1] == f"worker:1.0.0{DIGEST}\n"


def test_an_image_that_a_live_release_runs_by_another_tag_is_used(run, repository, airflow):
    run("release", "dags/research/report", "--version", "1.0.0")
    repository.put("images.yaml", f"worker: 1.1.0{DIGEST}\n")
    repository.commit()
    run("release", "dags/research/report", "--version", "1.1.0")
    run("retire", "report", "1.0.0", "--no-wait")
    airflow.parsed("report__1_0_0", **RETIRED)
    assert run("list", "--unused-images")[1] == ""


def test_an_image_that_another_dag_runs_is_used(run, repository, airflow):
    for name in ("dag.py", "tables.py", "more.py", "query.sh"):
        text = (
            (repository.folder / name).read_text().replace("research.report", "sales.sold").replace('"report', '"sold')
        )
        repository.put(f"sales/sold/{name}", text)
    repository.commit()
    for folder in ("research/report", "sales/sold"):
        run("release", f"dags/{folder}", "--version", "1.0.0")
    for name, unused in (("report", ""), ("sold", f"worker:1.0.0{DIGEST}\n")):
        run("retire", name, "1.0.0", "--no-wait")
        airflow.parsed(f"{name}__1_0_0", **RETIRED)
        assert run("delete" if unused else "archive", name, "1.0.0")[0] == 0
        assert run("list", "report", "--unused-images")[1] == unused


def test_the_list_has_versions_schedule_runs_and_who(run, three, airflow, repository):
    airflow.parsed("report__1_0_0", "report__1_1_0")
    run("promote", "report", "1.1.0")
    airflow.ran("report__1_1_0", today() - timedelta(days=2))
    airflow.ran("report__1_1_0", today() - timedelta(days=1), state="running")
    found = json.loads(run("list", "--json")[1])
    assert [one["version"] for one in found] == ["1.0.0", "1.1.0", "2.0.0"]
    (one,) = (one for one in found if one["scheduled"])
    assert (one["version"], one["runs"], one["under_way"], one["who"]) == ("1.1.0", 2, 1, "Ann")
    assert one["images"] == [f"worker:1.0.0{DIGEST}"]
    assert one["commit"] == repository.git("rev-parse", "HEAD~1")
    out = run("list", "report")[1]
    for text in ("1.1.0", "scheduled", "2, 1 under way", "Ann"):
        assert text in out


class Registry(ThreadingHTTPServer):
    """``answers``: by path, (status, headers). ``asked``: paths with what authorized them, and what was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), RegistryHandler)
        self.answers, self.asked = {}, []
        self.host = f"127.0.0.1:{self.server_port}"


class RegistryHandler(BaseHTTPRequestHandler):
    def _answer(self):
        authorization = self.headers.get("authorization")
        sent = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self.server.asked.append((self.command, self.path, authorization, sent))
        answers = self.server.answers.get(self.path.partition("?")[0], {})
        status, headers, body = answers.get(authorization, answers.get("any", (404, {}, b"")))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = _answer

    def log_message(self, *_):
        pass


@pytest.fixture
def images(tmp_path, monkeypatch):
    (tmp_path / "docker").mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with Registry() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        auths = {"auths": {server.host: {"auth": "YW5uOnNlY3JldA=="}}}
        (tmp_path / "docker" / "config.json").write_text(json.dumps(auths))
        yield server
        server.shutdown()


def _found():
    return 200, {"docker-content-digest": DIGEST[1:]}, b""


def test_a_digest_is_that_of_the_registry(images):
    images.answers["/v2/team/worker/manifests/1.0.0"] = {"any": _found()}
    assert registry.pinned("worker:1.0.0", f"{images.host}/team") == f"worker:1.0.0{DIGEST}"
    full = f"{images.host}/team/worker:1.0.0"
    assert registry.pinned(full, "other.example.com") == f"{full}{DIGEST}"
    assert registry.pinned(f"worker:1{DIGEST}", "") == f"worker:1{DIGEST}"


def test_credentials_are_dockers(images):
    refused = (401, {"www-authenticate": 'Basic realm="x"'}, b"")
    images.answers["/v2/worker/manifests/1.0.0"] = {"any": refused, "Basic YW5uOnNlY3JldA==": _found()}
    assert registry.pinned("worker:1.0.0", images.host) == f"worker:1.0.0{DIGEST}"


def test_a_registry_may_want_a_token(images):
    realm = f'Bearer realm="http://{images.host}/token",service="registry",scope="repository:worker:pull"'
    images.answers["/v2/worker/manifests/1.0.0"] = {
        "any": (401, {"www-authenticate": realm}, b""),
        "Bearer given": _found(),
    }
    given = (200, {"content-type": "application/json"}, b'{"token": "given"}')
    images.answers["/token"] = {"Basic YW5uOnNlY3JldA==": given}
    assert registry.pinned("worker:1.0.0", images.host) == f"worker:1.0.0{DIGEST}"
    assert images.asked[1][1] == "/token?service=registry&scope=repository%3Aworker%3Apull"
    images.answers["/token"] = {"any": (200, {}, b"<html>")}
    with pytest.raises(registry.CommandError, match=r"gives no token, but what is no JSON of one \(http://.*/token\)"):
        registry.pinned("worker:1.0.0", images.host)


@pytest.fixture
def helper(images, tmp_path, monkeypatch):
    """Puts a credential helper there, a shell script that Docker's configuration names."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)

    def helper(script, **configuration):
        program = tmp_path / "bin" / "docker-credential-safe"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        # As docker login leaves it.
        known = {"auths": {images.host: {}}} | (configuration or {"credsStore": "safe"})
        (tmp_path / "docker" / "config.json").write_text(json.dumps(known))

    return helper


@pytest.mark.parametrize("named", [{"credsStore": "safe"}, {"credsStore": "no", "credHelpers": {"HOST": "safe"}}])
def test_credentials_may_be_a_helpers(images, helper, named):
    named = json.loads(json.dumps(named).replace("HOST", images.host))
    given = '{"ServerURL": "x", "Username": "ann", "Secret": "secret"}'
    helper(f"""[ "$1" = get ] && [ "$(cat)" = {images.host} ] && echo '{given}'""", **named)
    refused = (401, {"www-authenticate": 'Basic realm="x"'}, b"")
    images.answers["/v2/worker/manifests/1.0.0"] = {"any": refused, "Basic YW5uOnNlY3JldA==": _found()}
    assert registry.pinned("worker:1.0.0", images.host) == f"worker:1.0.0{DIGEST}"


def test_an_identity_token_is_changed_for_one_of_the_registry(images, helper):
    images.answers["/v2/worker/manifests/1.0.0"] = {
        "any": (401, {"www-authenticate": f'Bearer realm="http://{images.host}/token",service="s",scope="c"'}, b""),
        "Bearer given": _found(),
    }
    images.answers["/token"] = {"any": (200, {}, b'{"access_token": "given"}')}
    helper("""echo '{"Username": "<token>", "Secret": "identity"}'""")
    assert registry.pinned("worker:1.0.0", images.host) == f"worker:1.0.0{DIGEST}"
    helper("exit 1", auths={images.host: {"auth": "YW5uOg==", "identitytoken": "identity"}})
    assert registry.pinned("worker:1.0.0", images.host) == f"worker:1.0.0{DIGEST}"
    form = "service=s&scope=c&grant_type=refresh_token&refresh_token=identity&client_id=airflow-platform"
    assert [body for command, *_, body in images.asked if command == "POST"] == [form, form]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo locked; exit 1",
            r"docker-credential-safe has no credentials for HOST \(locked\): log in, by docker login",
        ),
        ("echo no account >&2; exit 1", r"has no credentials for HOST \(no account\)"),
        ("""echo '{"Secret": "hidden"}'; exit 1""", r"has no credentials for HOST \(exit code 1\)"),
        ("echo hidden", "gives no Username and Secret for HOST: is it a credential helper"),
        (
            """echo '{"Username": "a", "Secret": "hidden"}'""",
            "gives for HOST is refused: .* or ask for the right to pull",
        ),
        ("exec sleep 9", "docker-credential-safe did not end within 1 seconds"),
        ("", "docker-credential-other, which .*config.json names, is not there: install it"),
    ],
)
def test_a_helper_that_does_not_help_is_said(images, helper, monkeypatch, script, said):
    monkeypatch.setattr(registry, "_TIMEOUT", 1)
    helper(script, credsStore="safe" if script else "other")
    refused = (401, {"www-authenticate": 'Basic realm="x"'}, b"")
    images.answers["/v2/worker/manifests/1.0.0"] = {"any": refused}
    with pytest.raises(registry.CommandError, match=said.replace("HOST", images.host)) as raised:
        registry.pinned("worker:1.0.0", images.host)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("script", ["exit 1", """echo '{"Username": "", "Secret": ""}'"""])
def test_what_everybody_may_read_needs_no_credentials(images, helper, script):
    helper(script)
    images.answers["/v2/worker/manifests/1.0.0"] = {
        "any": (401, {"www-authenticate": f'Bearer realm="http://{images.host}/token"'}, b""),
        "Bearer given": _found(),
    }
    images.answers["/token"] = {None: (200, {}, b'{"token": "given"}')}
    assert registry.pinned("worker:1.0.0", images.host) == f"worker:1.0.0{DIGEST}"


@pytest.mark.parametrize("image", ["docker.io/python:3.12", "index.docker.io/library/python:3.12", "python:3.12"])
def test_images_of_docker_hub_itself_are_in_its_library(monkeypatch, image):
    asked = []
    monkeypatch.setattr(registry, "_digest", lambda *words: asked.append(words) or DIGEST[1:])
    assert registry.pinned(image, "docker.io") == f"{image}{DIGEST}"
    assert asked[0][1] == "library/python"


@pytest.mark.parametrize(
    ("image", "answer", "said"),
    [
        ("worker:1.0.0", (404, {}, b""), "has no image worker:1.0.0: push it first"),
        ("worker:1.0.0", (403, {}, b""), "does not let you read worker:1.0.0: log in, by docker login"),
        ("worker:1.0.0", (200, {}, b""), "gives no digest of worker:1.0.0"),
        ("worker", (200, {}, b""), "has no tag"),
    ],
)
def test_a_digest_that_cannot_be_had_is_said(images, image, answer, said):
    images.answers["/v2/worker/manifests/1.0.0"] = {"any": answer}
    with pytest.raises(registry.CommandError, match=said):
        registry.pinned(image, images.host)


def test_a_registry_that_does_not_answer_is_said():
    with pytest.raises(registry.CommandError, match="registry 127.0.0.1:9 does not answer .* or write the digest"):
        registry.pinned("worker:1.0.0", "127.0.0.1:9")
