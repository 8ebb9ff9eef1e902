"""Logs that could not be uploaded, as S3 was away: they stay on the pod's disk, and a process uploads them later.

`airflow_platform.task_log` moves each into a folder beside them, with a note of where it is to go; `start` begins the
process, in pods that live on: those of the triggerer and of the launcher.
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
#: In a folder of logs. A log's name in it is the time at which it came and, after a dot, a digest of its key.
_FOLDER = ".unsent"
#: The end of the name of a note, which has the log's key; before it is the log's name.
_NOTE = ".key"


def aside(base: Path, log: Path, key: str) -> Path:
    """Move a log, below ``base``, to where it is its own; where that is. Its folder goes if it was the last there.

    The next trigger of a try empties the file that has the path of the one before, and a phase writes on to it.

    Raises:
        OSError: it cannot be moved.
    """
    folder = base / _FOLDER
    folder.mkdir(exist_ok=True)
    moved = log.rename(folder / f"{time.time_ns()}.{_digest(key)}")
    with contextlib.suppress(OSError):
        log.parent.rmdir()
    return moved


def waits(base: Path, key: str) -> bool:
    """Whether a log that was moved aside has yet to go to this key."""
    return any((base / _FOLDER).glob(f"*.{_digest(key)}"))


def keep(log: Path, key: str) -> None:
    """Have a log that was moved aside uploaded later.

    Raises:
        OSError: its note cannot be written.
    """
    # Made under another name: `send` finds all of it or nothing.
    new = log.with_name(f"{log.name}.new")
    new.write_text(key)
    new.replace(log.with_name(f"{log.name}{_NOTE}"))


def send(task_log: TaskLog) -> int:
    """Upload what was kept, the oldest first, until one cannot be; how many are left."""
    notes = sorted((task_log.base_log_folder / _FOLDER).glob(f"*{_NOTE}"))
    for number, note in enumerate(notes):
        log = note.with_suffix("")
        if log.is_file():
            if not task_log.send(log, note.read_text()):
                return len(notes) - number
            log.unlink()
        note.unlink()
    return 0


def _digest(key: str) -> str:
    return hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()


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
