"""The images that the tasks of a DAG run, as far as the DAG's file says them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any


def by_task(dags: Iterable[Any]) -> dict[str, list[str]]:
    """The images of the pods of these DAGs, each with the tasks that name it; "" is one that only a run says."""
    found = defaultdict(list)
    for dag in dags:
        for task in dag.tasks:
            for image in _of_task(task):
                # A template is filled in when the task runs.
                found["" if "{{" in image or "{%" in image else image].append(f"{dag.dag_id}.{task.task_id}")
    return dict(found)


def _of_task(task: Any) -> list[str]:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    if not issubclass(task.operator_class if task.is_mapped else type(task), KubernetesPodOperator):
        return []
    named = _named(task)
    beside = [_image(one) for one in _argument(task, "init_containers") or ()]
    for spec in _templates(task):
        containers = [_image(one) for one in spec.containers or ()]
        # The task's own container is the template's first one.
        beside += containers[1:] if named else containers
        beside += [_image(one) for one in spec.init_containers or ()]
    return named + [image for image in beside if image is not None]


def _named(task: Any) -> list[str]:
    """By the argument ``image``, and of a mapped task by all that it maps over; "" where only a run says it."""
    image = _argument(task, "image")
    found = [image] if image else []
    if not task.is_mapped:
        return found
    mapped = task.expand_input.value
    parts = mapped if isinstance(mapped, (list, tuple)) else [mapped]
    if not all(isinstance(part, Mapping) for part in parts):
        # An XCom: it may have images, and has to where the task names none.
        return found or [""]
    for value in (part["image"] for part in parts if "image" in part):
        values = value if isinstance(value, (list, tuple)) else [value]
        found += [one if isinstance(one, str) else "" for one in values]
    return found


def _templates(task: Any) -> list[Any]:
    """The pods' specs that the operator lays its own arguments over."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    pods = []
    if whole := _argument(task, "full_pod_spec"):
        pods.append(whole)
    if path := _argument(task, "pod_template_file"):
        pods.append(PodGenerator.deserialize_model_file(path))
    elif template := _argument(task, "pod_template_dict"):
        pods.append(PodGenerator.deserialize_model_dict(template))
    return [pod.spec for pod in pods if pod.spec]


def _image(container: Any) -> str | None:
    return container.get("image") if isinstance(container, Mapping) else container.image


def _argument(task: Any, name: str) -> Any:
    return task.partial_kwargs.get(name) if task.is_mapped else getattr(task, name, None)
