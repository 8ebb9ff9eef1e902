"""Airflow's cluster policies of the platform, loaded through the entry point group ``airflow.policy``.

A DAG author writes the stock ``KubernetesPodOperator(image="report:1.2.0", pool="gpu", …)``. `task_policy` runs where
DAGs are parsed: it checks the pool and what the task asks of it, notes it on the pod-to-be, and gives the task the
launcher. `pod_mutation_hook` runs where the pod is created: it fills in what the task left open.

This module is imported by every Airflow process, so what is heavy is imported where it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.policies import hookimpl

from airflow_platform import config

# The pool is a property of the task, not of its pod: the annotation carries it from one to the other.
from airflow_platform.diagnosis.crowd import DEFAULT_POOL, POOL_ANNOTATION

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

#: The annotation of a task's pod that names the file of its DAG: whose it is. Relative to the folder of DAGs, or as
#: ``<bundle>:/<path>``.
DAG_FILE_ANNOTATION = "airflow-platform/dag-file"

#: The bundle of the folder of DAGs: `airflow-platform.bundles` of the chart.
MAIN_BUNDLE = "dags"

#: The label that the operator sets last: whether the pod is for the cluster that Airflow is in.
_OF_OPERATOR = "airflow_kpo_in_cluster"

#: What has been noted on the pods of DAGs that this process has parsed.
_noted: set[str] = set()


@hookimpl
def task_policy(task: Any) -> None:
    """Check the task's pool and executor_config; note pool and file of the DAG on the pod of a KubernetesPodOperator,
    mapped or not. Check what that pod asks for. Give what runs in a worker pod that of its queue.

    Raises:
        AirflowClusterPolicyViolation: there are node pools, and the task's pool is none of them or of those that are
            declared, is mapped, cannot be noted on the pod, or does not give what the pod asks for. Or its
            executor_config is not what an executor can read. Or there are worker sets, and it would run in a worker pod
            and its queue is none of them.
        ConfigError: the platform's configuration is malformed.
    """
    _check_executor_config(task)
    platform = config.load()
    pod_operator = _is_pod_operator(task)
    if platform.node_pools:
        _check_pool(task, platform.pools)
        if pod_operator:
            _note_pool(task)
            _wait_for_nodes(task, platform)
    if pod_operator:
        _note_file(task)
        _check_resources(task, platform)
    if pod_operator and platform.launcher.kind != "none":
        from airflow_platform import launch

        launch.assign(task, platform.launcher)
    if platform.worker_sets:
        from airflow_platform import worker_sets

        worker_sets.assign(task, platform.worker_sets)


@hookimpl
def pod_mutation_hook(pod: V1Pod) -> None:
    """Fill in what a task pod leaves open; never change what it sets, but for a note of a file that is not ours.

    Left alone are worker pods of the KubernetesExecutor, whose template comes complete from the chart, and pods
    for another cluster, which has neither our nodes nor our service accounts. Both are told by labels, which a DAG may
    write too: by the operator's own, which it sets over the DAG's, and a worker's only where that is not there.

    Raises:
        AirflowClusterPolicyViolation: the pod of a KubernetesPodOperator has lost the note of its pool.
        ConfigError: the platform's configuration is malformed.
    """
    labels = pod.metadata.labels or {}
    annotations = pod.metadata.annotations or {}
    if annotations.get(DAG_FILE_ANNOTATION) not in _noted:
        # Of annotations that came with the run, or of a pod_override. Who makes a task's pod has parsed its DAG's file,
        # and noted it; the executor has not.
        annotations.pop(DAG_FILE_ANNOTATION, None)
    in_cluster = labels.get(_OF_OPERATOR)
    if in_cluster == "False" or (in_cluster is None and labels.get("kubernetes_executor") == "True"):
        return
    from airflow_platform import task_pod

    platform = config.load()
    if platform.node_pools and in_cluster and POOL_ANNOTATION not in annotations:
        from airflow.exceptions import AirflowClusterPolicyViolation

        raise AirflowClusterPolicyViolation(
            "The annotations of this pod came from expand_kwargs() and replaced those that name its pool. "
            "Set annotations in partial()."
        )
    task_pod.fill_in(pod, platform, platform.node_pool(annotations.get(POOL_ANNOTATION, DEFAULT_POOL)))


def _check_pool(task: Any, names: frozenset[str]) -> None:
    if "pool" in _mapped_arguments(task):
        raise violation(task, "maps its pool, which Airflow takes from partial() alone. Name one pool there.")
    if task.pool == DEFAULT_POOL or task.pool in names:
        return
    known = ", ".join(sorted({*names, DEFAULT_POOL}))
    raise violation(
        task,
        f"names the pool {task.pool!r}, which does not exist. "
        f"Known pools: {known}. Name one of them, or add it under nodePools, or under declared.pools where it stands "
        "for no nodes, in the values of the platform's chart.",
    )


def _check_resources(task: Any, platform: config.PlatformConfig) -> None:
    """What is known only when the task runs is checked where its pod is created: `airflow_platform.task_pod`."""
    from airflow_platform import task_pod, task_resources

    spec = task_resources.known(task, _mapped_arguments(task))
    if spec is None:
        return
    pool = None if task_resources.runs_elsewhere(task) else platform.node_pool(task.pool)
    if wrong := task_pod.settle(spec, platform, pool, rendered=False):
        raise violation(task, wrong)


def _check_executor_config(task: Any) -> None:
    """A wrong one would not fail the task: the scheduler ends with an error each time that it queues it."""
    found = task.executor_config
    if not found:
        return
    if not isinstance(found, Mapping):
        raise violation(
            task,
            f"has an executor_config that is a {type(found).__name__}, not a dict. "
            "Write executor_config={'pod_override': V1Pod(…)}.",
        )
    override = found.get("pod_override")
    if override is not None and type(override).__name__ != "V1Pod":
        raise violation(
            task,
            f"has an executor_config whose pod_override is a {type(override).__name__}, not a kubernetes.client.V1Pod.",
        )


def violation(task: Any, what: str) -> Exception:
    """What a policy raises for a task, which makes it an import error of its DAG's file."""
    from airflow.exceptions import AirflowClusterPolicyViolation

    return AirflowClusterPolicyViolation(f"Task {task.dag_id}.{task.task_id} {what}")


