"""What tasks wait for, and how late the triggerer is, as metrics."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from airflow.sdk.observability import stats

from airflow_platform import metrics

log = logging.getLogger(__name__)

#: Seconds between two reports, and between two looks at the loop's clock.
_PERIOD, _LOOK = 15.0, 0.5

#: The cause for which each trigger waits.
_causes: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_reporter: asyncio.Task | None = None


def note(trigger: Any, cause: str | None) -> None:
    """Note what the task of a trigger waits for; None: for nothing but its own work."""
    if cause:
        _causes[trigger] = cause
    else:
        _causes.pop(trigger, None)


@contextlib.contextmanager
def noted(trigger: Any, cause: str | None = None) -> Iterator[None]:
    """Note it for as long as this lasts, whatever it ends by."""
    note(trigger, cause)
    try:
        yield
    finally:
        note(trigger, None)


def start() -> None:
    """Begin to report, in the event loop that runs; a second call changes nothing."""
    global _reporter
    if _reporter is None or _reporter.done():
        # In a context of its own: what it logs belongs to no single task of Airflow.
        _reporter = asyncio.get_running_loop().create_task(
            _report_always(), name="report of what waits", context=contextvars.Context()
        )


async def _report_always() -> None:
    said: set[str] = set()
    while True:
        lag = await _lag(_PERIOD)
        try:
            said = _report(said, lag)
        except Exception:
            log.exception("What tasks wait for could not be reported")


async def _lag(seconds: float) -> float:
    """The most that the loop was late within so many seconds."""
    worst, end = 0.0, time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        await asyncio.sleep(_LOOK)
        worst = max(worst, time.monotonic() - now - _LOOK)
    return worst


def _report(said: set[str], lag: float) -> set[str]:
    """Send the metrics; causes of which the last report had some are 0 now, where none is left."""
    stats.gauge(metrics.LOOP_LAG, round(lag, 3), tags={"pod": metrics.pod()})
    counted = Counter(_causes.values())
    for cause in counted.keys() | said:
        stats.gauge(metrics.WAITING, counted[cause], tags={"cause": cause, "pod": metrics.pod()})
    return set(counted)
