"""The nodes of a cluster, and what their pods ask for, as far as this account may list them: one answer serves all
triggers for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, TypedDict
from weakref import WeakKeyDictionary

import aiohttp

from airflow_platform.cluster import ApiError, Cluster
from airflow_platform.diagnosis.quantity import Amounts, add, asked

log = logging.getLogger(__name__)

#: Seconds for which an answer serves; and for how long nothing is asked after one that was an error.
_KEEP, _REST = 30, 300
#: An answer serves longer where it took long: so many times that.
_SHARE = 20
#: Of all pods, those that hold something of a node.
_HOLDING = {"fieldSelector": "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"}

#: What the cluster answers that cannot be asked, or does not let itself be.
_NO_ANSWER = (ApiError, aiohttp.ClientError, OSError)


class Metadata(TypedDict, total=False):
    name: str
    labels: dict[str, str] | None


class Spec(TypedDict, total=False):
    unschedulable: bool | None
    taints: list[dict[str, Any]] | None


class Status(TypedDict, total=False):
    allocatable: dict[str, str] | None
    conditions: list[dict[str, Any]] | None


class Node(TypedDict, total=False):
    """A node as the API has it, less what no diagnosis needs.

    ``requested`` is not the API's: what all pods that it has ask for, where this account may list them.
    """

    metadata: Metadata
    spec: Spec
    status: Status
    requested: dict[str, str]


class _Container(TypedDict, total=False):
    resources: dict[str, Any] | None
    restartPolicy: str | None


class _PodSpec(TypedDict, total=False):
    nodeName: str | None
    containers: list[_Container] | None
    initContainers: list[_Container] | None
    resources: dict[str, Any] | None
    overhead: dict[str, str] | None


class _Pod(TypedDict, total=False):
    spec: _PodSpec


class _Known:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        #: When it was asked last, in seconds since the epoch; until when the answer serves, by the monotonic clock.
        self.asked = 0.0
        self.until = 0.0
        self.refused = False
        #: Until when the pods are not asked for, where they may not be listed.
        self.pods_refused = 0.0
        self.asking = asyncio.Lock()


_known: WeakKeyDictionary[Cluster, _Known] = WeakKeyDictionary()


async def of(cluster: Cluster, since: float = 0) -> list[Node]:
    """All nodes of a cluster, as they were half a minute ago or later; none where they cannot be listed, which is said
    once.

    Args:
        since: seconds since the epoch; an answer from before is asked for anew.
    """
    known = _known.setdefault(cluster, _Known())
    if known.nodes and known.asking.locked() and not since:
        return known.nodes  # whoever asks now does not hold up the others
    async with known.asking:
        began = time.monotonic()
        if began >= known.until or (known.asked < since and not known.refused):
            known.asked = time.time()
            try:
                known.nodes, known.refused = await cluster.items("/api/v1/nodes", of=Node), False
                await _note_requests(cluster, known)
                known.until = time.monotonic() + max(_KEEP, _SHARE * (time.monotonic() - began))
            except _NO_ANSWER as error:
                if not known.refused:
                    log.warning(
                        "The nodes of %s cannot be listed, so less is known of pods that wait: %s", cluster, error
                    )
                known.nodes, known.refused = [], True
                known.until = time.monotonic() + _REST
    return known.nodes


async def _note_requests(cluster: Cluster, known: _Known) -> None:
    """Note on each node what its pods ask for; on none, where not all pods may be listed."""
    if time.monotonic() < known.pods_refused:
        return
    try:
        pods = await cluster.items("/api/v1/pods", of=_Pod, query=_HOLDING)
        taken: dict[str, Amounts] = {}
        for pod in pods:
            add(taken.setdefault(pod["spec"]["nodeName"], {}), asked(pod))
    except (*_NO_ANSWER, ValueError) as error:
        if not known.pods_refused:
            log.info("What is free on the nodes of %s is not known, as its pods cannot be listed: %s", cluster, error)
        known.pods_refused = time.monotonic() + _REST
        return
    for node in known.nodes:
        requested = taken.get(node["metadata"]["name"], {})
        node["requested"] = {name: str(amount) for name, amount in requested.items()}
