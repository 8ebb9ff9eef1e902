"""A run as it goes on: a line for each change of a task's state, and the lines that the tasks print."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from airflow_platform.client import ClientError
from airflow_platform.dag_run import ENDED, DagRun
from airflow_platform.run.task_log import TryLog

#: Seconds between two looks.
_EVERY = 2.0

#: The most of the time that is spent on reading one log again: a long one is read less often.
_SHARE = 0.1

#: Seconds of a look that go to logs; those that were not read then are the first at the next.
_BUDGET = 5.0

#: Seconds that a log has, once its try has ended, to be there.
_UPLOAD = 30.0

#: States in which a try is over; a sensor that is rescheduled goes on with its own.
_TRY_ENDED = ("success", "failed", "skipped", "up_for_retry", "removed")

#: A try: task, map index, number.
_Try = tuple[str, int, int]


class _Log:
    def __init__(self) -> None:
        self.lines = TryLog()
        self.due = self.read_at = 0.0
        self.ended_at: float | None = None
        self.is_complete = False


class Follower:
    """Tells of a run, as often as `look` is called.

    Args:
        run: the run.
        say: takes each line.
        with_logs: whether to tell what the tasks print. While a task's pod runs, its lines come as it prints them;
            those of a task that runs in a worker come when it has ended.
        known: task instances as they were: their states, and their tries so far, are not told.
    """

    def __init__(
        self,
        run: DagRun,
        say: Callable[[str], None],
        *,
        with_logs: bool,
        known: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._run, self._say, self._with_logs = run, say, with_logs
        self._states = {_key(one): (one["state"], one["try_number"]) for one in known}
        self._told = {key: number for key, (_, number) in self._states.items()}
        self._logs: dict[_Try, _Log] = {}

    def until_end(self, deadline: float | None) -> str | None:
        """Tell until the run has ended, and all that its tasks printed is told.

        Args:
            deadline: of the monotonic clock, in seconds; None: however long it takes.

        Returns:
            the run's state; None: the deadline has passed.

        Raises:
            ClientError: the api-server does not answer, or knows the run no more.
        """
        while True:
            state = self._run.read()["state"]
            # Asked after the run's state: of a run that has ended, no task changes its state any more.
            self._look(self._run.instances())
            if state in ENDED and not self._open_logs():
                return state
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return state if state in ENDED else None
            time.sleep(_EVERY if deadline is None else min(_EVERY, deadline - now))

    def _look(self, instances: list[dict[str, Any]]) -> None:
        for instance in sorted(instances, key=lambda one: (one["start_date"] or "9", one["task_id"], one["map_index"])):
            self._tell_state(instance)
            if self._with_logs:
                self._note_logs(instance)
        began = time.monotonic()
        for one, log in sorted(self._open_logs(), key=lambda item: item[1].read_at):
            self._tell_log(one, log)
            if time.monotonic() - began > _BUDGET:
                break

    def _tell_state(self, instance: dict[str, Any]) -> None:
        key, now = _key(instance), (instance["state"], instance["try_number"])
        before = self._states.get(key, (None, 0))
        if now == before:
            return
        self._states[key] = now
        if instance["state"] is None:
            return
        tries = instance["max_tries"] + 1
        which = f" (try {now[1]} of {tries})" if tries > 1 and now[1] else ""
        took = f" after {instance['duration']:.1f} s" if now[0] in ENDED and instance["duration"] else ""
        self._tell(f"{named(*key)}: {instance['state'].replace('_', ' ')}{took}{which}")

    def _note_logs(self, instance: dict[str, Any]) -> None:
        key, number, state = _key(instance), instance["try_number"], instance["state"]
        # Between two looks a try may have failed and the next begun.
        for each in range(self._told.get(key, 0) + 1, number + 1):
            is_over = each < number or state in _TRY_ENDED
            if (is_over and instance["start_date"]) or state == "deferred":
                log = self._logs.setdefault((*key, each), _Log())
                if is_over and log.ended_at is None:
                    log.ended_at, log.due = time.monotonic(), 0.0

    def _tell_log(self, one: _Try, log: _Log) -> None:
        began = time.monotonic()
        if began < log.due:
            return
        try:
            lines = log.lines.unseen(self._run.log(*one))
        except ClientError as error:
            self._tell(f"{named(*one[:2])}: its log cannot be read: {error}")
            log.is_complete = True
            return
        log.read_at = now = time.monotonic()
        for line in lines:
            self._say(f"{named(*one[:2])} | {line}")
        log.due = now + (now - began) / _SHARE
        if log.ended_at is not None:
            # One that has ended is complete once it has lines, and a look has brought no more.
            log.due = 0.0
            log.is_complete = (log.lines.has_any and not lines) or now - log.ended_at > _UPLOAD

    def _open_logs(self) -> list[tuple[_Try, _Log]]:
        return [(one, log) for one, log in self._logs.items() if not log.is_complete]

    def _tell(self, text: str) -> None:
        self._say(f"{datetime.now(timezone.utc):%H:%M:%S} {text}")


def _key(instance: Mapping[str, Any]) -> tuple[str, int]:
    return instance["task_id"], instance["map_index"]


def named(task_id: str, map_index: int) -> str:
    """A task instance as people name it: ``score[2]``."""
    return f"{task_id}[{map_index}]" if map_index >= 0 else task_id
