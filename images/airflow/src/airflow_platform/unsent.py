"""Logs that could not be uploaded, as S3 was away: they stay on the pod's disk, and a process uploads them later.

`airflow_platform.task_log` leaves a note for each, in a folder beside them; `start` begins the process, in pods that
live on: those of the triggerer and of the launcher.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_platform.task_log import TaskLog

#: Seconds between two looks.
PERIOD = 10
_NOTES = ".unsent"


def keep(base: Path, log: Path) -> None:
    """Note a log, below ``base``, that is to be uploaded."""
    name = log.relative_to(base).as_posix()
    notes = base / _NOTES
    notes.mkdir(exist_ok=True)
    (notes / hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()).write_text(name)


def send(task_log: TaskLog) -> int:
    """Upload what is noted, until one cannot be; how many are left."""
    notes = sorted((task_log.base_log_folder / _NOTES).glob("*"), key=lambda note: note.stat().st_mtime)
    for number, note in enumerate(notes):
        log = task_log.base_log_folder / note.read_text()
        if log.is_file():
            if not task_log.send(log):
                return len(notes) - number
            task_log.remove(log)
        note.unlink()
    return 0


def start() -> None:
    """Begin to look for such logs, in a process that ends with this one; nothing where logs are not uploaded at all."""
    from airflow.providers.common.compat.sdk import conf

    if conf.getboolean("logging", "remote_logging"):
        multiprocessing.get_context("fork").Process(target=_run, args=(os.getpid(),), daemon=True).start()


def _run(parent: int) -> None:
    from airflow.sdk.observability import stats

    from airflow_platform import metrics
    from airflow_platform.task_log import REMOTE_TASK_LOG

    metrics.initialize()
    # A counter that is born with its first failure shows no increase.
    stats.incr(metrics.UPLOADS_FAILED, 0)
    # Of the process that this is a fork of.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while os.getppid() == parent:
        # A note may be another process's, and gone by now.
        with contextlib.suppress(FileNotFoundError):
            stats.gauge(metrics.UNSENT, send(REMOTE_TASK_LOG), tags={"pod": metrics.pod()})
        time.sleep(PERIOD)
