"""Worker pods of several kinds: a task says by its ``queue`` which one it runs in."""

from __future__ import annotations

from typing import Any

from airflow.configuration import conf

from airflow_platform.config import WorkerSet
from airflow_platform.policy import violation


def assign(task: Any, sets: tuple[WorkerSet, ...]) -> None:
    """Give a task that runs in a worker pod of KubernetesExecutor what its queue's pods have; a second call changes
    nothing.

    What the task's own ``pod_override`` says stays.

    Args:
        task: a task, or a mapped one, whose executor is decided; changed in place.
        sets: the platform's worker sets, one or more.

    Raises:
        AirflowClusterPolicyViolation: the queue is none of them.
    """
    default = conf.get_mandatory_value("operators", "default_queue")
    if task.queue == default or not _has_worker_pod(task):
        return
    chosen = next((one for one in sets if one.queue == task.queue), None)
    if chosen is None:
        known = ", ".join(sorted({default, *(one.queue for one in sets)}))
        raise violation(
            task,
            f"names the queue {task.queue!r}, which does not exist. Known queues: {known}. "
            "Name one of them, or add it under workers.sets in the values of the platform's chart.",
        )
    # Here, not above: it costs a DAG file a second, and most have no such task.
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    given = task.executor_config or {}
    pod = PodGenerator.reconcile_pods(PodGenerator.deserialize_model_dict(chosen.pod), given.get("pod_override"))
    executor_config = {**given, "pod_override": pod}
    if task.is_mapped:
        task.partial_kwargs["executor_config"] = executor_config
    else:
        task.executor_config = executor_config


def _has_worker_pod(task: Any) -> bool:
    executor = task.executor or conf.get_mandatory_value("core", "executor").partition(",")[0]
    return executor.strip().rpartition(".")[2] == "KubernetesExecutor"
