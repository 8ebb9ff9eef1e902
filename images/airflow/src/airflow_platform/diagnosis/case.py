"""What is known of one pod, as the rules ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_platform.diagnosis.crowd import Crowd

#: Seconds for which a fault that may heal must have been seen before it is final. Kubelet pulls an image anew after
#: 10 s and after 20 s (pkg/kubelet/kubelet.go, ``imageBackOffPeriod``): within 30 s it has been refused twice.
LASTING = 30
#: Seconds in which kubelet has removed a pod's object once its containers have ended.
_REMOVED = 60

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One pod at one time; the arguments are `airflow_platform.diagnosis.diagnose`'s."""

    pod: Json
    base: str
    events: Sequence[Json]
    nodes: Sequence[Json]
    quotas: Sequence[Json]
    crowd: Crowd | None
    workload: Json | None
    now: float
    deleted: bool

    @property
    def metadata(self) -> Json:
        return self.pod.get("metadata") or {}

    @property
    def spec(self) -> Json:
        return self.pod.get("spec") or {}

    @property
    def status(self) -> Json:
        return self.pod.get("status") or {}

    @property
    def name(self) -> str:
        return self.metadata.get("name") or "of the task"

    @property
    def namespace(self) -> str:
        return self.metadata.get("namespace") or "of the task"

    @property
    def phase(self) -> str:
        return self.status.get("phase") or "Pending"

    @property
    def node_name(self) -> str | None:
        return self.spec.get("nodeName")

    @property
    def node(self) -> Json | None:
        """The node that the pod was given; None where it has none or the node is not known."""
        found = (one for one in self.nodes if (one.get("metadata") or {}).get("name") == self.node_name)
        return next(found, None) if self.node_name else None

    @property
    def created(self) -> float | None:
        return seconds(self.metadata.get("creationTimestamp"))

    @property
    def deletion_asked(self) -> float | None:
        """When the pod was asked to stop; ``deletionTimestamp`` is when its grace period is over."""
        until = seconds(self.metadata.get("deletionTimestamp"))
        return None if until is None else until - (self.metadata.get("deletionGracePeriodSeconds") or 0)

    @property
    def ended_of_deletion(self) -> bool:
        """Whether a pod whose object goes was told to stop before it ended.

        Kubelet removes the object at the end with a grace period of 0, by which ``deletionTimestamp`` becomes that
        time, later than the containers' ends. But the status that it gave has the generation that the deletion made
        (``observedGeneration``, Kubernetes 1.34): a pod that had ended by itself has an older one.
        """
        until, finished = seconds(self.metadata.get("deletionTimestamp")), self.finished
        if until is None or finished is None or self.metadata.get("deletionGracePeriodSeconds") != 0:
            return False
        generation, observed = self.metadata.get("generation") or 0, self.status.get("observedGeneration") or 0
        return observed >= generation > 1 and until - finished < _REMOVED

    @cached_property
    def statuses(self) -> list[Json]:
        """Of all containers, in the order in which they start."""
        return [
            *(self.status.get("initContainerStatuses") or []),
            *(self.status.get("containerStatuses") or []),
        ]

    @property
    def base_end(self) -> Json | None:
        """How the base container ended; None where it has not."""
        found = next((one for one in self.statuses if one["name"] == self.base), {})
        return (found.get("state") or {}).get("terminated")

    @property
    def finished(self) -> float | None:
        """When the last of the containers that have ended did so."""
        ends = [(one.get("state") or {}).get("terminated") or {} for one in self.statuses]
        return max((at for end in ends if (at := seconds(end.get("finishedAt"))) is not None), default=None)

    @property
    def base_runs(self) -> bool:
        """Whether the base container is at work: then no fault of another container stops the task."""
        return any(one["name"] == self.base and "running" in (one.get("state") or {}) for one in self.statuses)

    @property
    def ever_ran(self) -> bool:
        """Whether a container of the pod may have been created."""
        return self.phase == "Running" or any(one.get("containerID") for one in self.statuses)

    def container(self, name: str) -> Json:
        """The container's part of the spec; empty where it is not known."""
        both = [*(self.spec.get("initContainers") or []), *(self.spec.get("containers") or [])]
        return next((one for one in both if one.get("name") == name), {})

    def is_init(self, name: str) -> bool:
        return any(one.get("name") == name for one in self.spec.get("initContainers") or [])

    def is_sidecar(self, name: str) -> bool:
        """Whether it is an init container that runs beside the others."""
        return self.is_init(name) and self.container(name).get("restartPolicy") == "Always"

    def restarts(self, name: str) -> bool:
        """Whether kubelet starts the container again after it has failed."""
        policy = self.container(name).get("restartPolicy") or self.spec.get("restartPolicy") or "Always"
        return policy != "Never" and self.phase not in ("Succeeded", "Failed")

    def condition(self, kind: str) -> Json:
        return next((one for one in self.status.get("conditions") or [] if one.get("type") == kind), {})

    @cached_property
    def own_events(self) -> list[Json]:
        """The pod's events, the oldest first. One of another pod of the same name is left out."""
        uid = self.metadata.get("uid")

        def mine(event: Json) -> bool:
            of = (event.get("involvedObject") or {}).get("uid")
            return not uid or not of or of == uid

        return sorted((one for one in self.events if mine(one)), key=lambda one: last_seen(one) or 0)

    def said(self, *reasons: str, text: str = "") -> Iterator[Json]:
        """The pod's events of one of these reasons whose message has this text."""
        return (one for one in self.own_events if one.get("reason") in reasons and text in (one.get("message") or ""))

    def lasts(self, since: float | None) -> bool:
        """Whether a fault that was seen first then is no longer one that may heal."""
        return since is not None and self.now - since >= LASTING

    def stops(self, since: float | None) -> bool:
        """Whether such a fault of a container that does not start is the end of the task."""
        return self.lasts(since) and not self.base_runs

    @property
    def starts_since(self) -> float | None:
        """Since when the next container could be starting: no fault of it is older."""
        times = [self.status.get("startTime")]
        for status in self.statuses:
            state = status.get("state") or {}
            times += [(state.get("running") or {}).get("startedAt"), (state.get("terminated") or {}).get("finishedAt")]
        for kind in ("PodReadyToStartContainers", "Initialized"):
            condition = self.condition(kind)
            if condition.get("status") == "True":
                times.append(condition.get("lastTransitionTime"))
        return max((at for one in times if (at := seconds(one)) is not None), default=None)


def first_seen(event: Json) -> float | None:
    """When an event happened first. Those of the scheduler have an ``eventTime`` and a series."""
    return seconds(
        event.get("firstTimestamp")
        or event.get("eventTime")
        or (event.get("metadata") or {}).get("creationTimestamp")
        or event.get("lastTimestamp")
    )


def last_seen(event: Json) -> float | None:
    """When an event happened last."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return seconds(event.get("lastTimestamp") or series) or first_seen(event)


def seconds(timestamp: str | None) -> float | None:
    """Seconds since the epoch; None where there is no time, or that of a container that has not run (1970)."""
    at = datetime.fromisoformat(timestamp).timestamp() if timestamp else 0
    return at if at > 0 else None
