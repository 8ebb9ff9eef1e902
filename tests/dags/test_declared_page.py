"""The example of docs/declared-dags.md makes the DAGs that the page says, and keeps to the rules."""

import re

import pytest

from airflow_platform.rules import check


@pytest.fixture
def example(repository, tmp_path):
    """Return a folder with the page's files."""
    page = (repository / "docs" / "declared-dags.md").read_text()
    blocks = dict(re.findall(r"```(python|yaml)\n(.*?)```", page, flags=re.DOTALL)[:2])
    clients = re.search(r"```yaml\n(# clients.yaml\n.*?)```", page, flags=re.DOTALL)[1]
    folder = tmp_path / "dags" / "sales" / "orders"
    folder.mkdir(parents=True)
    (tmp_path / "dags" / "images.yaml").write_text((repository / "dags" / "images.yaml").read_text())
    for name, text in (("dag.py", blocks["python"]), ("dag.yaml", blocks["yaml"]), ("clients.yaml", clients)):
        (folder / name).write_text(text)
    return folder


def test_it_keeps_to_the_rules(example, platform_values):
    assert check(example, platform=platform_values) == []


def test_it_makes_a_dag_a_client(example):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(example)
    assert bag.import_errors == {}
    assert set(bag.dags) == {"orders__acme", "orders__globex", "orders__initech"}
    assert bag.dags["orders__globex"].get_task("extract").pool == "gpu"
    assert bag.dags["orders__acme"].has_on_failure_callback


def test_the_schema_that_it_names_is_there(repository):
    page = (repository / "docs" / "declared-dags.md").read_text()
    path = re.search(r"\$schema=(\S+)", page)[1]
    assert (repository / "dags" / "sales" / "orders" / path).resolve().is_file()
