"""The pods of tasks in one cluster, counted for all that ask within a few seconds."""

from __future__ import annotations

import logging
import time
from typing import TypeVar
from weakref import WeakKeyDictionary

import aiohttp

from airflow_platform.cluster import ApiError, Cluster
from airflow_platform.diagnosis import Crowd
from airflow_platform.watch import LABEL, Pod

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for which it is not counted again.
_KEEP = 5
#: Pods that have ended hold nothing, and wait for nothing. From the API server's memory, as of a moment ago.
_QUERY = {
    "labelSelector": "=".join(LABEL),
    "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed",
    "resourceVersion": "0",
}

#: By cluster and, where there is no watch, by namespace: until when, and the pods.
_counted: WeakKeyDictionary[Cluster, dict[str, tuple[float, Crowd | None]]] = WeakKeyDictionary()


async def listed(cluster: Cluster, namespace: str, of: type[T] = Pod) -> list[T]:
    """The pods of tasks in a namespace that have not ended, for a process that does not watch them.

    Args:
        cluster, namespace: where they are.
        of: what is kept of each.

    Raises:
        ApiError, aiohttp.ClientError, TimeoutError: as `Cluster.request`.
    """
    return await cluster.items(f"/api/v1/namespaces/{namespace}/pods", of=of, query=_QUERY)


async def of(cluster: Cluster, namespace: str) -> Crowd | None:
    """The pods of tasks, not older than a few seconds; None where they are not known.

    As this process watches them, in all namespaces that it does; where it watches none, those of ``namespace``, listed.
    """
    known = _counted.setdefault(cluster, {})
    key = "" if cluster.watches else namespace
    until, found = known.get(key, (0.0, None))
    if time.monotonic() >= until:
        try:
            pods = [pod for watch in cluster.watches.values() for pod in watch.pods()]
            if not cluster.watches:
                pods = await listed(cluster, namespace)
            found = Crowd(pods)
        except (ApiError, aiohttp.ClientError, OSError, ValueError) as error:
            log.debug("The pods of tasks in %s cannot be counted: %s", cluster, error)
            found = None
        known[key] = time.monotonic() + _KEEP, found
    return found
