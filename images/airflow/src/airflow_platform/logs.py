"""The log of a container as lines: each once and in order, in bounded memory, whatever happens on the way.

What this rests on is how Kubernetes serves logs (1.36: k8s.io/cri-client/pkg/logs and pkg/kubelet/kubelet_pods.go;
apiserver/pkg/endpoints/handlers/responsewriters):

- The API server cuts ``sinceTime`` to whole seconds, and kubelet sends every line that is not before it. So a reconnect
  reads lines again.
- A log file keeps its order, and timestamps need not follow it: stdout and stderr are stamped apart, and clocks are set
  back. So what comes again is told by the place of the last emitted line, and not by comparing times.
- Only the newest file of a container can be read. When the node has rotated it, the place may be gone.
- The end of a stream is not the end of the log: the API server ends a stream in the same way when kubelet goes away.
- An error after the first byte is text at the end of the body, without a timestamp.
- A stream that was opened on a file which is rotated before kubelet has reached its end stays with that file, silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp

from airflow_platform import log_channel
from airflow_platform.cluster import ApiError, Cluster

#: Bytes of a line that are emitted, and held, at once. A longer line comes in pieces.
MAX_LINE = 64 * 1024
#: Bytes of one container's log that are emitted, with their timestamps.
MAX_BYTES = 256 * 1024 * 1024

#: How the pieces of a line after its first one begin.
CONTINUED = "[continued] "
#: How a line begins that is not the container's.
NOTE = "[platform] "

#: Seconds of work after which other tasks of the event loop have their turn.
_TURN = 0.005
#: Seconds until the next attempt: they double up to the one where the log is waited for, to the other after failures.
_FIRST, _WAITING, _FAILING = 0.2, 1.0, 5.0
#: The same where the server has ended a stream, from the first to the second while none brings anything: the container
#: has ended, and the API server is late to show it, which may be so of a thousand pods at once.
_ENDED, _STILL_ENDED = 1.0, 30.0
#: Seconds of silence after which a stream is opened anew. A lost connection and one that kubelet forgot are silent too.
_SILENCE = 300.0
#: The same for a stream that has just brought much: its file may have been rotated.
_SILENCE_AFTER_MUCH, _MUCH = 3.0, 1024 * 1024
#: The same once the container has ended: kubelet takes up to a second to see it.
_SILENCE_AT_END = 0.5
#: The same while the end is read, which is written already; and how long that is tried.
_SILENCE_IN_REST, _REST = 15.0, 45.0
#: How often the end is read, unless a reading brings nothing new before.
_READINGS = 3

#: Seconds after a container's start from which its first line is late: who takes it over may not see the first.
LATE = 60

#: Bytes of a timestamp, the space after it, and a newline.
_OVERHEAD = 32

# Of airflow.providers.cncf.kubernetes.utils.xcom_sidecar, whose import takes the event loop a second.
_XCOM_SIDECAR = "airflow-xcom-sidecar"

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)(?: |$)")

#: Timestamp, text, and whether it continues the line of the record before.
_Record = tuple[str, bytes, bool]


async def follow(
    cluster: Cluster,
    namespace: str,
    pod: str,
    container: str,
    *,
    emit: Callable[[str, str], None],
    finished: asyncio.Event,
    max_bytes: int = MAX_BYTES,
    started: float | None = None,
) -> None:
    """Emit the lines of a container, each once and in order, until its log has been read to its end.

    Failures are retried and never raised. Where lines may be missing, one line between them says so; it begins with
    `NOTE`.

    Args:
        emit: called with each line's timestamp (RFC 3339, UTC, nanoseconds) and text. Bytes that are not UTF-8 are
            escaped; a carriage return at the end is left out. A line over `MAX_LINE` bytes comes in pieces, which but
            the first begin with `CONTINUED`.
        finished: set when the container has ended, or will never start. What is left is read then.
        max_bytes: what is emitted at most. A line then says how to read the rest, and this returns.
        started: when the container has, in seconds since the epoch, of one that was followed by others before.
    """
    log = _Log(emit, max_bytes, started)
    try:
        await _to_the_end(cluster, f"/api/v1/namespaces/{namespace}/pods/{pod}", container, log, finished)
    except _Full:
        log.note(
            f"The log is longer than {max_bytes} bytes and is cut off here. While the pod exists, the rest can be read "
            f"by: kubectl logs --namespace {namespace} {pod} --container {container} --since-time {log.last}"
        )


def containers_to_follow(pod: dict[str, Any], container_logs: Any, init_container_logs: Any, base: str) -> list[str]:
    """Names of the containers whose logs were asked for: init containers in the pod's order, then the others.

    As the stock operator reads its arguments (PodManager.fetch_requested_container_logs): a name, names, or True for
    all of the pod but the XCom sidecar. None means ``base`` for ``container_logs``, and no init container. Names that
    the pod does not have are left out; `unknown_containers` tells them.
    """
    init, main = _requested(pod, container_logs, init_container_logs, base)
    present = _names(pod, "containers")
    return [name for name in _names(pod, "initContainers") if name in init] + [name for name in main if name in present]


def unknown_containers(pod: dict[str, Any], container_logs: Any, init_container_logs: Any, base: str) -> list[str]:
    """Names whose logs were asked for and that the pod does not have. Arguments as for `containers_to_follow`."""
    init, main = _requested(pod, container_logs, init_container_logs, base)
    present = _names(pod, "initContainers"), _names(pod, "containers")
    return [name for names, there in zip((init, main), present, strict=True) for name in names if name not in there]


def formatted(container: str, line: str, *, prefix: bool = True) -> str:
    """The line as the stock operator logs it (PodManager._log_message).

    Args:
        prefix: the operator's ``container_name_log_prefix_enabled``.
    """
    if line.startswith(("::group::", "::endgroup::")):
        return line
    return f"[{container}] {line}" if prefix else line


class _Full(Exception):
    """As much as may be emitted has been."""


class _Splitter:
    """Takes a body apart into records, of at most `MAX_LINE` bytes each.

    Where a line is cut depends on the line alone and not on how it arrives, so it is cut alike when it comes again.
    """

    def __init__(self) -> None:
        self._stamp: str | None = None  # of the line that has been cut and has not ended; "" where it has none
        self.rest = b""  # what has come of the line that has not ended, since it was cut

    def feed(self, chunk: bytes) -> Iterator[_Record]:
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        for line in lines:
            yield from self._records(line, whole=True)
        if len(self.rest) > MAX_LINE + 64:  # longer than any timestamp
            yield from self._records(self.rest, whole=False)

    def end(self) -> Iterator[_Record]:
        """The line that had no newline."""
        rest, self.rest = self.rest, b""
        if rest:
            yield from self._records(rest, whole=True)

    def error(self) -> str:
        """What stands at the end of the body without a timestamp."""
        if self._stamp is None and self.rest and not _STAMP.match(self.rest):
            return self.rest.decode(errors="backslashreplace").strip()
        return ""

    def _records(self, text: bytes, *, whole: bool) -> Iterator[_Record]:
        stamp, continues = self._stamp, self._stamp is not None
        if stamp is None:
            found = _STAMP.match(text)
            stamp = _stamp(found) if found else ""
            text = text[found.end() :] if found else b""
        while len(text) > MAX_LINE:
            cut = _character_boundary(text, MAX_LINE)
            if stamp:
                yield stamp, text[:cut], continues
            text, continues = text[cut:], True
        if whole:
            self._stamp = None
            if stamp:
                yield stamp, text, continues
        else:
            self._stamp, self.rest = stamp, text


class _Log:
    """What has been emitted of a log, and so what of a new reading comes again."""

    def __init__(self, emit: Callable[[str, str], None], max_bytes: int, started: float | None = None) -> None:
        self._emit = emit
        self._left = max_bytes
        self._started = started
        self._splitter = _Splitter()
        #: The timestamp of the last record, and how many records have had it: the place in the file.
        self.last = ""
        self._count = 0
        #: The latest of all timestamps, and how many records have had it.
        self._latest = ""
        self._latest_count = 0
        #: How many records with the last timestamp have yet to come again.
        self._awaited = 0
        #: Whether all there was has been read, as far as can be known.
        self.complete = False
        #: Bytes that this reading has brought; and whether it has brought nothing that the one before had not.
        self.brought = 0
        self.settled = False

    @property
    def since(self) -> str:
        """What a reading has to begin with; empty: with the beginning.

        A second before the last record, as one that was stamped before it may be written after it.
        """
        if not self.last:
            return ""
        return (datetime.fromisoformat(self.last[:19]) - timedelta(seconds=1)).isoformat() + "Z"

    def begin(self) -> None:
        """A body comes that begins at `since`."""
        self._before, self._splitter = self._splitter.rest, _Splitter()
        self._awaited = self._count
        self.brought = 0
        self.complete = self.settled = False

    async def feed(self, chunk: bytes) -> None:
        """Emit what is new in the next part of the body."""
        turn = time.monotonic() + _TURN
        for record in self._splitter.feed(chunk):
            self._take(*record)
            if time.monotonic() > turn:
                await log_channel.room()
                turn = time.monotonic() + _TURN
        await log_channel.room()

    def end(self) -> None:
        """The body has ended.

        Raises:
            ConnectionError: by an error.
        """
        if error := self._splitter.error():
            raise ConnectionError(error)
        self.complete = not self._awaited
        self.settled = not self.brought and self._splitter.rest == self._before

    def close(self, why: str) -> None:
        """There will be no other body. Emit the last line if it had no newline; say why lines may be missing."""
        for record in self._splitter.end():
            self._take(*record)
        if not self.complete:
            self.note(f"Lines {f'after {self.last} ' if self.last else ''}may be missing: {why}")

    def note(self, text: str, stamp: str | None = None) -> None:
        """Emit a line that is not the container's."""
        now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}000Z"
        self._emit(stamp or now, NOTE + text)

    def _take(self, stamp: str, text: bytes, continues: bool) -> None:
        if self._awaited:
            if stamp <= self._latest:
                self._awaited -= stamp == self.last
                return
            # All that was emitted is before this line, so its place is not in this file.
            self._awaited = 0
            self.note(f"Lines between {self.last} and {stamp} may be missing: the node has begun a new log file", stamp)
        if self._started is not None:
            if datetime.fromisoformat(stamp[:19] + "+00:00").timestamp() - self._started > LATE:
                self.note("If the container has printed lines before this one, its node has them no more", stamp)
            self._started = None
        if self._left <= 0:
            raise _Full
        self._left -= len(text) + _OVERHEAD
        self.brought += len(text)
        if stamp > self._latest:
            self._latest, self._latest_count = stamp, 0
        if stamp == self._latest:
            self._latest_count += 1
            self._count = self._latest_count
        else:
            self._count = self._count + 1 if stamp == self.last else 1
        self.last = stamp
        line = text.rstrip(b"\r").decode(errors="backslashreplace")
        self._emit(stamp, CONTINUED + line if continues else line)


