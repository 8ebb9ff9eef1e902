"""Every pod of a namespace, seen through one watch: how many there were, how many at once, when each ran.

record = PodRecord(client, "support")
record.start()
…
record.stop()
record.most_at_once(dag_id="report"), [pod.name for pod in record.pods(dag_id="report")]
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import urllib3
from kubernetes.client import ApiClient, ApiException, CoreV1Api
from kubernetes.watch.watch import iter_resp_lines

#: Phases that a pod does not leave.
TERMINATED = ("Succeeded", "Failed")
#: Seconds after which the API server ends a watch, and the next one begins where it ended.
_WATCH_SECONDS = 300


@dataclass(frozen=True)
class PodEvent:
    """A change of a pod as it came: ``received`` in seconds since the epoch, ``type`` ADDED, MODIFIED or DELETED.

    ``relisted``: the watch had missed it; a new list told it, later than it was.
    """

    received: float
    type: str
    uid: str
    phase: str
    relisted: bool = False


@dataclass
class Pod:
    """One pod, from its first event to its last; ``manifest`` is the newest state, as the API's JSON.

    ``states`` are all of them, one for each of ``events``, where the record keeps them.
    """

    uid: str
    manifest: dict[str, Any]
    events: list[PodEvent] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name; a later pod may have the same."""
        return self.manifest["metadata"]["name"]

    @property
    def labels(self) -> dict[str, str]:
        """Labels."""
        return self.manifest["metadata"].get("labels") or {}

    @property
    def phase(self) -> str:
        """Last phase seen."""
        return self.manifest.get("status", {}).get("phase", "")

    @property
    def created(self) -> datetime:
        """When the API server stored it, in whole seconds."""
        return _time(self.manifest["metadata"]["creationTimestamp"])

    @property
    def first_seen(self) -> float:
        """When its first event was received, in seconds since the epoch."""
        return self.events[0].received

    @property
    def deleted(self) -> float | None:
        """When its DELETED was received, in seconds since the epoch; None while it is there."""
        last = self.events[-1]
        return last.received if last.type == "DELETED" else None

    @property
    def terminated(self) -> float | None:
        """When it was first seen in a final phase, or gone, in seconds since the epoch."""
        return next((one.received for one in self.events if one.phase in TERMINATED or one.type == "DELETED"), None)

    def container(self, name: str = "base") -> dict[str, Any]:
        """The status of a container or init container; empty where none is known yet."""
        status = self.manifest.get("status", {})
        every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        return next((one for one in every if one["name"] == name), {})

    def started(self, name: str = "base") -> datetime | None:
        """When a container began to run, in whole seconds."""
        state = self.container(name).get("state", {})
        return _time((state.get("running") or state.get("terminated") or {}).get("startedAt"))

    def finished(self, name: str = "base") -> datetime | None:
        """When a container ended, in whole seconds."""
        return _time(self.container(name).get("state", {}).get("terminated", {}).get("finishedAt"))


