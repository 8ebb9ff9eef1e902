"""Transient faults: what passes by itself, or what another pod puts right. A DAG is to recover from all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_platform.testing.script import PodScript


@dataclass(frozen=True)
class Fault:
    """A fault of one pod.

    Args:
        name: what a report calls it.
        befalls: says it of a script.
        ends: whether the pod does not do its work, so that another one has to.
    """

    name: str
    befalls: Callable[[PodScript], PodScript] = field(repr=False)
    ends: bool = False


#: Each of the transient faults that the platform knows, by who causes them: node and cluster, registry, API server,
#: the platform itself, and the task.
every_transient_fault: tuple[Fault, ...] = (
    Fault("node drained", PodScript.is_drained, ends=True),
    Fault("preempted", PodScript.is_preempted, ends=True),
    Fault("evicted", PodScript.is_evicted, ends=True),
    Fault("node lost", PodScript.loses_its_node, ends=True),
    Fault("node lost for good", PodScript.loses_its_node_for_good, ends=True),
    Fault("node shut down", PodScript.is_shut_down, ends=True),
    Fault("deleted while it worked", PodScript.is_deleted, ends=True),
    Fault("deleted before it started", PodScript.is_deleted_before_it_starts, ends=True),
    Fault("no node", PodScript.waits_for_node),
    Fault("registry away", PodScript.waits_for_registry),
    Fault("API server busy", PodScript.is_refused),
    Fault("quota full", PodScript.waits_for_quota),
    Fault("watch lost", PodScript.loses_its_watch),
    Fault("triggerer lost", PodScript.loses_its_triggerer),
    Fault("failed try", lambda script: script.exits(1), ends=True),
)
