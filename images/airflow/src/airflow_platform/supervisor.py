"""Airflow's supervisor of a task phase, which notices the end of its process at once."""

from __future__ import annotations

from airflow.sdk.execution_time.supervisor import ActivitySubprocess

_SERVICE = ActivitySubprocess._service_subprocess

#: Seconds between two looks for the end of a process that has closed its sockets.
_LOOK = 0.02


def notice_ends() -> None:
    """Look often for the end of a process that has nothing more to say; a second call changes nothing.

    A process that exits closes its sockets a moment before it can be waited for. Airflow looks once when it sees the
    last of them close, and in about half of all cases again only after 5 s (airflow.sdk.execution_time.supervisor,
    ``_monitor_subprocess``): so long the phase held its slot, and the task waited for what comes next.
    """
    ActivitySubprocess._service_subprocess = _service_subprocess


def _service_subprocess(self: ActivitySubprocess, max_wait_time: float, *args: object, **kwargs: object) -> int | None:
    return _SERVICE(self, max_wait_time if self._open_sockets else min(max_wait_time, _LOOK), *args, **kwargs)
