"""Airflow's cluster policies of the platform, loaded through the entry point group ``airflow.policy``.

A DAG author writes the stock ``KubernetesPodOperator(image="report:1.2.0", pool="gpu", …)``. `task_policy` runs where
DAGs are parsed: it checks the pool and notes it on the pod-to-be. `pod_mutation_hook` runs where the pod is
created: it fills in what the task left open.

This module is imported by every Airflow process, so what is heavy is imported where it is used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.policies import hookimpl

from airflow_platform import config

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

# The pool is a property of the task, not of its pod: the annotation carries it from one to the other.
POOL_ANNOTATION = "airflow-platform/pool"

_DEFAULT_POOL = "default_pool"


@hookimpl
def task_policy(task: Any) -> None:
    """Check the task's pool; note it on the pod of a KubernetesPodOperator, mapped or not.

    Raises:
        AirflowClusterPolicyViolation: there are node pools, and the task's pool is none of them.
        ConfigError: the platform's configuration is malformed.
    """
    platform = config.load()
    if not platform.node_pools:
        return
    _check_pool(task, [pool.name for pool in platform.node_pools])
    if _is_pod_operator(task):
        _annotate(task, task.pool)


@hookimpl
def pod_mutation_hook(pod: V1Pod) -> None:
    """Fill in what a task pod leaves open; never change what it sets.

    Left alone are worker pods of the KubernetesExecutor, whose template comes complete from the chart, and pods
    for another cluster, which has neither our nodes nor our service accounts.

    Raises:
        ConfigError: the platform's configuration is malformed.
    """
    labels = pod.metadata.labels or {}
    if labels.get("kubernetes_executor") == "True" or labels.get("airflow_kpo_in_cluster") == "False":
        return
    from airflow_platform import task_pod

    platform = config.load()
    pool = platform.node_pool((pod.metadata.annotations or {}).get(POOL_ANNOTATION, _DEFAULT_POOL))
    task_pod.fill_in(pod, platform, pool)


def _check_pool(task: Any, names: list[str]) -> None:
    if task.pool == _DEFAULT_POOL or task.pool in names:
        return
    from airflow.exceptions import AirflowClusterPolicyViolation

    known = ", ".join(sorted({*names, _DEFAULT_POOL}))
    raise AirflowClusterPolicyViolation(
        f"Task {task.dag_id}.{task.task_id} names the pool {task.pool!r}, which does not exist. "
        f"Known pools: {known}. Name one of them, or add it under nodePools in the values of the platform's chart."
    )


def _is_pod_operator(task: Any) -> bool:
    # Where a DAG uses the operator, its module is loaded; where not, loading it would cost seconds.
    module = sys.modules.get("airflow.providers.cncf.kubernetes.operators.pod")
    if module is None:
        return False
    return issubclass(task.operator_class if task.is_mapped else type(task), module.KubernetesPodOperator)


def _annotate(task: Any, pool: str) -> None:
    if not task.is_mapped:
        task.annotations = {**task.annotations, POOL_ANNOTATION: pool}
        return
    # An argument must not be both partial and mapped: a task mapped over its annotations brings its own.
    mapped = task.expand_input.value
    if not (isinstance(mapped, dict) and "annotations" in mapped):
        annotations = task.partial_kwargs.get("annotations") or {}
        task.partial_kwargs["annotations"] = {**annotations, POOL_ANNOTATION: pool}
