"""Which way a task of KubernetesPodOperator is launched, decided where its DAG is parsed.

By the launcher and the pod trigger: tasks of the stock operator and its decorators, mapped or not. By a worker pod, as
the operator comes: tasks that name an executor, that say ``executor_config={"launch": "worker"}`` (in a DAG's
``default_args``: all of it), or that need what only a process beside the pod can do. What kept a task on the old way is
a line in the log of whoever parses it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from airflow_platform import config
from airflow_platform.config import Launcher, NodePool
from airflow_platform.policy import violation

log = logging.getLogger(__name__)

#: The launcher's alias in ``[core] executor``.
EXECUTOR = "launcher"

#: Modules whose subclasses of the operator keep to what the platform relies on.
_STOCK = (
    "airflow.providers.cncf.kubernetes.operators.pod",
    "airflow.providers.cncf.kubernetes.decorators.kubernetes",
    "airflow.providers.cncf.kubernetes.decorators.kubernetes_cmd",
    "airflow_platform.operator",
)

#: What `airflow_platform.operator.PodTask` replaces, or calls as the stock operator has it.
_RELIED_ON = (
    "execute", "execute_sync", "execute_async", "invoke_defer_method", "trigger_reentry", "resume_execution",
    "find_pod", "get_or_create_pod", "await_pod_start", "await_pod_completion", "extract_xcom", "cleanup",
    "post_complete_action", "process_pod_deletion", "on_kill", "hook", "client", "pod_manager",
)  # fmt: skip

#: Arguments that are code, called while the pod runs: they cannot be sent to the triggerer.
_CODE = ("callbacks", "log_formatter", "progress_callback")

#: Arguments that name files of the worker.
_FILES = ("config_file",)

#: Arguments that do nothing for a launched task, as no process of it waits for its pod; and what they are by default.
_IDLE = {
    name: signature(KubernetesPodOperator.__init__).parameters[name].default
    for name in (
        "poll_interval", "logging_interval", "trigger_kwargs", "startup_check_interval_seconds",
        "base_container_status_polling_interval",
    )
}  # fmt: skip

#: What ``executor_config["launch"]`` may say.
_WAYS = ("trigger", "worker")

#: In ``executor_config``: how often a try is started again whose pod the infrastructure took.
_RETRIES = "infrastructure_retries"


def assign(task: Any, launcher: Launcher) -> None:
    """Give a task of the operator its executor, and the class that launches it.

    Args:
        task: a task of KubernetesPodOperator or a subclass, or a mapped one; changed in place.
        launcher: the platform's configuration.

    Raises:
        AirflowClusterPolicyViolation: the task asks for a way that does not exist, or that it cannot take.
    """
    if task.executor not in (None, EXECUTOR):
        return
    asked = _way(task)
    _check_retries(task)
    if (asked or launcher.launch) == "worker":
        return
    operator = task.operator_class if task.is_mapped else type(task)
    if reason := _old_way_because(operator, _arguments(task)):
        if asked:
            raise violation(task, f"asks for executor_config={{'launch': {asked!r}}}, and cannot have it: {reason}.")
        log.info("Task %s.%s is launched by a worker pod: %s", task.dag_id, task.task_id, reason)
        return
    from airflow_platform.operator import PodTask, pod_task

    if issubclass(operator, PodTask):
        return
    of = task.partial_kwargs if task.is_mapped else vars(task)
    if idle := [name for name, default in _IDLE.items() if of.get(name, default) != default]:
        log.info("Task %s.%s is launched, and has no use for %s", task.dag_id, task.task_id, ", ".join(idle))
    if (task.executor_config or {}).get("pod_override"):
        log.info("Task %s.%s has no worker pod, which its pod_override would be for", task.dag_id, task.task_id)
    if task.is_mapped:
        task.operator_class = pod_task(operator)
        task.partial_kwargs["executor"] = EXECUTOR
    else:
        task.__class__ = pod_task(operator)
        task.executor = EXECUTOR


def _way(task: Any) -> str | None:
    way = (task.executor_config or {}).get("launch")
    if way is not None and way not in _WAYS:
        raise violation(task, f"has executor_config={{'launch': {way!r}}}. Known ways: {', '.join(_WAYS)}.")
    return way


def _check_retries(task: Any) -> None:
    found = (task.executor_config or {}).get(_RETRIES)
    if found is not None and (not isinstance(found, int) or isinstance(found, bool) or found < 0):
        raise violation(task, f"has executor_config={{{_RETRIES!r}: {found!r}}}. Write a number, 0 or more.")


def infrastructure_retries(task: Any) -> int:
    """How often a try is started again whose pod the infrastructure took: what the task says, else the values."""
    found = (task.executor_config or {}).get(_RETRIES)
    return config.load().tasks.infrastructure_retries if found is None else found


def _arguments(task: Any) -> Mapping[str, Any]:
    """What of the operator's arguments may keep a task on the old way."""
    if not task.is_mapped:
        names = {name: name for name in (*_CODE, *_FILES)} | {"progress_callback": "_progress_callback"}
        return {name: getattr(task, attribute, None) for name, attribute in names.items()}
    mapped = task.expand_input.value
    parts = [mapped] if isinstance(mapped, Mapping) else mapped if isinstance(mapped, Sequence) else []
    names = {name for part in parts if isinstance(part, Mapping) for name in part}
    return {**task.partial_kwargs, **dict.fromkeys(names, True)}


def refused(task: KubernetesPodOperator) -> str:
    """What a task that is launched has been given and cannot be, as its arguments came with the run; empty: nothing."""
    return _old_way_because(type(task), _arguments(task))


def _old_way_because(operator: type[KubernetesPodOperator], arguments: Mapping[str, Any]) -> str:
    for owner in operator.__mro__:
        if owner.__module__ in _STOCK:
            break
        for name in _RELIED_ON:
            if name in vars(owner):
                return f"its class {owner.__name__} has a {name} of its own"
    for name in _CODE:
        if arguments.get(name):
            return f"{name} is code that runs beside the pod"
    for name in _FILES:
        if arguments.get(name):
            return f"{name} is a file that the triggerer may not have"
    return ""


def schedule_timeout(task: Any, pool: NodePool | None) -> int:
    """Seconds that a task's pod may wait for a node: its own, else as long as nodes of its pool take.

    Without an own one, ``startup_timeout_seconds``, two minutes by default, is for the node, too; a longer one holds.

    Args:
        task: of KubernetesPodOperator, not mapped.
        pool: where it runs; None: on any node.
    """
    from airflow_platform import task_resources

    given, pool = task._BaseOperator__init_kwargs, None if task_resources.runs_elsewhere(task) else pool
    if pool is None or pool.schedule_timeout is None or given.get("schedule_timeout_seconds") is not None:
        return task.schedule_timeout_seconds
    return max(int(pool.schedule_timeout.total_seconds()), given.get("startup_timeout_seconds") or 0)
