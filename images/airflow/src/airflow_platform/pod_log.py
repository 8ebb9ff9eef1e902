"""The log of a pod as the log of its task: the containers that were asked for, in the stock operator's format."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections import deque
from types import TracebackType
from typing import Any

import structlog

from airflow_platform import logs, pod_status
from airflow_platform.cluster import Cluster
from airflow_platform.diagnosis.case import seconds
from airflow_platform.masks import Masks

#: Ends the log of a triggerer that follows the pod no more: another one does, unless somebody has ended the try.
HANDED_OVER = "another triggerer follows it, and has its log"

#: Lines that are kept in memory, for the evidence of a failure, and characters of each.
_LAST, _LAST_WIDTH = 20, 1_000

#: Levels that lines name themselves, as the stock operator reads them: "ERROR:", "[WARNING]", "INFO - ".
_LEVEL = re.compile(r"\[?(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\]?(?:[:\s-]|$)", re.IGNORECASE)
#: What a pod says is never left out, as Airflow would what is below its own level.
_LEVELS = {"DEBUG": logging.INFO, "WARN": logging.WARNING, "FATAL": logging.CRITICAL} | {
    name: getattr(logging, name) for name in ("INFO", "WARNING", "ERROR", "CRITICAL")
}

log = structlog.get_logger("task")


class PodLog:
    """Streams the log of one pod while it runs; a context, at whose end all streams are closed.

    Args:
        cluster, namespace, pod: where the pod is, and its name.
        base: the container that is followed where nothing else is asked for.
        containers, init_containers: the operator's ``container_logs`` and ``init_container_logs``.
        prefix: whether a line begins with its container's name in brackets.
        masks: what of the lines is secret; nothing is read before that is known.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        pod: str,
        *,
        base: str,
        containers: Any,
        init_containers: Any,
        prefix: bool,
        masks: Masks,
    ) -> None:
        self._cluster, self._namespace, self._pod = cluster, namespace, pod
        self._base, self._containers, self._init_containers, self._prefix = base, containers, init_containers, prefix
        self._masks = masks
        self._streams: dict[str, asyncio.Task] = {}
        self._finished: dict[str, asyncio.Event] = {}
        self._said: set[str] = set()
        #: The last lines of all containers that were followed.
        self.last: deque[str] = deque(maxlen=_LAST)
        #: When the last line came.
        self._heard = 0.0

    async def __aenter__(self) -> PodLog:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for stream in self._streams.values():
            stream.cancel()
        await asyncio.gather(*self._streams.values(), return_exceptions=True)

    def follow(self, pod: dict[str, Any]) -> None:
        """Open the streams of containers that have started since, and tell those of containers that have ended."""
        if not self._masks.known:
            return
        if not self._finished:
            self._say_what_is_unknown(pod)
        states = {one["name"]: one.get("state") or {} for one in pod_status.statuses(pod)}
        for name in logs.containers_to_follow(pod, self._containers, self._init_containers, self._base):
            state = states.get(name, {})
            if ("running" in state or "terminated" in state) and name not in self._streams:
                self._finished[name] = asyncio.Event()
                before = [stream for other, stream in self._streams.items() if other in _init_names(pod)]
                stream = self._stream(name, before, _started_long_ago(state))
                self._streams[name] = asyncio.create_task(stream, name=f"log of {self._pod}/{name}")
            if "terminated" in state and name in self._finished:
                self._finished[name].set()

    async def finish(self, seconds: float, *, at_most: float = math.inf) -> None:
        """Read what is left of all logs, while lines come and ``seconds`` more; ``at_most`` so many seconds in all."""
        for event in self._finished.values():
            event.set()
        late = set(self._streams.values())
        began = time.monotonic()
        while late and (left := min(max(began, self._heard) + seconds, began + at_most) - time.monotonic()) > 0:
            _, late = await asyncio.wait(late, timeout=left)
        if late:
            log.warning(f"The log of pod {self._pod} did not end in time: its last lines may be missing")

    def _say_what_is_unknown(self, pod: dict[str, Any]) -> None:
        names = logs.unknown_containers(pod, self._containers, self._init_containers, self._base)
        for name in set(names) - self._said:
            log.warning(f"There is no container {name} in pod {self._pod}: its log was asked for")
        self._said.update(names)

    async def _stream(self, container: str, before: list[asyncio.Task], started: float | None) -> None:
        # The lines of an init container come before those of the containers that it prepares.
        if before:
            await asyncio.wait(before)
        try:
            await logs.follow(
                self._cluster,
                self._namespace,
                self._pod,
                container,
                emit=lambda timestamp, line: self._emit(container, timestamp, line),
                finished=self._finished[container],
                started=started,
            )
        except Exception as error:
            log.warning(f"The log of container {container} could not be read further: {error}")

    def _emit(self, container: str, timestamp: str, line: str) -> None:
        self._heard = time.monotonic()
        match = _LEVEL.match(line)
        level = _LEVELS[match[1].upper()] if match else logging.INFO
        formatted = logs.formatted(container, self._masks.mask(line), prefix=self._prefix)
        self.last.append(formatted[:_LAST_WIDTH])
        log.log(level, formatted, timestamp=timestamp)


def _init_names(pod: dict[str, Any]) -> set[str]:
    # One with restartPolicy Always is a sidecar, and never ends before the others.
    return {one["name"] for one in pod["spec"].get("initContainers") or [] if one.get("restartPolicy") != "Always"}


def _started_long_ago(state: dict[str, Any]) -> float | None:
    """When a container has started that another triggerer must have followed; None: not so long ago."""
    started = seconds(next(iter(state.values()), {}).get("startedAt"))
    return started if started and time.time() - started > logs.LATE else None
