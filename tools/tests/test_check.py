import pytest
from tools import check


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """An engine that builds nothing and runs what it is told; what it was told."""
    told = []
    monkeypatch.setattr(check.engine, "ensure", lambda: None)
    monkeypatch.setattr(check.toolchain, "programs", lambda module: tmp_path)
    monkeypatch.setattr(check.images, "build", lambda image: f"{image.name}:{image.target}")
    monkeypatch.setattr(check, "run", lambda words, **_: told.append(words) or "collected\n2 passed")
    return told


def test_an_image_that_does_not_exist_names_those_that_do(docker, capsys):
    assert check.main(["images", "ticket-extrct"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: no image ticket-extrct has tests\n")
    assert "ticket-extract, " in err
    assert docker == []


def test_an_image_is_linted_and_tested_in_its_test_stage_without_rights(docker, capsys):
    assert check.main(["images", "ticket-extract"]) == 0
    lint, words = docker
    assert lint[1] == check.REPO / "images" / "ticket-extract" / "Dockerfile"
    assert words[-1] == "ticket-extract:test"
    assert {"--read-only", "--cap-drop"} <= set(words)
    assert "2 passed" in capsys.readouterr().out


def test_without_a_name_all_images_are_tested(docker):
    assert check.main(["images"]) == 0
    tested = {words[-1] for words in docker}
    assert {"airflow:test", "ticket-extract:test", "local/git-sync:test", "local/seed:test"} <= tested


def test_dags_are_tested_without_a_network(docker):
    assert check.main(["dags"]) == 0
    (words,) = docker
    assert words[words.index("--network") + 1] == "none"
    assert f"{check.REPO}:/repo:ro" in words
    assert "airflow:test" in words


def test_the_tests_of_one_dag_come_with_the_rules(docker):
    assert check.main(["dags", "ticket_sentiment"]) == 0
    assert docker[0][-2:] == ["airflow_platform.rules", "tests/dags/test_ticket_sentiment.py"]


def test_a_dag_that_has_no_tests_names_those_that_do(docker, capsys):
    assert check.main(["dags", "tickets"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: there is no tests/dags/test_tickets.py\n")
    assert "ticket_sentiment" in err
    assert docker == []


def test_an_unknown_part(capsys):
    with pytest.raises(SystemExit):
        check.main(["imags"])
    assert "chart-docs" in capsys.readouterr().err
