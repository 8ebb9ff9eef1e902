"""What is known of one pod, gathered for its diagnosis."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import structlog

from airflow_platform import nodes
from airflow_platform.cluster import ApiError, Cluster
from airflow_platform.diagnosis import Verdict, diagnose
from airflow_platform.pod_events import PodEvents

log = structlog.get_logger("task")


class Evidence:
    """Of one pod: its events, the cluster's nodes, and what of the pod the watch leaves out.

    It is asked for where the pod is slow to start, and when it has failed; a task that does well costs nothing.
    """

    def __init__(self, cluster: Cluster, namespace: str, base: str) -> None:
        self.events = PodEvents(cluster, namespace)
        self._cluster = cluster
        self._base = base
        self._nodes: list[nodes.Node] = []
        #: What the watch leaves out does not change while the pod lives.
        self._spec: dict[str, Any] = {}

    async def gather(self, pod: dict[str, Any]) -> None:
        """Ask the cluster. What it does not answer is not known; that is no error."""
        await self.events.read(pod)
        if not pod["spec"].get("nodeName"):
            self._nodes = await nodes.of(self._cluster)
            self._spec = self._spec or await self._whole_spec(pod)

    def diagnose(self, pod: dict[str, Any] | None, *, deleted: bool = False) -> Verdict | None:
        """What is wrong with the pod as it is now, by what was gathered until now; None while nothing is."""
        if pod is not None and self._spec:
            pod = {**pod, "spec": {**self._spec, **pod["spec"]}}
        try:
            return diagnose(
                pod,
                base=self._base,
                events=self.events.items,
                nodes=self._nodes if pod is not None and not pod["spec"].get("nodeName") else (),
                now=time.time(),
                deleted=deleted,
            )
        except ValueError as error:
            log.warning(f"The pod cannot be judged: {error}")
            return None

    async def _whole_spec(self, pod: dict[str, Any]) -> dict[str, Any]:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            return (await self._cluster.request("GET", path))["spec"]
        except (ApiError, aiohttp.ClientError, OSError):
            return {}