async def _to_the_end(cluster: Cluster, path: str, container: str, log: _Log, finished: asyncio.Event) -> None:
    """Read as often as it takes.

    Raises:
        _Full: as much as may be emitted has been.
    """
    wait, told, give_up, readings = _FIRST, False, None, 0
    ended_wait = _ENDED
    while True:
        rest = finished.is_set()
        query = {"container": container, "timestamps": "true"}
        if not rest:
            query["follow"] = "true"
        if log.since:
            query["sinceTime"] = log.since
        error, began = None, time.monotonic()
        try:
            ended = await _read(cluster, f"{path}/log", query, log, finished)
        except (ApiError, aiohttp.ClientError, OSError) as failure:
            error = failure
        if error is None or log.brought:
            wait, told, give_up = _FIRST, False, None

        if error is None:
            readings += rest
            if rest and (log.settled or readings == _READINGS):
                log.close("the node has rotated or removed the log file")
                return
            if log.brought or time.monotonic() - began > _STILL_ENDED:
                ended_wait = _ENDED
            if not rest and ended:
                # Most often the container has ended, and `finished` is about to say so.
                await _pause(ended_wait, rest, finished)
                ended_wait = min(2 * ended_wait, _STILL_ENDED)
        elif _has_not_started(error):
            if rest:
                return
            log.complete = not log.last
            await _pause(wait, rest, finished)
            wait = min(2 * wait, _WAITING)
        elif await _is_gone(error, cluster, path):
            log.close("the pod is gone")
            return
        else:
            if rest:
                give_up = give_up or time.monotonic() + _REST
                if _is_final(error) or time.monotonic() > give_up:
                    log.complete = False
                    log.close(f"the log could not be read to its end: {_say(error)}")
                    return
            if wait >= _FAILING and not told:
                log.note(f"The log cannot be read at the moment, and is tried again: {_say(error)}")
                told = True
            await _pause(wait, rest, finished)
            wait = min(2 * wait, _FAILING)


