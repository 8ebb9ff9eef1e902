"""The nodes of a cluster, as far as this account may list them: one answer serves all triggers for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, TypedDict
from weakref import WeakKeyDictionary

import aiohttp
import msgspec

from airflow_platform.cluster import ApiError, Cluster

log = logging.getLogger(__name__)

#: Seconds for which an answer serves; and for how long nothing is asked after one that was an error.
_KEEP, _REST = 30, 300
#: Nodes that a page of the list has at most.
_PAGE = 500


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
    """A node as the API has it, less what no diagnosis needs."""

    metadata: Metadata
    spec: Spec
    status: Status


class _NodeList(msgspec.Struct):
    metadata: dict[str, Any]
    items: list[Node] | None


_node_list = msgspec.json.Decoder(_NodeList).decode


class _Known:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        #: When it was asked last, in seconds since the epoch; until when the answer serves, by the monotonic clock.
        self.asked = 0.0
        self.until = 0.0
        self.refused = False
        self.asking = asyncio.Lock()


_known: WeakKeyDictionary[Cluster, _Known] = WeakKeyDictionary()


async def of(cluster: Cluster, since: float = 0) -> list[Node]:
    """All nodes of a cluster, as they were half a minute ago or later; none where they cannot be listed, which is said
    once.

    Args:
        since: seconds since the epoch; an answer from before is asked for anew.
    """
    known = _known.setdefault(cluster, _Known())
    async with known.asking:
        if time.monotonic() >= known.until or (known.asked < since and not known.refused):
            known.asked = time.time()
            try:
                known.nodes, known.refused = await _list(cluster), False
                known.until = time.monotonic() + _KEEP
            except (ApiError, aiohttp.ClientError, OSError) as error:
                if not known.refused:
                    log.warning(
                        "The nodes of %s cannot be listed, so less is known of pods that wait: %s", cluster, error
                    )
                known.nodes, known.refused = [], True
                known.until = time.monotonic() + _REST
    return known.nodes


async def _list(cluster: Cluster) -> list[Node]:
    found: list[Node] = []
    query: dict[str, Any] = {"limit": _PAGE}
    while True:
        page = await cluster.request("GET", "/api/v1/nodes", query=query, decode=_node_list)
        found += page.items or ()
        if not page.metadata.get("continue"):
            return found
        query["continue"] = page.metadata["continue"]
