"""Two releases of a DAG beside each other: a new one leaves what runs of the one before as it is."""

import os
import re
import shutil
from pathlib import Path

import pytest
from local.cluster import access, dags, images, registry, settings
from local.cluster.airflow import ENDED
from local.cluster.console import Problem, run, wait_for

FOLDER = "e2e_releases"
#: Variables of ``airflow-platform``, and what of access.json they have.
API = {"URL": "ui", "USER": "user", "PASSWORD": "password"}
SOURCE = Path(__file__).parent / "releases" / "e2e_release"


class Author:
    """Releases the DAG, in a clone of its repository, by the program of the Airflow image."""

    def __init__(self, folder, found):
        self.folder, self.clone = folder, folder / "clone"
        self.dag = self.clone / "dags" / "e2e" / "e2e_release"
        shutil.copytree(SOURCE, self.dag)
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

    def release(self, version, words, image):
        """With these words and this image."""
        (self.dag / "words.py").write_text(f"WORDS = {words!r}\nIMAGE = {image!r}\n")
        run(["git", "add", "--all"], log="git", cwd=self.clone)
        run(["git", "commit", "--quiet", "--message", version], log="git", cwd=self.clone, env=self.environment)
        self.program("release", "dags/e2e/e2e_release", "--version", version, "--registry", settings.registry())

    def program(self, *words):
        """Run ``airflow-platform``, where the releases of these tests are kept."""
        kept = ["--repository", self.repository, "--branch", dags.BRANCH, "--folder", f"{dags.SUBFOLDER}/{FOLDER}"]
        docker = ["docker", "run", "--rm", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"]
        docker += ["--volume", f"{self.folder}:{self.folder}", "--workdir", str(self.clone)]
        docker += [word for name in self.environment for word in ("--env", name)]
        command = [*docker, images.build(images.AIRFLOW), "airflow-platform", *words, *kept]
        return run(command, log="release", env=self.environment)


@pytest.fixture
def author(tmp_path, found):
    yield Author(tmp_path, found)
    # A folder that is pushed replaces the one of its name.
    (tmp_path / "empty" / FOLDER).mkdir(parents=True)
    (tmp_path / "empty" / FOLDER / ".gitkeep").touch()
    dags.push(tmp_path / "empty", "e2e: releases are over")


def test_a_release_leaves_runs_of_the_one_before_as_they_are(airflow, author, kubectl, get):
    author.release("1.0.0", "one", "ticket-extract")
    one = _begin(airflow, get, "e2e_release__1_0_0")
    author.release("2.0.0", "two", "ticket-report")
    two = _begin(airflow, get, "e2e_release__2_0_0")
    # Retired, it begins no run any more; the one that it has goes on.
    author.program("retire", "e2e_release", "1.0.0")
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


def _begin(airflow, get, dag_id):
    """A run of the DAG, as soon as it is there: the DAG's id, the run's, and its first pod, which runs."""
    wait_for(f"DAG {dag_id}", lambda: airflow.dag(dag_id), seconds=60, every=0.5)
    run_id = airflow.call("POST", f"dags/{dag_id}/dagRuns", logical_date=None)["dag_run_id"]

    def running():
        pods = get("pods", "-n", settings.TASK_NAMESPACE, "-l", f"dag_id={dag_id},task_id=first")["items"]
        return next((pod for pod in pods if pod["status"]["phase"] == "Running"), None)

    return dag_id, run_id, wait_for(f"a pod of {dag_id}", running, seconds=60, every=0.5)


def _ended(airflow, dag_id, run_id):
    """The task instances of a run that has ended, by task id."""
    wait_for(f"the end of {dag_id}", lambda: airflow.run(dag_id, run_id)["state"] in ENDED, seconds=60, every=0.5)
    return {one["task_id"]: one for one in airflow.task_instances(dag_id, run_id)}
