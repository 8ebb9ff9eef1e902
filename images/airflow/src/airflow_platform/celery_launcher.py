"""The launcher as Celery workers: the executor of the scheduler, and ``python -m airflow_platform.celery_launcher``.

The worker imports what task phases need, and its prefork pool then has it in every process: see
`airflow_platform.launcher`.
"""

from __future__ import annotations

import sys

from airflow.providers.celery.executors.celery_executor import CeleryExecutor

from airflow_platform import config, launcher


class CeleryLauncher(CeleryExecutor):
    """Airflow's CeleryExecutor.

    It needs no counting of phases, as `airflow_platform.launcher.LocalLauncher` does: it asks for the result of a key's
    last phase alone, and knows which keys it holds.
    """

    def start(self) -> None:
        """Have the scheduler count deferred tasks."""
        from airflow_platform import limits

        limits.count_deferred()
        super().start()


def main() -> None:
    """Import first, then run Airflow's Celery worker in this process."""
    platform = config.load().launcher
    launcher.preload(platform.preload)
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "celery", "worker", "--concurrency", str(platform.slots), *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
