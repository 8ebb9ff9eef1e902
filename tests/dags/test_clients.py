"""A client of the ticket pipeline with an error does not touch the others, and its run says what is wrong."""

import shutil

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_platform.rules import check

OTHERS = {"ticket_sentiment__acme", "ticket_sentiment__globex", "ticket_sentiment__initech"}
WELL = "{start_date: 2026-01-01, catchup: false, depends_on_past: false, batches: 1}"


@pytest.fixture
def changed(repository, tmp_path):
    """Return the pipeline's folder, with another client on its list."""

    def change(line):
        folder = tmp_path / "dags" / "support" / "ticket_sentiment"
        shutil.copytree(repository / "dags", tmp_path / "dags")
        with (folder / "clients.yaml").open("a") as file:
            file.write(f"{line}\n")
        return folder

    return change


def test_adding_a_client_is_one_line(changed):
    bag = DagBag(changed(f"hooli: {WELL}"))
    assert bag.import_errors == {}
    assert set(bag.dags) == {*OTHERS, "ticket_sentiment__hooli"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hooli: {start_date: 2026-01-01}", "client hooli: KeyError: 'batches'"),
        (f"hooli: {WELL.replace('1}', 'two}')}", "client hooli: TypeError: 'str' object cannot be interpreted"),
        (f"hooli: {WELL.replace('2026-01-01', 'January')}", "client hooli: TypeError: combine()"),
        ("hooli: {start_date: ", "this is not YAML"),
    ],
)
def test_a_client_with_an_error_does_not_touch_the_others(changed, line, said):
    folder = changed(line)
    bag = DagBag(folder)
    assert bag.import_errors == {}
    assert set(bag.dags) > OTHERS
    (broken,) = (dag for dag in bag.dags.values() if dag.dag_id not in OTHERS)
    number = len((folder / "clients.yaml").read_text().splitlines())
    assert f"{folder}/clients.yaml:{number}: " in broken.doc_md
    assert said in broken.doc_md
    assert broken.schedule == "@daily"


def test_the_rules_find_it_before_the_push(changed, platform_values):
    (found,) = check(changed("hooli: {}"), platform=platform_values)
    assert (found.file.name, found.rule) == ("clients.yaml", "imports")
    assert found.message.startswith("client hooli: KeyError: ")