async def _read(cluster: Cluster, path: str, query: dict[str, str], log: _Log, finished: asyncio.Event) -> bool:
    """Read once; whether the server has ended it (False: it fell silent).

    Raises:
        ApiError, aiohttp.ClientError, OSError: it could not be read, or not further.
    """
    log.brought = 0
    follow = "follow" in query
    heard = time.monotonic()

    def listen() -> None:
        silence.reschedule(heard + _patience(log, finished, follow))

    async def at_end() -> None:
        await finished.wait()
        if silence.when() is not None and not silence.expired():
            listen()

    try:
        async with asyncio.timeout(None) as silence, _beside(at_end()):
            listen()
            # Some kubelets answer only with the first line.
            async with cluster.stream(path, query=query, idle=None, answer=_SILENCE) as body:
                log.begin()
                async for chunk in body:
                    silence.reschedule(None)
                    await log.feed(chunk)
                    heard = time.monotonic()
                    listen()
                log.end()
        return True
    except TimeoutError:
        if silence.expired() and follow:
            return False
        raise


def _patience(log: _Log, finished: asyncio.Event, follow: bool) -> float:
    """Seconds of silence after which a stream is given up."""
    if not follow:
        return _SILENCE_IN_REST
    if finished.is_set():
        return _SILENCE_AT_END
    return _SILENCE_AFTER_MUCH if log.brought > _MUCH else _SILENCE


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()


