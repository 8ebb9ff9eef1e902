"""The DAG processor: ``python -m airflow_platform.dag_processor``, Airflow's own, which imports first and forks then.

Each DAG file is parsed in a process of its own, and what these spend on imports is most of their time.
"""

from __future__ import annotations

import gc
import io
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_platform import config, launcher

if TYPE_CHECKING:
    from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager


def log_to_stdout() -> None:
    """Where lines of a DAG file go to stdout, have all go there, and to no file; a second call changes nothing.

    Airflow writes each to a file of that DAG file and that day too, and deletes none (airflow.dag_processing.manager,
    ``_get_logger_for_dag_file``); that a process was killed, as for its memory, it writes to that file alone.
    """
    from airflow.configuration import conf
    from airflow.dag_processing.manager import DagFileProcessorManager
    from airflow.dag_processing.processor import DagFileProcessorProcess

    if conf.get("logging", "dag_processor_log_target") == "stdout":
        DagFileProcessorManager._get_logger_for_dag_file = _stdout
        DagFileProcessorProcess._get_target_loggers = lambda process: (process.process_log,)


def _stdout(manager: DagFileProcessorManager, dag_file: DagFileInfo) -> tuple[Any, BinaryIO]:
    from airflow.sdk.execution_time.supervisor import log

    # What is returned beside it is closed at the end of the process, and nothing else.
    return log.bind(dag_file=str(dag_file.rel_path), bundle_name=dag_file.bundle_name), io.BytesIO()


def main() -> None:
    """Run the DAG processor in this process."""
    launcher.preload(config.load().launcher.preload)
    log_to_stdout()
    gc.freeze()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "dag-processor", *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
