import pytest
from local.cluster import acceptance, dev, settings
from local.cluster.console import Problem


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """One with a DAG that has a toy input."""
    monkeypatch.setattr(settings, "REPO", tmp_path)
    folder = tmp_path / "dags" / "team" / "dag" / "acceptance"
    folder.mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (folder / "acceptance.yaml").write_text("dag: d")
    return tmp_path


def test_each_save_is_a_run_also_one_that_came_while_another_ran(repository, monkeypatch, capsys):
    runs = []

    def bring(case, airflow, access):
        runs.append(case.dag)
        if len(runs) == 1:
            # Saved while the first runs; the second finds that it does not build.
            (repository / "images" / "main.py").write_text("1")
        if len(runs) == 2:
            (repository / "dags" / "team" / "dag" / "dag.py").write_text("2")
            raise Problem("the image does not build", "Mend it.")
        if len(runs) == 3:
            raise KeyboardInterrupt
        return "r"

    monkeypatch.setattr(dev, "_bring", bring)
    monkeypatch.setattr(acceptance, "run", lambda case, access, run_id: 0)
    with pytest.raises(KeyboardInterrupt):
        dev.loop("team/dag", {})
    assert runs == ["d", "d", "d"]
    assert "error: the image does not build" in capsys.readouterr().out


def test_a_dag_without_a_toy_input_is_said_before_anything_is_done(repository):
    with pytest.raises(Problem, match="dags/team/other is no folder"):
        dev.loop("team/other", {})