async def _pause(seconds: float, rest: bool, finished: asyncio.Event) -> None:
    """Wait so long; before the rest is read, no longer than until the container has ended."""
    if rest:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(finished.wait(), seconds)


def _has_not_started(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.status == 400 and "is waiting to start" in error.message


def _is_final(error: Exception) -> bool:
    """Whether kubelet says that it has no log of the container, as after the node has begun anew."""
    return isinstance(error, ApiError) and error.status == 400


async def _is_gone(error: Exception, cluster: Cluster, path: str) -> bool:
    """Whether there is no such pod. A 404 for its log may also come from a kubelet that does not know it yet."""
    if not isinstance(error, ApiError) or error.status != 404:
        return False
    try:
        await cluster.request("GET", path)
    except ApiError as answer:
        return answer.status == 404
    except (aiohttp.ClientError, OSError):
        pass
    return False


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__


def _stamp(found: re.Match[bytes]) -> str:
    """The timestamp in UTC with nanoseconds, so that the order of texts is the order of times."""
    second, fraction, zone = found.groups()
    if zone == b"Z" and fraction and len(fraction) == 9:
        return found[0][:30].decode()
    utc = datetime.fromisoformat((second + zone).decode()).astimezone(timezone.utc)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{(fraction or b'').decode():0<9}Z"


def _character_boundary(text: bytes, end: int) -> int:
    """The end, or up to three bytes before it: where a UTF-8 character begins."""
    for place in range(end, end - 4, -1):
        if text[place] & 0xC0 != 0x80:
            return place
    return end


def _names(pod: dict[str, Any], kind: str) -> list[str]:
    names = (one["name"] for one in pod["spec"].get(kind) or [])
    return [name for name in names if name != _XCOM_SIDECAR]


def _requested(pod: dict[str, Any], container_logs: Any, init_container_logs: Any, base: str) -> tuple[list, list]:
    main = base if container_logs is None else container_logs
    return _listed(init_container_logs, _names(pod, "initContainers")), _listed(main, _names(pod, "containers"))


def _listed(requested: Any, names: list[str]) -> list[str]:
    if requested is True:
        return names
    if isinstance(requested, str):
        return [requested]
    return list(dict.fromkeys(requested or ()))
