"""One list and watch of the task pods of a namespace, shared by all triggers of this process that follow one.

A trigger follows its pod by name and is given each newer state of it, the latest alone. No pod is polled: one request
is open for a namespace, however many tasks wait, and it goes on where it ended (Kubernetes' own informers do the
same: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes).

Whatever breaks, a follower sees no error and misses no end of a pod: the watch goes on from the last version that it
has seen, and where the API server no longer has that, it lists anew and looks after the pods that are missing there.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict

import aiohttp
import msgspec
from airflow.sdk.observability import stats

from airflow_platform import metrics
from airflow_platform.cluster import ApiError, Cluster

log = logging.getLogger(__name__)

#: The label that KubernetesPodOperator gives each pod.
LABEL = ("kubernetes_pod_operator", "True")

#: Pods a page of the list has at most.
PAGE = 500

#: Pods that nobody follows here and whose states are kept, those that changed last: their followers may be on the way.
#: As many are kept of those that are gone.
UNFOLLOWED = 2_000

#: Bytes of one event. An object in etcd has 1.5 MiB at most.
EVENT = 8 * 2**20

#: Seconds that the watch may work before the other tasks of the event loop have a turn: those that it has just told of
#: their pods have a hundred times as much to do.
TURN = 0.001


class Metadata(TypedDict, total=False):
    name: str
    namespace: str
    uid: str
    resourceVersion: str
    generation: int | None
    labels: dict[str, str] | None
    annotations: dict[str, str] | None
    creationTimestamp: str | None
    deletionTimestamp: str | None
    deletionGracePeriodSeconds: int | None


class Container(TypedDict, total=False):
    name: str
    image: str
    resources: Any
    restartPolicy: str


class Spec(TypedDict, total=False):
    nodeName: str
    nodeSelector: dict[str, str] | None
    priority: int | None
    priorityClassName: str | None
    restartPolicy: str
    schedulingGates: list[dict[str, Any]] | None
    activeDeadlineSeconds: int | None
    resources: Any
    overhead: dict[str, str] | None
    initContainers: list[Container] | None
    containers: list[Container] | None


class Pod(TypedDict, total=False):
    """A pod as the API has it, less what no follower needs and what would fill memory: volumes, environment, …"""

    metadata: Metadata
    spec: Spec
    status: dict[str, Any]


class _PodList(msgspec.Struct):
    metadata: dict[str, Any]
    items: list[Pod] | None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_pod = msgspec.json.Decoder(Pod).decode
_pod_list = msgspec.json.Decoder(_PodList).decode
_event = msgspec.json.Decoder(_Event).decode


@dataclass(frozen=True)
class Timing:
    """Seconds.

    A watch that dies in silence is noticed within ``serve + grace`` of its last byte. While the API server hangs, each
    try takes up to ``answer``, then up to ``pause`` pass: so long after the server, the watch is back at the latest.
    """

    #: After this, ± 10 %, the API server ends a watch; before that it sends a bookmark.
    serve: float = 20
    #: By how much it may be late.
    grace: float = 5
    #: Until a watch's response begins.
    answer: float = 10
    #: The longest pause between two tries.
    pause: float = 5
    #: Until a pod that the watch does not show is asked for by itself.
    lag: float = 5
    #: For how long the watch must have been refused before its followers are told.
    patience: float = 60
    #: For how long it goes on after its last follower has left.
    linger: float = 60


TIMING = Timing()


class PodWatch:
    """The pods of one namespace that carry `LABEL`."""

    def __init__(self, cluster: Cluster, namespace: str, timing: Timing = TIMING) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.timing = timing
        #: Whether the API server serves the watch now; what followers are told may be old otherwise.
        self.in_sync = False
        #: Why the API server refuses the watch, where it has for ``patience`` seconds.
        self.refusal: ApiError | None = None
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._pods: dict[str, Pod] = {}  # the one that changed last is the last
        self._gone: dict[str, Pod] = {}  # by uid, as they were last seen
        self._feeds: dict[str, list[Feed]] = {}
        self._version: str | None = None
        self._anew = False
        self._outage: _Outage | None = None
        self._task: asyncio.Task | None = None
        self._questions: dict[str, asyncio.Task] = {}
        self._end: asyncio.TimerHandle | None = None
        self._kept = False

    @classmethod
    async def get(cls, cluster: Cluster, namespace: str) -> PodWatch:
        """The watch of that namespace, shared. It ends ``linger`` seconds after its last follower; or see `keep`."""
        watch = cluster.watches.get(namespace)
        if watch is None:
            watch = cluster.watches[namespace] = cls(cluster, namespace)
        return watch

    @contextlib.asynccontextmanager
    async def follow(self, name: str, uid: str | None = None) -> AsyncIterator[Feed]:
        """The states of the pod of that name, which need not exist yet.

        :param uid: the pod's, where it is known: then its end is told too if it has come and gone before.
        """
        feed = Feed(self, name, self._pods.get(name))
        if uid in self._gone:
            feed.put(None, self._gone[uid])
        self._feeds.setdefault(name, []).append(feed)
        self._start()
        try:
            yield feed
        finally:
            self._feeds[name].remove(feed)
            if not self._feeds[name]:
                del self._feeds[name]
            if not self._feeds and not self._kept:
                self._end = asyncio.get_running_loop().call_later(self.timing.linger, self._stop)

    def keep(self) -> None:
        """Start, and go on though nobody follows."""
        self._kept = True
        self._start()

    def known(self, name: str) -> Pod | None:
        """The pod of that name as it was last seen, followed or not; None: there is none, or none is known."""
        return self._pods.get(name)

    def pods(self) -> list[Pod]:
        """The pods as they are known now."""
        return list(self._pods.values())

    def unfollowed(self) -> list[Pod]:
        """The pods that nobody here follows, as they are known now."""
        return [pod for name, pod in self._pods.items() if name not in self._feeds]

    async def look_up(self, name: str) -> None:
        """Ask the API server for one pod, and tell its followers.

        Raises:
            ApiError, aiohttp.ClientError, TimeoutError: as `Cluster.request`.
        """
        known = self._pods.get(name)
        try:
            pod = await self.cluster.request("GET", f"{self._path}/{name}", decode=_pod)
        except ApiError as error:
            if error.status != 404:
                raise
            pod = None
        if self._pods.get(name) is not known:
            return  # the watch was faster
        if pod:
            self._learn(pod)
        else:
            self._forget(name)

    def ask(self, name: str) -> None:
        """Look a pod up in the background, unless that goes on already or the watch itself is away."""
        if self.in_sync and name not in self._questions:
            question = asyncio.get_running_loop().create_task(self._ask(name), context=contextvars.Context())
            self._questions[name] = question
            question.add_done_callback(lambda _: self._questions.pop(name))

    def begin_anew(self) -> None:
        """List again before watching further: what was seen so far may be of another cluster."""
        # Not the version at once: what is open may be the other cluster's still, and would set it again.
        self._anew = True

    def __str__(self) -> str:
        return f"pods in the namespace {self.namespace} of {self.cluster}"

    def _start(self) -> None:
        if self._end:
            self._end.cancel()
            self._end = None
        if self._task is None:
            # In a context of its own: what it logs belongs to no single task of Airflow.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"watch of {self}", context=contextvars.Context()
            )

    def _stop(self) -> None:
        for task in (self._task, *self._questions.values()):
            task.cancel()
        self._task = self._end = self._version = self._outage = self.refusal = None
        self.in_sync = False
        self._pods.clear()
        self._gone.clear()

    async def _run(self) -> None:
        while True:
            try:
                if self._anew:
                    self._anew, self._version = False, None
                if self._version is None:
                    await self._list()
                else:
                    await self._watch()
            except Exception as error:
                await asyncio.sleep(self._failed(error))

    async def _ask(self, name: str) -> None:
        try:
            await self.look_up(name)
        except (ApiError, aiohttp.ClientError, OSError) as error:
            log.debug("The pod %s could not be looked up: %s", name, error)

    async def _list(self) -> None:
        """Take in all pods as they are now; a followed one that is missing is asked for by itself."""
        query = {"labelSelector": "=".join(LABEL), "limit": PAGE}
        listed: set[str] = set()
        turn = _Turn()
        while True:
            page = await self.cluster.request("GET", self._path, query=query, decode=_pod_list)
            for pod in page.items or ():
                listed.add(pod["metadata"]["name"])
                self._learn(pod)
                await turn.over()
            if not page.metadata.get("continue"):
                break
            query["continue"] = page.metadata["continue"]
        for name in self._pods.keys() - listed:
            if name in self._feeds:
                await self.look_up(name)
            else:
                self._forget(name)
        self._version = page.metadata["resourceVersion"]

    async def _watch(self) -> None:
        """Take in what changes, until the API server ends the response."""
        serve = max(1, round(self.timing.serve * random.uniform(0.9, 1.1)))
        query = {
            "labelSelector": "=".join(LABEL),
            "watch": True,
            "allowWatchBookmarks": True,
            "resourceVersion": self._version,
            "timeoutSeconds": serve,
        }
        began = time.monotonic()
        idle = serve + self.timing.grace
        async with self.cluster.stream(self._path, query=query, idle=idle, answer=self.timing.answer) as chunks:
            self.in_sync = True
            self.refusal = None
            lines, turn = _Lines(), _Turn()
            async for chunk in chunks:
                for line in lines.add(chunk):
                    await self._take(line)
                    await turn.over()
        if time.monotonic() - began < 0.5:
            raise ConnectionError("the API server ended it at once")
        self._recovered()

    async def _take(self, line: bytes) -> None:
        event = _event(line)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object)
            self._version = None
            raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
        pod = _pod(event.object)
        version = pod["metadata"]["resourceVersion"]
        if event.type != "BOOKMARK":
            name = pod["metadata"]["name"]
            known = self._pods.get(name)
            if known and int(version) <= int(known["metadata"]["resourceVersion"]):
                pass  # it was asked for, and is known as it is later
            elif event.type != "DELETED":
                self._learn(pod)
            elif name in self._feeds and not pod["metadata"].get("deletionTimestamp"):
                await self.look_up(name)  # gone, or it has only lost the label
            else:
                self._forget(name, pod)
        self._version = version
        self._recovered()

    def _learn(self, pod: Pod) -> None:
        name = pod["metadata"]["name"]
        known = self._pods.pop(name, None)
        self._pods[name] = pod
        if known and known["metadata"]["resourceVersion"] == pod["metadata"]["resourceVersion"]:
            return
        for feed in self._feeds.get(name, ()):
            feed.put(pod)
        if len(self._pods) > len(self._feeds) + UNFOLLOWED:
            del self._pods[next(name for name in self._pods if name not in self._feeds)]

    def _forget(self, name: str, last: Pod | None = None) -> None:
        known = self._pods.pop(name, None)
        last = last or known
        # One that was not asked to go may only have lost the label.
        if last and last["metadata"].get("deletionTimestamp"):
            self._gone[last["metadata"]["uid"]] = last
            if len(self._gone) > UNFOLLOWED:
                del self._gone[next(iter(self._gone))]
        for feed in self._feeds.get(name, ()):
            feed.put(None, last)

    def _failed(self, error: Exception) -> float:
        """Take note of what went wrong, say it once; the seconds to wait before the next try."""
        self.in_sync = False
        status = error.status if isinstance(error, ApiError) else None
        expected = isinstance(error, ApiError | aiohttp.ClientError | OSError | msgspec.MsgspecError)
        if not expected:
            log.exception("The watch of %s has failed; it starts anew.", self, exc_info=error)
        if status == 410 or not expected or isinstance(error, msgspec.MsgspecError):
            self._version = None
        outage = self._outage = self._outage or _Outage()
        outage.tries += 1
        if not outage.said and (status != 410 or outage.tries > 1):
            outage.said = True
            log.warning("The watch of %s is interrupted; it is tried again. %s", self, self._describe(error))
            tags = {"namespace": self.namespace, "status": str(status or "none")}
            stats.incr(metrics.WATCH_INTERRUPTED, tags=tags)
        if status and 400 <= status < 500 and status not in (408, 410, 429):
            outage.refused = outage.refused or time.monotonic()
            if time.monotonic() - outage.refused >= self.timing.patience:
                self.refusal = ApiError(status, error.reason, self._describe(error))
                for feeds in self._feeds.values():
                    for feed in feeds:
                        feed.wake()
        return min(self.timing.pause, 0.25 * 2 ** min(outage.tries - 1, 10)) * random.uniform(0.5, 1)

    def _recovered(self) -> None:
        if self._outage and self._outage.said:
            log.info("The watch of %s is back.", self)
        self._outage = None

    def _describe(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "There was no answer in time."
        if not isinstance(error, ApiError):
            return str(error) or type(error).__name__
        advice = {
            401: f"Check the credentials of the connection {self.cluster.ref.conn_id!r} or of the service account.",
            403: f"Allow this account to get, list and watch pods in the namespace {self.namespace}.",
        }
        return f"{error} {advice.get(error.status, '')}".strip()


class Feed:
    """What one follower is told of its pod; `PodWatch.follow` gives one."""

    def __init__(self, watch: PodWatch, name: str, pod: Pod | None) -> None:
        #: The pod as it was last known. When it is gone: as it was at its end, if that was seen.
        self.last = pod
        self._watch = watch
        self._name = name
        self._state = pod
        self._news = pod is not None
        self._woken = asyncio.Event()
        self._ask_at = None if self._news else self._later()

    async def next(self, timeout: float | None = None) -> Pod | None:
        """The pod in a newer state than returned last, waiting for one; at first as it is known now.

        None: there is no such pod. It was deleted, or was never there. A pod of that name may come again, with
        another ``uid``; the next call waits for it. States between two calls are skipped, but for the latest.

        :param timeout: seconds

        Raises:
            TimeoutError: there was none in that time.
            ApiError: the API server has refused the watch for a minute (see `Timing`), and there is nothing newer.
                The watch goes on trying; the next call may be answered.
        """
        async with asyncio.timeout(timeout):
            while not self._news:
                if refusal := self._watch.refusal:
                    raise ApiError(*refusal.args)
                try:
                    async with asyncio.timeout_at(self._ask_at):
                        await self._woken.wait()
                except TimeoutError:
                    # The watch does not show it yet, or cannot: it lacks the label.
                    self._ask_at = self._later()
                    self._watch.ask(self._name)
                self._woken.clear()
        self._news = False
        return self._state

    def put(self, pod: Pod | None, last: Pod | None = None) -> None:
        """Tell the follower: the pod's new state, or None, and how it was in the end."""
        self._state = pod
        self._news = True
        self.last = pod or last or self.last
        self._ask_at = self._later() if pod and not _has_label(pod) else None
        self.wake()

    def wake(self) -> None:
        """Let the follower look whether there is news, or a refusal."""
        self._woken.set()

    def _later(self) -> float:
        return asyncio.get_running_loop().time() + self._watch.timing.lag


@dataclass
class _Outage:
    """A time without the watch: tries since it began, when it was first refused, whether that has been said."""

    tries: int = 0
    refused: float | None = None
    said: bool = False


class _Turn:
    """Lets other tasks run when this one has had its `TURN`."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def over(self) -> None:
        if time.monotonic() - self._began > TURN:
            await asyncio.sleep(0)
            self._began = time.monotonic()


class _Lines:
    """Puts lines together from pieces."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> list[bytes]:
        """The lines that the piece completes.

        Raises:
            ConnectionError: a line is longer than `EVENT`.
        """
        first, *more = chunk.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > EVENT:
            raise ConnectionError(f"an event has more than {EVENT} bytes")
        if not more:
            return []
        lines = [b"".join(self._parts), *more[:-1]]
        self._parts, self._size = [more[-1]], len(more[-1])
        return [line for line in lines if line]


def _has_label(pod: Pod) -> bool:
    key, value = LABEL
    return (pod["metadata"].get("labels") or {}).get(key) == value