def _mapped_arguments(task: Any) -> set[str]:
    """Names of what the task maps over, as far as the DAG's file says them: an XCom's come with the run."""
    if not task.is_mapped:
        return set()
    mapped = task.expand_input.value
    parts = [mapped] if isinstance(mapped, Mapping) else mapped if isinstance(mapped, Sequence) else []
    return {name for part in parts if isinstance(part, Mapping) for name in part}


def _is_pod_operator(task: Any) -> bool:
    # Where a DAG uses the operator, its module is loaded; where not, loading it would cost seconds.
    module = sys.modules.get("airflow.providers.cncf.kubernetes.operators.pod")
    if module is None:
        return False
    return issubclass(task.operator_class if task.is_mapped else type(task), module.KubernetesPodOperator)


def _note_pool(task: Any) -> None:
    if "annotations" in _mapped_arguments(task):
        raise violation(task, "maps its annotations, which carry its pool to the pod. Set them in partial().")
    if not isinstance(_annotations(task), Mapping):
        raise violation(
            task,
            "gives its annotations as a template or an XCom, which its pool cannot be added to. "
            "Give a dict; its values may be templates.",
        )
    _annotate(task, POOL_ANNOTATION, task.pool)


def _wait_for_nodes(task: Any, platform: config.PlatformConfig) -> None:
    """Have the pod wait as long as nodes of its pool take, where the task does not say how long.

    What maps a task may bring any of its arguments: that of a mapped one is known where it is launched.
    """
    from airflow_platform import launch

    if not task.is_mapped:
        task.schedule_timeout_seconds = launch.schedule_timeout(task, platform.node_pool(task.pool))


def _note_file(task: Any) -> None:
    """Where it cannot be noted it is not: whoever asks for it refuses the pod."""
    if "annotations" not in _mapped_arguments(task) and isinstance(_annotations(task), Mapping):
        _noted.add(file := _parsed_file())
        _annotate(task, DAG_FILE_ANNOTATION, file)


def _parsed_file() -> str:
    """The file that is parsed, as `DAG_FILE_ANNOTATION` says; empty: nothing is parsed.

    Airflow tells a policy neither the file nor the bundle, and a DAG has of them what its author writes (``__file__``),
    or nothing. What the DAG bag was given is the same in the DAG processor, in a worker and in the launcher.
    """
    from airflow.dag_processing.dagbag import DagBag

    frame = sys._getframe()
    while frame and frame.f_code is not DagBag.process_file.__code__:
        frame = frame.f_back
    if frame is None:
        return ""
    bag = frame.f_locals["self"]
    path = os.path.relpath(frame.f_locals["filepath"], bag.bundle_path)
    # A folder whose name ends in a colon would pass for a bundle.
    plain = bag.bundle_name == MAIN_BUNDLE and ":/" not in path
    return path if plain else f"{bag.bundle_name}:/{path}"


def _annotations(task: Any) -> Any:
    return (task.partial_kwargs.get("annotations") if task.is_mapped else task.annotations) or {}


def _annotate(task: Any, key: str, value: str) -> None:
    annotations = {**_annotations(task), key: value}
    if task.is_mapped:
        task.partial_kwargs["annotations"] = annotations
    else:
        task.annotations = annotations
