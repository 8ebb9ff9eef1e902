"""The canary: how long each stage takes from a commit to the log of its task in S3, measured by a DAG on that path.

`dags/platform/canary/dag.py` is the DAG. Its file is of the DAGs' repository, so each commit makes a new version of
it. Its task `pod` prints the time; its task `measure`, a phase of the launcher, reads what that has left behind.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import time
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from airflow.sdk.observability import stats

from airflow_platform import config, metrics

log = logging.getLogger(__name__)

#: The command of the task `pod`, for an image with Python.
COMMAND = ["python3", "-c", "import time; print(f'canary {time.time():.3f}', flush=True)"]
_PRINTED = re.compile(r"canary (\d+\.\d+)")
#: The log of a try, in the name of an object; a try has one for each process that wrote to it.
_TRY = re.compile(r"/attempt=(\d+)\.log")

#: The stages, in their order: those of the commit, and those of a run, which each begin where the one before ends.
STAGES = {
    "synced": "from the commit to the folder of DAGs that the task runs from",
    "parsed": "from the commit to the version of the DAG in the database",
    "scheduled": "from when the run was due to its start",
    "launched": "from there to the launcher's first word in the task's log",
    "started": "from there to the first word of the task's container",
    "logged": "from there to the task's log in S3",
}

#: Seconds for which the log of a task that has ended is waited for.
_PATIENCE = 60


class Log(NamedTuple):
    """What S3 has of a task's log: its lines, and when the last of it came, in seconds since the epoch."""

    lines: list[str]
    uploaded: float


class NotMeasured(Exception):
    """A stage left nothing behind by which it could be measured; the message says which, and what to look at."""


def executor() -> str | None:
    """Where the task `measure` runs: in the launcher, where there is one."""
    return None if config.load().launcher.kind == "none" else "launcher"


def commit(file: Path) -> dict[str, Any] | None:
    """The commit that a DAG's file is of: its ``id``, and when it was ``committed``, and ``synced`` by git-sync.

    None where the file is not in git-sync's folder: in an image, or on a developer's machine.
    """
    link = next((one for one in file.absolute().parents if one.is_symlink()), None)
    if link is None:
        return None
    # git-sync's user owns the folder.
    words = ["git", "-c", "safe.directory=*", "-C", str(file.resolve().parent), "log", "-1", "--format=%H %ct"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("The commit of %s cannot be told: %s", file, error)
        return None
    return {"id": said[0], "committed": float(said[1]), "synced": link.lstat().st_mtime}


def measure(commit: dict[str, Any] | None, of: str, **context: Any) -> dict[str, float]:
    """Send how long each stage took that the run of this context has gone through; in seconds, by stage.

    Args:
        commit: what `commit` has said.
        of: the id of the task whose log is looked for.

    Raises:
        NotMeasured: its log is not in S3, or lacks what has to be there.
    """
    instance, run = context["ti"], context["dag_run"]
    found = _stored_log(f"dag_id={instance.dag_id}/run_id={instance.run_id}/task_id={of}/")
    launched, began = _times(found.lines)
    took = {
        "scheduled": run.start_date.timestamp() - run.run_after.timestamp(),
        "launched": launched - run.start_date.timestamp(),
        "started": began - launched,
        # S3 tells the time of an object in whole seconds.
        "logged": found.uploaded - began,
    }
    if commit:
        # The id of a version is an UUID of version 7, which begins with the milliseconds since the epoch (RFC 9562).
        parsed = (uuid.UUID(str(instance.dag_version_id)).int >> 80) / 1000
        took["synced"] = commit["synced"] - commit["committed"]
        took["parsed"] = parsed - commit["committed"]
    # Clocks of two nodes may differ a little.
    took = {stage: round(max(took[stage], 0.0), 3) for stage in STAGES if stage in took}
    for stage, seconds in took.items():
        stats.gauge(metrics.CANARY_STAGE, seconds, tags={"stage": stage})
        log.info("%s: %.1f s, %s", stage, seconds, STAGES[stage])
    return took


def _times(lines: Iterable[str]) -> tuple[float, float]:
    """When the launcher wrote its first line, and when the container printed the time."""
    written, printed = [], []
    for line in lines:
        try:
            entry = json.loads(line)
            written.append(datetime.fromisoformat(entry["timestamp"]).timestamp())
            printed += _PRINTED.findall(entry["event"])
        except (ValueError, KeyError, TypeError):
            continue
    if not printed:
        raise NotMeasured("No line of the log has the time that the pod printed: was the log of the pod streamed?")
    return min(written), float(printed[0])


def _of_last_try(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tries = [(int(found[1]), one) for one in objects if (found := _TRY.search(one["Key"]))]
    last = max((number for number, _ in tries), default=0)
    return [one for number, one in tries if number == last]


def _stored_log(prefix: str) -> Log:
    """The log of the last try below a prefix of the logs' folder in S3, once all that was written of it is there."""
    from airflow_platform.task_log import REMOTE_TASK_LOG

    bucket, folder = REMOTE_TASK_LOG.hook.parse_s3_url(REMOTE_TASK_LOG.remote_base)
    where = f"{folder.rstrip('/')}/{prefix}".lstrip("/")
    client = REMOTE_TASK_LOG.hook.get_conn()
    end = time.monotonic() + _PATIENCE
    while True:
        listed = client.list_objects_v2(Bucket=bucket, Prefix=where).get("Contents", [])
        logs = _of_last_try(listed)
        lines = [
            line
            for one in logs
            for line in client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read().decode().splitlines()
        ]
        if any(_PRINTED.search(line) for line in lines):
            return Log(lines, max(one["LastModified"].timestamp() for one in logs))
        if time.monotonic() > end:
            raise NotMeasured(
                f"The log of the task is not at s3://{bucket}/{where} {_PATIENCE} s after the task has ended: look for "
                "uploads that failed in the logs of triggerer and launcher."
            )
        time.sleep(1)
