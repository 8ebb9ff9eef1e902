"""Simulated time: it stands still while anything happens, and jumps to the next moment at which something will.

So nothing waits, a pod that runs for two hours is over at once, and a slow machine changes no order of events. Python's
clocks show it (``time.time``, ``datetime.now``, ``time.monotonic``); a ``time.sleep`` of the main thread lets it pass.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from unittest.mock import patch

import time_machine

#: Python's own, for what must end even if nothing happens.
real_time, real_monotonic, _real_sleep = time_machine.escape_hatch.time.time, time.monotonic, time.sleep


class Clock:
    """A context in which time is simulated.

    Args:
        start: what the clocks show at first.
    """

    def __init__(self, start: datetime) -> None:
        self._start = start.timestamp()
        self._base = real_monotonic()
        #: What else is to happen when time passes: called with the new time.
        self.passes: Callable[[float], None] = lambda _: None

    def __enter__(self) -> Clock:
        with ExitStack() as stack:
            self._traveller = stack.enter_context(time_machine.travel(self._start, tick=False))
            stack.enter_context(patch.object(time, "monotonic", self.monotonic))
            stack.enter_context(patch.object(time, "sleep", self._sleep))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    @property
    def date(self) -> datetime:
        """The same as a date, in UTC."""
        return datetime.fromtimestamp(self.now, timezone.utc)

    def monotonic(self) -> float:
        """In place of ``time.monotonic``."""
        return self._base + self.now - self._start

    def pass_until(self, moment: float) -> None:
        """Let time pass; not backwards."""
        if moment > self.now:
            self._traveller.move_to(moment)
        self.passes(self.now)

    def jump(self, moment: datetime) -> None:
        """Show another time, before or after, without what is to happen between."""
        self._traveller.move_to(moment)

    def _sleep(self, seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            self.pass_until(self.now + seconds)
        else:
            _real_sleep(seconds)
