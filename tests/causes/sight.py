"""What Kubernetes shows of a task's pods, and when: from watches of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, ApiException, CoreV1Api
from kubernetes.watch import Watch
from tests.observe.pods import Pod
from urllib3.exceptions import HTTPError

Json = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """An event of Kubernetes, and when it came, in seconds since the epoch."""

    received: float
    event: Json


@dataclass(frozen=True)
class Sight:
    """The pods of one task, the first one first, with their states; the pods' events; and all nodes, as they were."""

    pods: list[Pod]
    events: list[Seen]
    nodes: Sequence[tuple[float, list[Json]]] = ()

    def states(self) -> Iterator[tuple[float, Json]]:
        """Each state of each pod, with the time at which it came."""
        for pod in self.pods:
            for change, state in zip(pod.events, pod.states, strict=True):
                yield change.received, state

    def node(self, name: str, at: float) -> list[Json]:
        """A node as it was then; none where it was not there."""
        known = next((nodes for received, nodes in reversed(self.nodes) if received <= at), [])
        return [one for one in known if one["metadata"]["name"] == name]


class NodeRecord:
    """The cluster's nodes, each time that one was seen to be another than before."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._core = CoreV1Api(client)
        self.seen: list[tuple[float, list[Json]]] = []

    def look(self) -> None:
        """Ask for them. Without an answer, nothing was seen."""
        with suppress(ApiException, HTTPError, OSError):
            found = self._client.sanitize_for_serialization(self._core.list_node(_request_timeout=5).items)
            if not self.seen or _gist(found) != _gist(self.seen[-1][1]):
                self.seen.append((time.time(), found))


def _gist(nodes: list[Json]) -> list[object]:
    """What tells one state of the nodes from another. A node that has just been made says nothing of itself yet."""
    return [
        (
            one["metadata"]["uid"],
            one["spec"],
            [(each["type"], each["status"]) for each in one["status"].get("conditions") or []],
        )
        for one in nodes
    ]


class EventRecord:
    """The events of a namespace from `start` on. A watch that ends begins again; none is counted twice."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._core = CoreV1Api(client)
        self._namespace = namespace
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], Seen] = {}
        self._watch = Watch()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"events of {namespace}", daemon=True)

    def start(self) -> None:
        """Watch from now on, with those that are there."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; what was seen stays."""
        self._over = True
        self._watch.stop()

    def of(self, pods: list[Pod]) -> list[Seen]:
        """The events of these pods, in the order in which they came: each as often as it has changed."""
        uids = {pod.uid for pod in pods}
        with self._lock:
            return [one for one in self._seen.values() if one.event["involvedObject"].get("uid") in uids]

    def _run(self) -> None:
        while not self._over:
            try:
                for change in self._watch.stream(self._core.list_namespaced_event, self._namespace, timeout_seconds=60):
                    event = change["raw_object"]
                    if change["type"] in ("ADDED", "MODIFIED"):
                        key = event["metadata"]["uid"], event["metadata"]["resourceVersion"]
                        with self._lock:
                            self._seen.setdefault(key, Seen(time.time(), event))
            except (ApiException, HTTPError, OSError):
                time.sleep(0.5)


def waiting(*reasons: str) -> Callable[[Sight], float | None]:
    """A container waits for one of these reasons."""

    def shown(sight: Sight) -> float | None:
        return _first(sight, lambda state: any(_state(one, "waiting").get("reason") in reasons for one in _all(state)))

    return shown


def pod_event(reason: str) -> Callable[[Sight], float | None]:
    """The pod has an event of this reason."""

    def shown(sight: Sight) -> float | None:
        return next((one.received for one in sight.events if one.event.get("reason") == reason), None)

    return shown


def unscheduled(sight: Sight) -> float | None:
    """The scheduler says that the pod has no node."""
    return _first(sight, lambda state: _condition(state, "PodScheduled").get("status") == "False")


def ended(sight: Sight) -> float | None:
    """The base container has ended, or an init container has failed."""

    def has_ended(state: Json) -> bool:
        base = next((one for one in _all(state) if one["name"] == "base"), {})
        failed = [one for one in _all(state) if _state(one, "terminated").get("exitCode")]
        return bool(_state(base, "terminated") or failed or state["status"].get("phase") == "Failed")

    return _first(sight, has_ended)


def taken(sight: Sight) -> float | None:
    """The pod is to stop, or was stopped, and not by its own program."""
    return _first(
        sight,
        lambda state: (
            state["metadata"].get("deletionTimestamp")
            or state["status"].get("reason")
            or _condition(state, "DisruptionTarget").get("status") == "True"
        ),
    )


def gone(sight: Sight) -> float | None:
    """The pod is no more."""
    return next((pod.deleted for pod in sight.pods if pod.deleted), None)


def _first(sight: Sight, holds: Callable[[Json], object]) -> float | None:
    return next((received for received, state in sight.states() if holds(state)), None)


def _all(state: Json) -> list[Json]:
    return [
        *(state["status"].get("initContainerStatuses") or []),
        *(state["status"].get("containerStatuses") or []),
    ]


def _state(status: Json, kind: str) -> Json:
    return (status.get("state") or {}).get(kind) or {}


def _condition(state: Json, kind: str) -> Json:
    return next((one for one in state["status"].get("conditions") or [] if one["type"] == kind), {})
