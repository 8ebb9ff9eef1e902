"""What Kubernetes' events say of one pod, for its diagnosis and as lines of its task's log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import aiohttp
import structlog

from airflow_platform import pod_status
from airflow_platform.cluster import ApiError, Cluster

#: Seconds until a pod that has not started is slow, and after which its events are looked at; then twice as long, …
_SLOW = 10
#: … up to this.
_LONGEST = 300

log = structlog.get_logger("task")


class PodEvents:
    """Says each event once. How often it asks falls with time, and begins anew with the pod's node, so that many pods
    that wait are no burden."""

    def __init__(self, cluster: Cluster, namespace: str, mask: Callable[[str], str] = str) -> None:
        self._cluster, self._namespace, self._mask = cluster, namespace, mask
        #: As the API server had them when it was last asked, their messages masked.
        self.items: list[dict[str, Any]] = []
        self._said: set[tuple[str, str]] = set()
        self._pause = _SLOW
        self._looked = 0.0
        self._has_node = False

    def due(self, pod: dict[str, Any]) -> float | None:
        """When to look next at a pod that waits, in seconds since the epoch; None where it waits no more."""
        if pod_status.phase(pod) != "Pending":
            return None
        scheduled = pod_status.scheduled_at(pod)
        if scheduled and not self._has_node:
            # However long it waited for its node: what it waits for there is another matter.
            self._has_node, self._pause = True, _SLOW
        return max(scheduled or pod_status.created_at(pod), self._looked) + self._pause

    async def read(self, pod: dict[str, Any]) -> None:
        """Ask for the pod's events; where there is no answer, what was known stays."""
        if self._looked:
            self._pause = min(2 * self._pause, _LONGEST)
        self._looked = time.time()
        query = {"fieldSelector": f"involvedObject.uid={pod['metadata']['uid']}"}
        try:
            found = await self._cluster.request("GET", f"/api/v1/namespaces/{self._namespace}/events", query=query)
        except (ApiError, aiohttp.ClientError, OSError) as error:
            log.warning(f"Events of pod {pod['metadata']['name']} could not be read: {error}")
            return
        # Kubelet quotes a command that it cannot start.
        self.items = [{**one, "message": self._mask(one.get("message") or "")} for one in found["items"]]

    def say(self) -> None:
        """Log the events that are new."""
        for event in self.items:
            said = (event.get("reason") or "", event.get("message") or "")
            if said not in self._said:
                self._said.add(said)
                tell = log.warning if event.get("type") == "Warning" else log.info
                tell(f"Pod event: {said[0]}: {said[1]}")
