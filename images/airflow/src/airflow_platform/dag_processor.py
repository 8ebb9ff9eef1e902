"""The DAG processor: ``python -m airflow_platform.dag_processor``, Airflow's own, which imports first and forks then.

Each DAG file is parsed in a process of its own, and what these spend on imports is most of their time.
"""

from __future__ import annotations

import gc
import sys

from airflow_platform import config, launcher


def main() -> None:
    """Run the DAG processor in this process."""
    launcher.preload(config.load().launcher.preload)
    gc.freeze()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "dag-processor", *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
