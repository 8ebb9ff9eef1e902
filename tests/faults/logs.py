"""Numbered lines: what a task printed, against what its log holds, in S3 and as the API shows it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise

from local.cluster import s3

#: As the task prints it, with or without its container; the stock operator adds a word where it was deferred.
NUMBERED = re.compile(r"(?:\[base\] )?(?:logs: )?line (\d+)\s*")
#: An object of a try: of its worker or launcher, of a later phase of these, or of a triggerer that followed its pod.
KEY = re.compile(r".*/map_index=(?P<map_index>\d+)/attempt=(?P<attempt>\d+)\.log(\.(trigger|phase)\.\w+\.log)?")
_FIRST = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Line:
    """A line of a log, and when it was written."""

    time: datetime
    text: str


@dataclass(frozen=True)
class Completeness:
    """Lines of one task that are not in its log, that are there more than once, or after a later one."""

    missing: int
    twice: int
    disordered: int

    def __bool__(self) -> bool:
        """Whether each line is there once and in order."""
        return not (self.missing or self.twice or self.disordered)


def completeness(texts: Iterable[str], printed: int) -> Completeness:
    """How the numbered lines among ``texts`` differ from ``line 1`` to ``line <printed>``."""
    there = numbers(texts)
    distinct = set(there)
    return Completeness(
        missing=len(set(range(1, printed + 1)) - distinct),
        twice=len(there) - len(distinct),
        disordered=sum(later < earlier for earlier, later in pairwise(there)),
    )


def numbers(texts: Iterable[str]) -> list[int]:
    """Those of the numbered lines among ``texts``, in their order."""
    return [int(found[1]) for text in texts if (found := NUMBERED.fullmatch(text))]


def stored(access: dict, dag_id: str, run_id: str) -> dict[tuple[int, int], list[Line]]:
    """What stands in S3 of a run: {(map index, try): lines of all its objects, by time}."""
    client = s3.client(access, attempts=4)
    bucket = access["s3"]["bucket"]
    found: dict[tuple[int, int], list[Line]] = defaultdict(list)
    prefix = f"dag_id={dag_id}/run_id={run_id}/"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if key := KEY.fullmatch(item["Key"]):
                body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode("utf-8", "replace")
                found[int(key["map_index"]), int(key["attempt"])] += lines(body)
    return {key: sorted(every, key=lambda line: line.time) for key, every in found.items()}


def lines(body: str) -> list[Line]:
    """The lines of one object: JSON each; what is none has the time of the line before."""
    found: list[Line] = []
    for raw in body.splitlines():
        last = found[-1].time if found else _FIRST
        try:
            record = json.loads(raw)
            found.append(Line(_time(record["timestamp"]), record["event"]))
        except (ValueError, KeyError, TypeError):
            found.append(Line(last, raw))
    return found


def _time(text: str) -> datetime:
    # Python reads six digits of a second at most.
    found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
