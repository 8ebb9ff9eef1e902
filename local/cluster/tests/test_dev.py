from contextlib import nullcontext

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

    def bring(case, airflow):
        runs.append(case.dag)
        if len(runs) == 1:
            # Saved while the first runs; the second finds that it does not build.
            (repository / "images" / "main.py").write_text("1")
        if len(runs) == 2:
            (repository / "dags" / "team" / "dag" / "dag.py").write_text("2")
            raise Problem("the image does not build", "Mend it.")
        if len(runs) == 3:
            raise KeyboardInterrupt
        return dev._Brought("commit", {})

    monkeypatch.setattr(dev, "_bring", bring)
    for name in ("put_inputs", "start_anew", "run"):
        monkeypatch.setattr(acceptance, name, lambda *_: "r")
    monkeypatch.setattr(acceptance, "unpaused", lambda *_: nullcontext())
    with pytest.raises(KeyboardInterrupt):
        dev.loop("team/dag", {})
    assert runs == ["d", "d", "d"]
    assert "error: the image does not build" in capsys.readouterr().out


def test_a_dag_without_a_toy_input_is_said_before_anything_is_done(repository):
    with pytest.raises(Problem, match="dags/team/other is no folder"):
        dev.loop("team/other", {})


class Airflow:
    """A run with a task of each image."""

    def __init__(self, state="success", **states):
        self.state, self.states = state, states

    def run(self, dag_id, run_id):
        return {"state": self.state}

    def task_instances(self, dag_id, run_id):
        images = {"extract": "a:1.0.0", "train": "registry/b:1.0.0", "score": "b:1.0.0", "report": "c:1.0.0"}
        return [
            {"task_id": task, "state": self.states.get(task, "success"), "rendered_fields": {"image": image}}
            for task, image in images.items()
        ]


BEFORE = dev._Brought("1", {"a": "a:x", "b": "b:x", "c": "c:x"})
B_CHANGED = dev._Brought("1", {"a": "a:x", "b": "b:y", "c": "c:x"})


@pytest.mark.parametrize(
    ("airflow", "before", "now", "tasks"),
    [
        (Airflow(), BEFORE, B_CHANGED, ["score", "train"]),
        (Airflow(), BEFORE, BEFORE, []),
        # What failed before is tried again with what has changed.
        (Airflow("failed", score="failed", report="upstream_failed"), BEFORE, BEFORE, ["report", "score"]),
        # Another DAG, the first run, and one that was left running, run wholly.
        (Airflow(), BEFORE, dev._Brought("2", BEFORE.built), None),
        (Airflow(), None, BEFORE, None),
        (Airflow("running"), BEFORE, B_CHANGED, None),
    ],
)
def test_what_runs_again(tmp_path, airflow, before, now, tasks):
    assert dev._changed(airflow, acceptance.Acceptance(tmp_path, "d"), "r", before, now) == tasks
