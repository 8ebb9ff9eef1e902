"""Two releases of a DAG beside each other: a new one leaves what runs of the one before as it is."""

import os
import re
import shutil
from pathlib import Path

import pytest
from local.cluster import access, dags, images, registry, settings
from local.cluster.airflow import ENDED
from local.cluster.console import run, wait_for

FOLDER = "e2e_releases"
SOURCE = Path(__file__).parent / "releases" / "e2e_release"


@pytest.fixture
def release(tmp_path):
    """Releases the DAG with these words and this image, as an author would, by the Airflow image."""
    clone = tmp_path / "clone"
    folder = clone / "dags" / "e2e" / "e2e_release"
    shutil.copytree(SOURCE, folder)
    shutil.copy(settings.REPO / "dags" / "images.yaml", clone / "dags")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(registry.docker_config())
    repository, environment = dags.remote(access.git())
    environment |= {f"GIT_{role}_{what}": "e2e" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment |= {"HOME": "/tmp", "AIRFLOW_HOME": "/tmp/airflow", "DOCKER_CONFIG": str(tmp_path / "docker")}
    run(["git", "init", "--quiet"], log="git", cwd=clone)

    def release(version, words, image):
        (folder / "words.py").write_text(f"WORDS = {words!r}\nIMAGE = {image!r}\n")
        run(["git", "add", "--all"], log="git", cwd=clone)
        run(["git", "commit", "--quiet", "--message", version], log="git", cwd=clone, env=environment)
        command = ["airflow-platform", "release", "dags/e2e/e2e_release", "--version", version]
        command += ["--repository", repository, "--branch", dags.BRANCH, "--folder", f"{dags.SUBFOLDER}/{FOLDER}"]
        command += ["--registry", settings.registry()]
        docker = ["docker", "run", "--rm", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"]
        docker += ["--volume", f"{tmp_path}:{tmp_path}", "--workdir", str(clone)]
        for name in environment:
            docker += ["--env", name]
        run([*docker, images.build(images.AIRFLOW), *command], log="release", env=environment)

    yield release
    # A folder that is pushed replaces the one of its name.
    shutil.rmtree(tmp_path / "empty", ignore_errors=True)
    (tmp_path / "empty" / FOLDER).mkdir(parents=True)
    (tmp_path / "empty" / FOLDER / ".gitkeep").touch()
    dags.push(tmp_path / "empty", "e2e: releases are over")


def test_a_release_leaves_runs_of_the_one_before_as_they_are(airflow, release, kubectl, get):
    release("1.0.0", "one", "ticket-extract")
    one = _begin(airflow, get, "e2e_release__1_0_0")
    release("2.0.0", "two", "ticket-report")
    two = _begin(airflow, get, "e2e_release__2_0_0")
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
