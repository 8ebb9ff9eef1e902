"""Kueue's Workloads of a namespace: each says of one pod what its queue makes of it. One answer serves all triggers.

Where a pod stands in its queue is counted once for all of them: of a thousand that wait, each asks every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypedDict
from weakref import WeakKeyDictionary

import aiohttp

from airflow_platform.cluster import ApiError, Cluster

log = logging.getLogger(__name__)

#: Seconds for which an answer serves; and for how long nothing is asked after one that was an error.
_KEEP, _REST = 5, 300


class Metadata(TypedDict, total=False):
    name: str
    creationTimestamp: str
    ownerReferences: list[dict[str, Any]] | None


class Spec(TypedDict, total=False):
    queueName: str
    priority: int | None


class Status(TypedDict, total=False):
    conditions: list[dict[str, Any]] | None


class Standing(TypedDict):
    """Of the other pods of the queue in this namespace: how many are admitted, and how many wait before this one."""

    admitted: int
    before: int


class Workload(TypedDict, total=False):
    """A Workload as the API has it (kueue.x-k8s.io/v1beta2), less what no diagnosis needs; and where it stands."""

    metadata: Metadata
    spec: Spec
    status: Status
    standing: Standing


class _Known:
    def __init__(self) -> None:
        self.workloads: dict[str, Workload] | None = None
        self.until = 0.0
        self.refused = False
        self.asking = asyncio.Lock()


_known: WeakKeyDictionary[Cluster, dict[str, _Known]] = WeakKeyDictionary()


async def of(cluster: Cluster, namespace: str) -> dict[str, Workload] | None:
    """The Workloads of a namespace by their pods' uids, as of a few seconds ago.

    None where they cannot be listed, which is said once.
    """
    known = _known.setdefault(cluster, {}).setdefault(namespace, _Known())
    path = f"/apis/kueue.x-k8s.io/v1beta2/namespaces/{namespace}/workloads"
    async with known.asking:
        if time.monotonic() >= known.until:
            try:
                known.workloads, known.refused = by_pod(await cluster.items(path, of=Workload)), False
                known.until = time.monotonic() + _KEEP
            except (ApiError, aiohttp.ClientError, OSError) as error:
                if not known.refused:
                    log.warning(
                        "Workloads of Kueue cannot be listed in namespace %s of %s, so less is known of pods that it "
                        "holds: %s",
                        namespace,
                        cluster,
                        error,
                    )
                known.workloads, known.refused = None, True
                known.until = time.monotonic() + _REST
    return known.workloads


def by_pod(found: Iterable[Workload]) -> dict[str, Workload]:
    """Workloads by their pods' uids, each with its standing."""
    admitted: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    pods: dict[str, Workload] = {}
    for one in sorted(found, key=_order):
        queue = one["spec"].get("queueName") or ""
        one["standing"] = Standing(admitted=0, before=waiting[queue])
        for owner in one["metadata"].get("ownerReferences") or ():
            pods[owner["uid"]] = one
        true = {each["type"] for each in (one.get("status") or {}).get("conditions") or () if each["status"] == "True"}
        if "Finished" not in true:
            (admitted if "QuotaReserved" in true else waiting)[queue] += 1
    for one in pods.values():
        one["standing"]["admitted"] = admitted[one["spec"].get("queueName") or ""]
    return pods


def _order(workload: Workload) -> tuple[int, str]:
    """By which a queue admits: priority, then age."""
    return -(workload["spec"].get("priority") or 0), workload["metadata"]["creationTimestamp"]
