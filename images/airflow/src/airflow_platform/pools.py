"""What the nodes of each node pool can hold; and the check of ``helm test``: ``python -m airflow_platform.pools``.

The check lists the nodes, says of each pool what it found, and ends with 1 where a pool has fewer nodes than it is to
have, none that holds the largest task that it promises, or a queue that does not work.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from airflow_platform import config, queues
from airflow_platform.config import ConfigError, NodePool
from airflow_platform.diagnosis.node import (
    TAINTS_OF_KUBERNETES,
    allocatable,
    has_labels,
    known_values,
    selector_phrase,
    untolerated,
)
from airflow_platform.diagnosis.quantity import Amounts, add, amounts, asked, phrase, together
from airflow_platform.in_cluster import Api, api_server

Json = Mapping[str, Any]

#: Nodes that a page of the list has at most.
_PAGE = 500
#: Phases of a pod that holds nothing of its node any more.
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class PoolCapacity:
    """What a pool of nodes can hold.

    Args:
        pool: the node pool.
        nodes: names of the nodes that its pods may run on: they have its labels, and no taint that it does not
            tolerate.
        unready: of these, those that take no new pod now, each with the reason.
        allocatable: what pods may ask for on all nodes that take some, together; CPUs, bytes, pieces.
        largest_node: the most of each resource that one of these nodes has.
        free: what no pod has asked for of ``allocatable``; None where the pods are not known.
        problem: what is wrong with the pool, as a sentence that says what to do; empty: nothing.
    """

    pool: NodePool
    nodes: tuple[str, ...]
    unready: Mapping[str, str]
    allocatable: Amounts
    largest_node: Amounts
    free: Amounts | None
    problem: str

    @property
    def ready(self) -> int:
        """How many nodes take new pods."""
        return len(self.nodes) - len(self.unready)

    @property
    def sentence(self) -> str:
        """All of it, for a person."""
        name = f"Pool {self.pool.name}"
        if self.problem:
            return f"{name}: {self.problem}"
        if not self.ready:
            return f"{name}: no node now, which its minNodes allows; tasks wait until one is added"
        count = f"{self.ready} node{'s' if self.ready > 1 else ''} ready"
        said = f"{name}: {count}, with {_size(self.allocatable)}"
        if self.ready > 1:
            said += f", at most {_size(self.largest_node)} on one"
        if self.free is not None:
            said += f"; {_size(self.free)} free"
        if self.unready:
            said += f"; not ready: {_reasons(self.unready)}"
        return said


def capacity(pool: NodePool, nodes: Sequence[Json], pods: Iterable[Json] | None = None) -> PoolCapacity:
    """What the nodes of a pool can hold.

    Args:
        pool: the node pool.
        nodes: all nodes of the cluster, as the API gives them.
        pods: all pods of the cluster, in whatever namespace; None: they are not known.
    """
    labelled = [one for one in nodes if has_labels(one, {"nodeSelector": pool.node_selector})]
    taints = {_name(one): _taints(pool, one) for one in labelled}
    own = [one for one in labelled if not taints[_name(one)]]
    unready = {_name(one): reason for one in own if (reason := _unready(pool, one))}
    ready = [one for one in own if _name(one) not in unready]
    sizes = [allocatable(one) for one in ready]
    total = _sum(sizes)
    return PoolCapacity(
        pool=pool,
        nodes=tuple(_name(one) for one in own),
        unready=unready,
        allocatable=total,
        largest_node={name: max(size.get(name, Decimal(0)) for size in sizes) for name in total},
        free=None if pods is None else _free(total, {_name(one) for one in ready}, pods),
        problem=_none_labelled(pool, nodes, labelled)
        or _all_tainted(pool, own, taints)
        or _too_few(pool, len(ready), unready)
        or _too_small(pool, [allocatable(one) for one in own]),
    )


def _none_labelled(pool: NodePool, nodes: Sequence[Json], labelled: Sequence[Json]) -> str:
    if labelled or not pool.min_nodes:
        return ""
    wanted = selector_phrase(pool.node_selector)
    if not wanted:
        return "the cluster has no node; add one"
    return (
        f"no node has label {wanted}{known_values(nodes, pool.node_selector)}; label one "
        f"(kubectl label node NAME {wanted.replace(',', '')}), or correct the pool's nodeSelector under nodePools"
    )


def _all_tainted(pool: NodePool, own: Sequence[Json], taints: Mapping[str, set[str]]) -> str:
    if own or not pool.min_nodes:
        return ""
    found = ", ".join(sorted(set().union(*taints.values())))
    return (
        f"every node{_with_label(pool)} is reserved (taint {found}), and the pool does not tolerate that; add the "
        "toleration to the pool under nodePools, or take the taint off a node"
    )


def _too_few(pool: NodePool, ready: int, unready: Mapping[str, str]) -> str:
    if ready >= pool.min_nodes:
        return ""
    reasons = f" (not ready: {_reasons(unready)})" if unready else ""
    if not ready:
        return f"none of its nodes takes a pod now{reasons}; whoever runs the cluster must look at them"
    return f"{ready} of its nodes take pods, and its minNodes is {pool.min_nodes}{reasons}; add nodes, or lower it"


def _too_small(pool: NodePool, sizes: Sequence[Amounts]) -> str:
    largest = amounts(pool.largest)
    if not sizes or any(all(amount <= size.get(name, 0) for name, amount in largest.items()) for size in sizes):
        return ""
    for name, amount in largest.items():
        most = max(size.get(name, Decimal(0)) for size in sizes)
        if amount > most:
            what = f"lets a task ask for {phrase(name, amount)}, and its largest node has {phrase(name, most)}"
            break
    else:
        what = f"lets a task ask for {together(largest)}, and no node has all of that"
    return f"{what}: such a task would never run; lower `largest` of the pool under nodePools, or add a larger node"


def _taints(pool: NodePool, node: Json) -> set[str]:
    """The taints that keep the pool's pods from a node for good."""
    tolerations = [one.model_dump(by_alias=True, exclude_none=True) for one in pool.tolerations]
    return {
        f"{one['key']}{'=' if one.get('value') else ''}{one.get('value') or ''}:{one['effect']}"
        for one in untolerated(node, tolerations)
        if not one["key"].startswith(TAINTS_OF_KUBERNETES)
    }


