"""What every DAG and every task of this repository keeps to."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

# task ids (dag_id.task_id) that may go without a retry, each with its reason.
NO_RETRY: dict[str, str] = {}

IMAGE = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._/-]*):(?P<version>\d+\.\d+\.\d+)$")


def value(task, name):
    """Return a setting of a task, mapped or not."""
    return task.partial_kwargs.get(name) if task.is_mapped else getattr(task, name, None)


def test_there_are_dags(dagbag):
    assert dagbag.dags


def test_every_dag_file_imports(dagbag):
    assert dagbag.import_errors == {}


def test_no_dag_file_reaches_out_while_it_is_imported(pytestconfig):
    assert pytestconfig.import_tries == []


def test_dag_ids_are_unique(pytestconfig):
    assert [dag_id for dag_id, n in Counter(pytestconfig.found_dags).items() if n > 1] == []


def test_dag_has_tags_and_documentation(dag):
    assert dag.tags
    assert (dag.doc_md or "").strip()


def test_dag_has_a_start(dag):
    assert dag.start_date is not None


def test_dag_says_whether_it_catches_up(dag):
    """The default is a setting of the deployment; a DAG does not leave it to that."""
    tree = ast.parse(Path(dag.fileloc).read_text())
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "").lower() == "dag"]
    assert calls
    assert all("catchup" in {keyword.arg for keyword in call.keywords} for call in calls)


def test_task_has_an_owner(task):
    assert task.owner not in ("", "airflow", None)


def test_task_retries(task):
    if f"{task.dag.dag_id}.{task.task_id}" not in NO_RETRY:
        assert task.retries >= 1


def test_task_names_a_known_pool(task, known_pools):
    assert task.pool in known_pools


def test_task_has_a_time_limit(task):
    assert task.execution_timeout is not None


def test_task_runs_a_pinned_image_of_the_catalogue(task, catalogue):
    image = value(task, "image")
    if image is None:
        pytest.skip("not a task that runs an image")
    pinned = IMAGE.match(image)
    assert pinned, f"{image} is not <name>:<major>.<minor>.<patch>"
    assert catalogue.get(pinned["name"]) == pinned["version"], f"{image} is not in dags/images.yaml"


def test_task_says_its_resources(task):
    if value(task, "image") is None:
        pytest.skip("not a task that runs an image")
    resources = value(task, "container_resources")
    assert {"cpu", "memory"} <= set(resources.requests)
    assert "memory" in resources.limits


def test_the_catalogue_has_the_versions_of_the_image_folders(catalogue, repository):
    # The Airflow image has no VERSION: no task runs it.
    versions = {file.parent.name: file.read_text().strip() for file in (repository / "images").glob("*/VERSION")}
    assert catalogue == {name: version for name, version in versions.items() if name != "airflow"}
