"""Where the lines of a DAG file's process go. How the component starts is tested with the triggerer's."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager
from airflow.dag_processing.processor import DagFileProcessorProcess
from structlog.testing import capture_logs

from airflow_platform import dag_processor


@pytest.fixture
def say(monkeypatch, tmp_path, platform):
    """A DAG file's process has a line to tell, and is killed: what stdout has of it, and how many files there are."""
    for owner, name in (
        (DagFileProcessorManager, "_get_logger_for_dag_file"),
        (DagFileProcessorProcess, "_get_target_loggers"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr("airflow.__main__.main", lambda: None)
    monkeypatch.setattr(dag_processor.gc, "freeze", lambda: None)
    monkeypatch.setattr("sys.argv", ["dag_processor"])
    manager = DagFileProcessorManager(max_runs=1, base_log_dir=str(tmp_path / "logs"))
    manager._dag_bundles = [SimpleNamespace(name="dags")]

    def say(target):
        monkeypatch.setenv("AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET", target)
        dag_processor.main()
        dag_processor.main()
        with capture_logs() as lines:
            log, file = manager._get_logger_for_dag_file(DagFileInfo(Path("team/a.py"), "dags", Path("/dags")))
            process = DagFileProcessorProcess.__new__(DagFileProcessorProcess)
            process.process_log, process.subprocess_logs_to_stdout = log, target == "stdout"
            process.dag_file_rel_path, process.bundle_name = "team/a.py", "dags"
            for one in process._get_target_loggers():
                one.info("told")
            log.critical("killed")
            file.close()
        return lines, [path.read_text().count("\n") for path in tmp_path.rglob("*.log")]

    return say


def test_stdout_has_each_line_once_and_nothing_else_has(say):
    lines, files = say("stdout")
    assert [(line["event"], line["dag_file"]) for line in lines] == [("told", "team/a.py"), ("killed", "team/a.py")]
    assert files == []


def test_files_are_as_airflow_writes_them_where_they_are_asked_for(say):
    assert say("file") == ([], [2])