class PodRecord:
    """The pods of a namespace between `start` and `stop`, with none left out.

    Nothing that is created after `start` returned is missed. A watch that breaks goes on from its last resource
    version; where that is too old (410) a new list tells what is there and what is gone. Only a pod that came and went
    in between would be missed then, and `gaps` counts how often that could have been.

    :param client: of the cluster; it is used from a thread of its own.
    :param selector: a label selector, where not all pods are wanted.
    :param states: whether each pod's earlier states are kept, too.
    """

    def __init__(self, client: ApiClient, namespace: str, selector: str = "", *, states: bool = False) -> None:
        self._core = CoreV1Api(client)
        self._namespace = namespace
        self._selector = selector
        self._states = states
        self._lock = threading.Lock()
        self._pods: dict[str, Pod] = {}
        self._events: list[PodEvent] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pods of {namespace}", daemon=True)
        self._response: urllib3.HTTPResponse | None = None
        self._version = ""
        self._failure: BaseException | None = None
        #: How often the watch had to begin with a new list.
        self.gaps = 0

    def start(self) -> None:
        """List what is there, and watch from then on. :raises ApiException: the list was refused."""
        self._list()
        self._thread.start()

    def stop(self) -> None:
        """End the watch, and take in what came until now. :raises RuntimeError: the watch had failed."""
        self._stopping.set()
        while self._thread.is_alive():
            self._interrupt()
            self._thread.join(timeout=0.2)
        self._check()
        self._list()

    def __enter__(self) -> PodRecord:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def events(self) -> list[PodEvent]:
        """All events so far, in the order of the cluster's history."""
        self._check()
        with self._lock:
            return list(self._events)

    def pods(self, where: Callable[[Pod], bool] | None = None, **labels: str) -> list[Pod]:
        """Pods ever seen that have these labels, and for which ``where`` holds, in the order of their creation."""
        self._check()
        with self._lock:
            every = list(self._pods.values())
        return [pod for pod in every if _matches(pod, labels) and (where is None or where(pod))]

    def most_at_once(self, where: Callable[[Pod], bool] | None = None, **labels: str) -> int:
        """The largest number of these pods that were there at the same time and in no final phase."""
        wanted = {pod.uid for pod in self.pods(where, **labels)}
        alive: set[str] = set()
        most = 0
        for event in self.events:
            if event.uid not in wanted:
                continue
            if event.type == "DELETED" or event.phase in TERMINATED:
                alive.discard(event.uid)
            else:
                alive.add(event.uid)
            most = max(most, len(alive))
        return most

    def _check(self) -> None:
        if self._failure is not None:
            raise RuntimeError(f"the record of {self._namespace} is not complete") from self._failure

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._watch()
                except _TooOld:
                    self.gaps += 1
                    self._list_again()
                except (ApiException, urllib3.exceptions.HTTPError, OSError):
                    # The API server is away, or the connection broke: on from the last version that came.
                    self._stopping.wait(0.5)
        except BaseException as error:
            self._failure = error

    def _watch(self) -> None:
        try:
            self._response = self._core.list_namespaced_pod(
                self._namespace,
                label_selector=self._selector,
                watch=True,
                resource_version=self._version,
                allow_watch_bookmarks=True,
                timeout_seconds=_WATCH_SECONDS,
                _preload_content=False,
                _request_timeout=(10, _WATCH_SECONDS + 30),
            )
        except ApiException as error:
            if error.status == 410:
                raise _TooOld from None
            raise
        try:
            for line in _lines(self._response):
                change = json.loads(line)
                if change["type"] == "ERROR":
                    if change["object"].get("code") == 410:
                        raise _TooOld
                    raise ApiException(status=change["object"].get("code"), reason=change["object"].get("message"))
                self._version = change["object"]["metadata"]["resourceVersion"]
                if change["type"] != "BOOKMARK":
                    self._take(change["type"], change["object"])
        finally:
            response, self._response = self._response, None
            response.close()

    def _interrupt(self) -> None:
        """Wake the thread that waits for the next event."""
        response = self._response
        if response is not None:
            # It may just have ended by itself.
            with contextlib.suppress(ValueError, OSError):
                response.shutdown()

    def _list_again(self) -> None:
        try:
            self._list()
        except (ApiException, urllib3.exceptions.HTTPError, OSError):
            self._stopping.wait(0.5)

    def _list(self) -> None:
        """Bring the record to what the cluster holds now."""
        answer = self._core.list_namespaced_pod(
            self._namespace, label_selector=self._selector, _preload_content=False, _request_timeout=(10, 60)
        )
        found = json.loads(answer.data)
        there = {item["metadata"]["uid"]: item for item in found["items"]}
        for uid, item in sorted(there.items(), key=lambda one: one[1]["metadata"]["creationTimestamp"]):
            known = self._pods.get(uid)
            if known is None:
                self._take("ADDED", item, relisted=True)
            elif known.manifest["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._take("MODIFIED", item, relisted=True)
        for uid, pod in list(self._pods.items()):
            if uid not in there and pod.deleted is None:
                self._take("DELETED", pod.manifest, relisted=True)
        self._version = found["metadata"]["resourceVersion"]

    def _take(self, kind: str, manifest: dict[str, Any], relisted: bool = False) -> None:
        uid = manifest["metadata"]["uid"]
        phase = manifest.get("status", {}).get("phase", "")
        event = PodEvent(time.time(), kind, uid, phase, relisted)
        with self._lock:
            pod = self._pods.setdefault(uid, Pod(uid, manifest))
            pod.manifest = manifest
            pod.events.append(event)
            self._events.append(event)
            if self._states:
                pod.states.append(manifest)


class _TooOld(Exception):
    """The resource version is no longer in the API server's history."""


def _lines(response: urllib3.HTTPResponse) -> Iterator[str]:
    return (line for line in iter_resp_lines(response) if line)


def _matches(pod: Pod, labels: dict[str, str]) -> bool:
    return all(pod.labels.get(name) == value for name, value in labels.items())


def _time(text: str | None) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc) if text else None
