"""Two releases of a DAG beside each other: a new one leaves what runs of the one before as it is; an old one goes and
comes back."""

import json
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from local.cluster import access, dags, images, registry, settings
from local.cluster.airflow import ENDED
from local.cluster.console import Problem, run, wait_for

FOLDER = "e2e_releases"
#: Variables of ``airflow-platform``, and what of access.json they have.
API = {"URL": "ui", "USER": "user", "PASSWORD": "password"}
SOURCES = Path(__file__).parent / "releases"


class Author:
    """Releases DAGs, in a clone of their repository, by the program of the Airflow image."""

    def __init__(self, folder, found):
        self.folder, self.clone = folder, folder / "clone"
        shutil.copytree(SOURCES, self.clone / "dags" / "e2e")
        shutil.copy(settings.REPO / "dags" / "images.yaml", self.clone / "dags")
        (folder / "docker").mkdir()
        (folder / "docker" / "config.json").write_text(registry.docker_config())
        self.repository, self.environment = dags.remote(access.git())
        self.environment |= {
            f"GIT_{role}_{what}": "e2e" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        self.environment |= {"HOME": "/tmp", "AIRFLOW_HOME": "/tmp/airflow", "DOCKER_CONFIG": str(folder / "docker")}
        self.environment |= {f"AIRFLOW_PLATFORM_{name}": found[key] for name, key in API.items()}
        run(["git", "init", "--quiet"], log="git", cwd=self.clone)

    def release(self, dag, version, **more):
        """A DAG as it is with these variables in a module of its own, ``words``."""
        words = self.clone / "dags" / "e2e" / dag / "words.py"
        words.write_text("".join(f"{name.upper()} = {value!r}\n" for name, value in more.items()))
        run(["git", "add", "--all"], log="git", cwd=self.clone)
        run(["git", "commit", "--quiet", "--message", version], log="git", cwd=self.clone, env=self.environment)
        self.change("release", f"dags/e2e/{dag}", "--version", version, "--registry", settings.registry())

    def change(self, *words):
        """Run a command of ``airflow-platform`` on the releases of these tests."""
        kept = ["--repository", self.repository, "--branch", dags.BRANCH, "--folder", f"{dags.SUBFOLDER}/{FOLDER}"]
        return self.program(*words, *kept)

    def program(self, *words):
        """Run ``airflow-platform`` in the clone."""
        docker = ["docker", "run", "--rm", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"]
        docker += ["--volume", f"{self.folder}:{self.folder}", "--workdir", str(self.clone)]
        docker += [word for name in self.environment for word in ("--env", name)]
        command = [*docker, images.build(images.AIRFLOW), "airflow-platform", *words]
        return run(command, log="release", env=self.environment)


@pytest.fixture
def author(tmp_path, found, airflow):
    yield Author(tmp_path, found)
    # A test that failed has left runs, which would keep the next one's versions.
    for one in airflow.call("GET", "dags/~/dagRuns?state=running&state=queued&limit=100")["dag_runs"]:
        if one["dag_id"].startswith(("e2e_release__", "e2e_handover__")):
            airflow.call("PATCH", f"dags/{one['dag_id']}/dagRuns/{one['dag_run_id']}", state="failed")
    # A folder that is pushed replaces the one of its name.
    (tmp_path / "empty" / FOLDER).mkdir(parents=True)
    (tmp_path / "empty" / FOLDER / ".gitkeep").touch()
    dags.push(tmp_path / "empty", "e2e: releases are over")


def test_a_release_leaves_runs_of_the_one_before_as_they_are(airflow, author, kubectl, get):
    author.release("e2e_release", "1.0.0", words="one", image="ticket-extract")
    one = _begin(airflow, get, "e2e_release__1_0_0")
    author.release("e2e_release", "2.0.0", words="two", image="ticket-report")
    two = _begin(airflow, get, "e2e_release__2_0_0")
    # Retired, it begins no run any more; the one that it has goes on.
    author.change("retire", "e2e_release", "1.0.0")
    with pytest.raises(Problem, match=r"400 .*does not allow"):
        airflow.call("POST", "dags/e2e_release__1_0_0/dagRuns", logical_date=None)
    for begun, words, image in ((one, "one", "ticket-extract"), (two, "two", "ticket-report")):
        dag_id, run_id, pod = begun
        kubectl("exec", "-n", settings.TASK_NAMESPACE, pod["metadata"]["name"], "--", "touch", "/tmp/go")
        instances = _ended(airflow, dag_id, run_id)
        assert {name: one["state"] for name, one in instances.items()} == {"first": "success", "second": "success"}
        named = instances["second"]["rendered_fields"]["image"]
        assert re.fullmatch(rf"{image}:[^@]+@sha256:[0-9a-f]{{64}}", named)
        assert pod["status"]["containerStatuses"][0]["imageID"].endswith(named.partition("@")[2])
        log = airflow.log(instances["second"])
        assert any(line.endswith(f"{words}, at {run_id}") for line in log), log
    # What they left is the same, as a log is no output.
    said = author.program("compare", "e2e_release", "1.0.0", "2.0.0", "--runs", one[1], two[1], "--json", "report.json")
    assert "The same: 1 run, 2 tasks" in said
    assert json.loads((author.clone / "report.json").read_text())["right"]["dag_id"] == two[0]
    # Its runs have ended: it need not be parsed any more, until somebody wants it.
    author.change("archive", "e2e_release")
    wait_for("the archived DAG to go", lambda: airflow.dag(one[0]) is None, seconds=60, every=0.5)
    author.change("reinstate", "e2e_release", "1.0.0")
    run_id = airflow.call("POST", f"dags/{one[0]}/dagRuns", logical_date=None)["dag_run_id"]
    airflow.call("PATCH", f"dags/{one[0]}/dagRuns/{run_id}", state="failed")


@pytest.mark.long
def test_the_schedule_goes_from_version_to_version_without_a_gap(airflow, author):
    start = datetime.now(UTC)
    # Versions that no test before has had: Airflow would go on with the runs of theirs.
    one, two = (f"{number}.0.{start:%Y%m%d%H%M%S}" for number in (1, 2))
    for version in (one, two):
        author.release("e2e_handover", version, words=version, start=start.isoformat())
    first, second = (f"e2e_handover__{version.replace('.', '_')}" for version in (one, two))
    # Each waits until Airflow has read it; of a version that goes, what is due until then is still its own.
    for name, words in ((first, ("promote", one)), (second, ("promote", two)), (first, ("rollback",))):
        wait_for(f"DAG {name}", lambda name=name: airflow.dag(name), seconds=60, every=0.5)
        airflow.call("PATCH", f"dags/{name}", is_paused=False)
        command, *version = words
        author.change(command, "e2e_handover", *version, "--margin", "60")
        _wait_for_runs(airflow, name)
    # Both run by hand too, one after the other, on a logical date that the schedule does not have.
    at = (start + timedelta(seconds=2)).isoformat()
    said = author.program("compare", "e2e_handover", one, two, "--logical-date", at)
    assert "The same: 1 run, 1 task" in said
    author.change("retire", "e2e_handover", two)
    runs = {name: _scheduled(airflow, name) for name in (first, second)}
    author.change("retire", "e2e_handover", one, "--margin", "60")
    times = sorted(time for found in runs.values() for time in found)
    assert {later - sooner for sooner, later in pairwise(times)} == {timedelta(seconds=5)}
    who = [first if time in runs[first] else second for time in times]
    assert [name for name, _ in groupby(who)] == [first, second, first]


def _wait_for_runs(airflow, dag_id):
    before = len(_scheduled(airflow, dag_id))
    wait_for(f"runs of {dag_id}", lambda: len(_scheduled(airflow, dag_id)) > before + 1, seconds=120)


def _scheduled(airflow, dag_id):
    """When the runs of the schedule were due."""
    query = "run_type=scheduled&limit=100&order_by=run_after"
    found = airflow.call("GET", f"dags/{dag_id}/dagRuns?{query}")["dag_runs"]
    return [datetime.fromisoformat(one["run_after"].replace("Z", "+00:00")) for one in found]


def _begin(airflow, get, dag_id):
    """A run of the DAG, as soon as it is there: the DAG's id, the run's, and its first pod, which runs."""
    wait_for(f"DAG {dag_id}", lambda: airflow.dag(dag_id), seconds=60, every=0.5)
    # As a label's value has it: a run that a test before has left may have a pod too.
    run_id = f"e2e-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    airflow.call("POST", f"dags/{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None)
    labels = f"dag_id={dag_id},task_id=first,run_id={run_id}"

    def running():
        pods = get("pods", "-n", settings.TASK_NAMESPACE, "-l", labels)["items"]
        return next((pod for pod in pods if pod["status"]["phase"] == "Running"), None)

    return dag_id, run_id, wait_for(f"a pod of {dag_id}", running, seconds=60, every=0.5)


def _ended(airflow, dag_id, run_id):
    """The task instances of a run that has ended, by task id."""
    wait_for(f"the end of {dag_id}", lambda: airflow.run(dag_id, run_id)["state"] in ENDED, seconds=60, every=0.5)
    return {one["task_id"]: one for one in airflow.task_instances(dag_id, run_id)}
