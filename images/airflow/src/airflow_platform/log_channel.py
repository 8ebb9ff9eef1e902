"""What the triggers log, on its way to the triggerer's other process, which writes it to files.

That process does much else: it uploads logs, and asks Airflow's database. Airflow's triggers wait for it with every
line, all of them, as they share a thread; here, what it has not the time for is kept in memory meanwhile.
"""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import io
import os
import select
import struct
import termios
import threading
import time
from collections import deque

from airflow.sdk.execution_time import supervisor

#: Bytes kept in memory, from which on no further line is read from a pod.
FULL = 2**20
#: Seconds between two looks at the channel: at first, and later.
_SOON, _LATER = 0.05, 0.4
#: Seconds for what is left, when the process ends.
_AT_END = 5.0


class LogChannel(io.FileIO):
    """A socket that is written to without waiting, from the time on when `attend` has been called.

    Attributes:
        written, sent: bytes that came, and that the socket has taken.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "wb")
        self.written = self.sent = 0
        self._left: deque[memoryview] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have this loop, which is the running one, send what the socket does not take at once."""
        os.set_blocking(self.fileno(), False)
        self._loop = loop

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Send a line, or keep it."""
        with self._lock:
            self._left.append(memoryview(bytes(data)))
            self.written += len(data)
            if len(self._left) == 1 and not self._send() and self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.add_writer, self.fileno(), self._go_on)
        return len(data)

    def finish(self) -> None:
        """Send what is left, for some seconds, at the end of the process."""
        deadline = time.monotonic() + _AT_END
        with self._lock:
            while not self._send() and (left := deadline - time.monotonic()) > 0:
                select.select([], [self], [], left)

    def read_up_to(self, place: int) -> bool:
        """Whether all that was written before ``written`` was ``place`` has been read at the other end."""
        # What is unread is less than it says: Linux counts what each line takes in its memory.
        return _unread(self.fileno()) <= self.sent - place

    def _go_on(self) -> None:
        with self._lock:
            try:
                done = self._send()
            except OSError:
                # Nobody reads any more: the other process is gone, and this one ends for that.
                self._left.clear()
                done = True
            if done:
                self._loop.remove_writer(self.fileno())

    def _send(self) -> bool:
        """Send what the socket takes; whether that is all."""
        while self._left:
            first = self._left[0]
            # None: nothing, for now.
            if (count := super().write(first)) is None:
                return False
            self.sent += count
            self._left[0] = first[count:]
            if not self._left[0]:
                self._left.popleft()
        return True


#: That of this process; None where it is not the triggers'.
_channel: LogChannel | None = None


def use() -> None:
    """Have the process of the triggers log by a `LogChannel`; a second call changes nothing."""
    supervisor._configure_logs_over_json_channel = _configure


def _configure(log_fd: int) -> None:
    # As Airflow's, but for the channel (airflow.sdk.execution_time.supervisor, ``_configure_logs_over_json_channel``).
    from airflow.sdk.log import configure_logging, reset_logging

    global _channel
    _channel = LogChannel(log_fd)
    reset_logging()
    configure_logging(json_output=True, output=_channel, sending_to_supervisor=True)


def attend() -> None:
    """Begin not to wait, in the running loop, until the process ends."""
    if _channel is not None:
        _channel.attend(asyncio.get_running_loop())
        atexit.register(_channel.finish)


async def room() -> None:
    """Let others run, and wait while too much is kept."""
    await asyncio.sleep(0)
    while _channel is not None and _channel.written - _channel.sent > FULL:
        await asyncio.sleep(_SOON)


async def handed_on(seconds: float = 300) -> None:
    """Wait until the other process has read what was logged here; at most ``seconds`` in which it reads nothing.

    So long it may wait for the database, and then hears of nothing else either.

    It hears of a trigger's event on another socket, and what it reads of its log after that is no longer the task's
    (`airflow_platform.trigger_supervisor.send_logs_first`).
    """
    channel = _channel
    if channel is None:
        return
    place, wait = channel.written, _SOON
    before, since = None, time.monotonic()
    while not channel.read_up_to(place):
        state = (channel.sent, _unread(channel.fileno()))
        if state != before:
            before, since = state, time.monotonic()
        elif time.monotonic() - since > seconds:
            return
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LATER)


def _unread(channel: int) -> int:
    """Memory of what was written to a socket and not read at its other end (unix(7), SIOCOUTQ); 0 where it is none."""
    try:
        return struct.unpack("i", fcntl.ioctl(channel, termios.TIOCOUTQ, b"\0" * 4))[0]
    except OSError:
        return 0
