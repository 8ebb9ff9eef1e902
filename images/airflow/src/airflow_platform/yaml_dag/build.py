"""From a declaration to a DAG of Airflow's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowTimetableInvalid
from kubernetes.client import V1EnvVar, V1EnvVarSource, V1ResourceRequirements, V1SecretKeySelector

from airflow_platform import catalogue, notifications
from airflow_platform.outputs import OUTPUTS
from airflow_platform.yaml_dag.model import Declaration, Notify, Task, TaskDefaults
from airflow_platform.yaml_dag.text import DeclarationError, Text, fill


def dag(declared: Text, found: Declaration, client: str | None = None) -> DAG:
    """Make a DAG, which Airflow finds as any that a DAG file makes.

    Args:
        declared: the file.
        found: what it says.
        client: whose DAG it is.

    Raises:
        DeclarationError: an image is not in the catalogue, tasks come after each other in a circle, or the schedule is
            none.
    """
    _check_order(declared, found)
    root = catalogue.root_of(declared.file)
    versions = catalogue.versions(root)
    with DAG(
        dag_id=f"{found.dag}__{client}" if client else found.dag,
        schedule=found.schedule,
        start_date=_at(found.start_date, time.min),
        end_date=found.end_date and _at(found.end_date, time.max),
        catchup=found.catchup,
        tags=[*found.tags, *([client] if client else [])],
        doc_md=found.documentation,
        params={name: Param(value) for name, value in found.params.items()},
        default_args={"owner": found.owner, "namespace": found.namespace},
        **({"max_active_runs": found.max_active_runs} if found.max_active_runs else {}),
        **(notify(found.notify) if found.notify else {}),
    ) as made:
        tasks = {
            name: _task(name, task, found.default_args, _image(declared, name, task, versions), declared)
            for name, task in found.tasks.items()
        }
        for name, task in found.tasks.items():
            for before in task.after:
                tasks[before] >> tasks[name]
    try:
        made.timetable.validate()
    except AirflowTimetableInvalid as error:
        raise DeclarationError(
            f"{declared.at(('schedule',))}: schedule: @daily and the like, or a cron expression is expected; "
            f"found {found.schedule!r}: {error}"
        ) from error
    made.declared_at = {name: _place(declared, ("tasks", name)) for name in tasks} | {None: _place(declared, ("dag",))}
    return made


def _check_order(declared: Text, found: Declaration) -> None:
    """Say where tasks come after each other in a circle: of Airflow's own words none has a place.

    Raises:
        DeclarationError: they do.
    """
    try:
        TopologicalSorter({name: task.after for name, task in found.tasks.items()}).prepare()
    except CycleError as error:
        circle = error.args[1]
        raise DeclarationError(
            f"{declared.at(('tasks', circle[-1], 'after'))}: tasks run in a circle: {' before '.join(circle)}; "
            "take one out of an `after`"
        ) from error


def _task(name: str, task: Task, defaults: TaskDefaults, image: str, declared: Text) -> Any:
    def of(setting: str) -> Any:
        own = getattr(task, setting)
        return getattr(defaults, setting) if own is None else own

    # Of one name the task's own holds, whichever of the two it is: a pod that had both would take the later.
    own = task.env_vars | task.secrets
    env_vars, secrets = (
        {name: value for name, value in given.items() if name not in own}
        for given in (defaults.env_vars, defaults.secrets)
    )
    resources = of("container_resources")
    startup = of("startup_timeout")
    options = {
        "task_id": name,
        "image": image,
        "cmds": task.command,
        "env_vars": [
            *(V1EnvVar(name=key, value=value) for key, value in (env_vars | task.env_vars).items()),
            *(_secret(key, value) for key, value in (secrets | task.secrets).items()),
        ],
        "pool": of("pool"),
        "retries": of("retries"),
        "retry_delay": of("retry_delay"),
        "execution_timeout": of("execution_timeout"),
        "startup_timeout_seconds": startup and int(startup.total_seconds()),
        "container_resources": resources
        and V1ResourceRequirements(requests=dict(resources.requests), limits=dict(resources.limits)),
        "depends_on_past": of("depends_on_past"),
        "do_xcom_push": bool(of("do_xcom_push")),
        "annotations": {OUTPUTS: " ".join(task.outputs)} if task.outputs else None,
        "trigger_rule": task.trigger_rule,
        "skip_on_exit_code": task.skip_on_exit_code,
    }
    options = {key: value for key, value in options.items() if value is not None}
    if task.times is None:
        return KubernetesPodOperator(**options, arguments=list(task.arguments))
    arguments = [fill(task.arguments, {"index": index}, declared) for index in range(task.times)]
    return KubernetesPodOperator.partial(**options).expand(arguments=arguments)


def _image(declared: Text, name: str, task: Task, versions: Mapping[str, str] | None) -> str:
    if ":" in task.image or "@" in task.image:
        return task.image
    if not versions or task.image not in versions:
        known = ", ".join(versions or ()) or "none"
        where = declared.at(("tasks", name, "image"))
        raise DeclarationError(f"{where}: {catalogue.FILE} has no image {task.image!r}; there are: {known}")
    return f"{task.image}:{versions[task.image]}"


def _secret(variable: str, value: str) -> V1EnvVar:
    secret, _, key = value.removesuffix("?").partition("/")
    selector = V1SecretKeySelector(name=secret, key=key, optional=value.endswith("?"))
    return V1EnvVar(name=variable, value_from=V1EnvVarSource(secret_key_ref=selector))


def notify(found: Notify) -> dict[str, Any]:
    """The callbacks of a DAG."""
    return notifications.notify(email=found.email, webhook=found.webhook)


def _at(day: date, hour: time) -> datetime:
    return datetime.combine(day, hour, timezone.utc)


def _place(declared: Text, where: tuple[str, ...]) -> tuple[Path, int]:
    file, _, line = declared.at(where).rpartition(":")
    return Path(file), int(line)
