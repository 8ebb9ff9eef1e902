"""A task's log as the API gives it to whoever looks, less what its program printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote

from botocore.exceptions import ClientError
from local.cluster import s3
from local.cluster.airflow import Airflow

#: Characters of what a person reads as one line.
LONGEST = 2000
#: Where a pod begins that is printed as a Python object, of thousands of characters: as the stock operator ends.
_OBJECT = re.compile(r"(?:remote_pod: ?)?\{'api_version'")
#: What the task's containers themselves print.
_PROGRAM = re.compile(r"\[(base|prepare|proxy)\]")
#: In such an object: of which task it is, which is no fault of it.
_OWN = re.compile(r"'(?:dag_id|task_id|run_id)': '[^']*'")


@dataclass(frozen=True)
class Line:
    """A line of a log, and when it was written, in seconds since the epoch.

    ``plain``: a person reads it as a line; else it is a pod that is printed as an object, or as long as that.
    """

    time: float
    level: str
    text: str
    plain: bool = True


def read(airflow: Airflow, instance: dict) -> list[Line]:
    """The log of a task instance's last try, without what its program printed; of an exception, the whole message."""
    path = f"dags/{instance['dag_id']}/dagRuns/{quote(instance['dag_run_id'], safe='')}"
    path += f"/taskInstances/{instance['task_id']}/logs/{instance['try_number']}?full_content=true"
    return lines(airflow.call("GET", path)["content"])


def lines(content: Iterable[object]) -> list[Line]:
    """Of the API's answer, in the order of time."""
    found = []
    for one in content:
        if not isinstance(one, dict) or one["event"].startswith(("::group::", "::endgroup::")):
            continue
        when, level = _time(one.get("timestamp")), one.get("level") or "info"
        texts = [one["event"], *(str(error.get("exc_value")) for error in one.get("error_detail") or [])]
        found += [line for text in texts if not _PROGRAM.match(text) for line in _lines(when, level, text)]
    return sorted(found, key=lambda line: line.time)


def evidence(access: dict, instance: dict) -> dict | None:
    """What the platform has saved of a try that failed; None where there is nothing."""
    key = f"dag_id={instance['dag_id']}/run_id={instance['dag_run_id']}/task_id={instance['task_id']}"
    key += f"/attempt={instance['try_number']}.evidence.json"
    try:
        return json.loads(s3.client(access).get_object(Bucket=access["s3"]["bucket"], Key=key)["Body"].read())
    except ClientError:
        return None


def _lines(when: float, level: str, text: str) -> list[Line]:
    """A text's lines, and where there is one, the object in it as one more."""
    plain = [line.strip() for line in _OBJECT.split(text)[0].splitlines()]
    lines = [Line(when, level, line, len(line) <= LONGEST) for line in plain if line]
    if found := _OBJECT.search(text):
        lines.append(Line(when, level, _OWN.sub("", text[found.start() :]), False))
    return lines


def _time(text: str | None) -> float:
    if not text:
        return 0.0
    # Python reads six digits of a second at most.
    found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