def _unready(pool: NodePool, node: Json) -> str:
    """Why a node takes no new pod for now; empty: it does."""
    conditions = (node.get("status") or {}).get("conditions") or []
    if not any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
        return "not ready"
    if (node.get("spec") or {}).get("unschedulable"):
        return "closed to new pods"
    tolerations = [one.model_dump(by_alias=True, exclude_none=True) for one in pool.tolerations]
    passing = [one["key"].removeprefix(TAINTS_OF_KUBERNETES) for one in untolerated(node, tolerations)]
    return ", ".join(passing)


def _free(total: Amounts, ready: set[str], pods: Iterable[Json]) -> Amounts:
    taken = _sum(
        asked(one)
        for one in pods
        if (one.get("spec") or {}).get("nodeName") in ready and (one.get("status") or {}).get("phase") not in _ENDED
    )
    return {name: max(amount - taken.get(name, Decimal(0)), Decimal(0)) for name, amount in total.items()}


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        add(total, part)
    return total


def _size(amounts: Amounts) -> str:
    """Processors, memory and devices; disk and the number of pods matter to no one here."""
    told = {name: amount for name, amount in amounts.items() if name in ("cpu", "memory") or ("/" in name and amount)}
    return together(told)


def _with_label(pool: NodePool) -> str:
    return f" with label {selector_phrase(pool.node_selector)}" if pool.node_selector else ""


def _reasons(unready: Mapping[str, str]) -> str:
    return "; ".join(f"{name}, {reason}" for name, reason in sorted(unready.items()))


def _name(node: Json) -> str:
    return node["metadata"]["name"]


def list_nodes(api: Api) -> list[Json]:
    """All nodes of the cluster.

    Raises:
        RuntimeError: the API server refused; the message is its own.
    """
    found: list[Json] = []
    query: dict[str, Any] = {"limit": _PAGE}
    while True:
        status, answer = api("GET", f"/api/v1/nodes?{urlencode(query)}", None, "application/json")
        if status != 200:
            reason = answer.get("message", "no message")
            raise RuntimeError(f"The nodes cannot be listed: the API server answered {status}: {reason}")
        found += answer.get("items") or ()
        query["continue"] = (answer.get("metadata") or {}).get("continue")
        if not query["continue"]:
            return found


def main() -> None:
    """Say of each node pool what its nodes can hold, and what is wrong with its queues."""
    try:
        platform = config.load()
        pools = platform.node_pools
        api = api_server() if pools else None
        nodes = list_nodes(api) if api else []
        wrong = queues.problems(platform, api) if api else []
    except (ConfigError, RuntimeError, OSError) as error:
        sys.exit(str(error))
    found = [capacity(pool, nodes) for pool in pools]
    for sentence in [*(one.sentence for one in found), *wrong]:
        print(sentence)
    if wrong or any(one.problem for one in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
