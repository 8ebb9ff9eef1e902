import contextlib
from datetime import datetime, timezone

import pytest
from local.cluster import acceptance, postgres, settings
from local.cluster.console import Problem

DATE = datetime(2026, 2, 10, tzinfo=timezone.utc)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository with one DAG, whose acceptance.yaml a test writes."""
    monkeypatch.setattr(settings, "REPO", tmp_path)
    found = tmp_path / "dags" / "team" / "dag" / "acceptance"
    found.mkdir(parents=True)
    return found


def test_what_the_folder_says(folder):
    (folder / "acceptance.yaml").write_text("{dag: d, logical_date: 2026-02-10T00:00:00Z, params: {a: 1}, ignore: [x]}")
    case = acceptance.read("team/dag")
    assert (case.dag, case.logical_date, case.params, case.ignore) == ("d", DATE, {"a": 1}, ("x",))
    assert (case.expected, case.source) == (folder / "expected", folder.parent)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dga: d", "dga is not known"),
        ("params: {}", "names no dag"),
        ("- d", "holds no keys"),
        ("dag: [", "acceptance.yaml: "),
        ("{dag: d, params: 3}", "params is 3"),
        ("{dag: d, timeout: true}", "timeout is True"),
        ("{dag: d, ignore: x}", "ignore is 'x'"),
        ("{dag: d, logical_date: 2026-02-10}", "logical_date is "),
        ("{dag: d, logical_date: 2026-02-10T00:00:00}", "has no offset from UTC"),
    ],
)
def test_a_wrong_file_is_said(folder, text, said):
    (folder / "acceptance.yaml").write_text(text)
    with pytest.raises(Problem, match=said):
        acceptance.read("team/dag")


def test_a_dag_without_the_folder_is_told_which_have_one(folder):
    with pytest.raises(Problem, match="there is no dags/team/dag/acceptance/acceptance.yaml"):
        acceptance.read("team/dag")
    (folder / "acceptance.yaml").write_text("dag: d")
    with pytest.raises(Problem, match="with an acceptance folder: team/dag"):
        acceptance.read("team/other")
    with pytest.raises(Problem, match="is no folder"):
        acceptance.read("../dags/team/dag")


class Airflow:
    """What is asked of the API, with the runs that there are."""

    paused = False

    def __init__(self, **states):
        self.states, self.asked = states, []

    def call(self, method, path, **body):
        self.asked.append((method, path, body))
        if "logical_date" in path:
            return {"dag_runs": [{"dag_run_id": name.replace("_", "-")} for name in self.states]}
        return {"state": self.states.get(path.rpartition("/")[2].replace("-", "_")), "is_paused": self.paused}


@pytest.mark.parametrize("paused", [True, False])
def test_a_dag_that_was_paused_is_paused_again_after_its_run(folder, paused):
    airflow = Airflow()
    airflow.paused = paused
    with contextlib.suppress(KeyboardInterrupt), acceptance.unpaused(acceptance.Acceptance(folder, "d"), airflow):
        assert airflow.asked[-1] == ("PATCH", "dags/d", {"is_paused": False})
        raise KeyboardInterrupt
    assert airflow.asked[2:] == ([("PATCH", "dags/d", {"is_paused": True})] if paused else [])


def test_an_earlier_run_of_the_date_makes_room(folder):
    case = acceptance.Acceptance(folder, "d", DATE)
    airflow = Airflow(acceptance_1="success", acceptance_2="running")
    assert acceptance.start_anew(case, airflow).startswith("acceptance-")
    done = [(method, path.rpartition("/")[2], body) for method, path, body in airflow.asked if method != "GET"]
    assert done == [
        ("DELETE", "acceptance-1", {}),
        ("PATCH", "acceptance-2", {"state": "failed"}),
        ("DELETE", "acceptance-2", {}),
    ]


def test_a_run_of_somebody_else_is_left_alone(folder):
    airflow = Airflow(scheduled_1="success")
    with pytest.raises(Problem, match="DAG d has run scheduled-1 of 2026-02-10T00:00:00Z"):
        acceptance.start_anew(acceptance.Acceptance(folder, "d", DATE), airflow)
    assert not any(method == "DELETE" for method, _, _ in airflow.asked)


def test_rows_replace_those_of_the_same_key(folder, monkeypatch):
    said = []
    monkeypatch.setattr(postgres, "query", lambda *words: said.append(words))
    path = folder / "tables" / "tickets" / "acme.tickets.csv"
    path.parent.mkdir(parents=True)
    path.write_text('id,body\n1,"two\nlines"\n')
    acceptance.put_inputs(acceptance.Acceptance(folder, "d"), {"s3": dict.fromkeys(("endpoint", "key", "secret"))})
    ((script, database),) = said
    assert database == "tickets"
    assert 'COPY input ("id", "body") FROM STDIN' in script
    assert '1,"two\nlines"\n\\.\n' in script
    assert 'DELETE FROM acme.tickets USING input WHERE acme.tickets."id" = input."id";' in script


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [("tickets.csv", "id\n", "is no table"), ("a.b; DROP.csv", "id\n", "is no table"), ("a.b.csv", "", "is empty")],
)
def test_a_table_that_is_none(folder, monkeypatch, name, text, said):
    monkeypatch.setattr(postgres, "query", lambda *words: pytest.fail("nothing is to be done"))
    path = folder / "tables" / "tickets" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(Problem, match=said):
        acceptance.put_inputs(acceptance.Acceptance(folder, "d"), {"s3": dict.fromkeys(("endpoint", "key", "secret"))})
