"""The lines of a try's log, each once, though the log is read again and again while it grows.

A log is put together from what launcher, triggerers and worker have written, in S3 and on their disks. So a line may
turn up before one that was there already; how many lines have been shown does not say which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_platform.terminal import plain

#: What the reader of logs says where a log will be there in a moment (`airflow_platform.task_log`).
_UNDER_WAY = "The log of this try is being uploaded to "

#: Where a log was found, which Airflow says before its first line.
_SOURCES, _GROUP, _GROUP_END = "::group::Log message source details", "::group::", "::endgroup::"


class TryLog:
    """What has been shown of a log."""

    def __init__(self) -> None:
        self._shown: Counter[tuple[str | None, str]] = Counter()

    @property
    def has_any(self) -> bool:
        """Whether there was a line yet."""
        return bool(self._shown)

    def unseen(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        """The lines of the log, as it is now, that were not among those of an earlier call, in their order."""
        there: Counter[tuple[str | None, str]] = Counter()
        lines: list[str] = []
        for record in _of_the_try(records):
            key = (record.get("timestamp"), record["event"])
            there[key] += 1
            if there[key] > self._shown[key]:
                lines += _lines(record)
        self._shown |= there
        return lines


def _of_the_try(records: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    about_sources = False
    for record in records:
        event = record["event"]
        if event.startswith(_SOURCES):
            about_sources = True
        elif event.startswith(_GROUP_END):
            about_sources = False
        elif not (about_sources or event.startswith((_GROUP, _UNDER_WAY))):
            yield record


def _lines(record: Mapping[str, Any]) -> list[str]:
    text = [*record["event"].split("\n"), *_traceback(record.get("error_detail"))]
    return [plain(line) for line in text]


def _traceback(errors: Any) -> Iterator[str]:
    """An exception as Python prints it, the cause first; structlog keeps the cause last."""
    for error in reversed(errors if isinstance(errors, list) else []):
        for frame in error.get("frames") or ():
            yield f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
        yield f"{error.get('exc_type')}: {error.get('exc_value')}"
