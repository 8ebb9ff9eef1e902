"""From a declaration to a DAG of Airflow's."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import AirflowFailException
from kubernetes.client import V1EnvVar, V1EnvVarSource, V1ResourceRequirements, V1SecretKeySelector

from airflow_platform import catalogue, notifications
from airflow_platform.declared.model import Declaration, Notify, Task, TaskDefaults
from airflow_platform.declared.text import DeclarationError, Text, fill

#: The tag of a client's DAG that cannot be made.
BROKEN = "broken"


class Broken(BaseOperator):
    """A task that fails, and says what is wrong with the declaration of its DAG."""

    def __init__(self, *, error: str, **options: Any) -> None:
        super().__init__(**options)
        self.error = error

    def execute(self, context: Any) -> None:
        """Fail.

        Raises:
            AirflowFailException: always.
        """
        self.log.error(self.error)
        raise AirflowFailException(self.error)


def dag(declared: Text, found: Declaration, client: str | None = None) -> DAG:
    """Make a DAG, which Airflow does not find yet: `register`.

    Args:
        declared: the file.
        found: what it says.
        client: whose DAG it is.

    Raises:
        DeclarationError: an image is not in the catalogue.
    """
    root = catalogue.root_of(declared.file)
    versions = catalogue.versions(root)
    with DAG(
        dag_id=f"{found.dag}__{client}" if client else found.dag,
        schedule=found.schedule,
        start_date=_midnight(found.start_date),
        end_date=found.end_date and _midnight(found.end_date),
        catchup=found.catchup,
        tags=[*found.tags, *([client] if client else [])],
        doc_md=found.documentation,
        params={name: Param(value) for name, value in found.params.items()},
        default_args={"owner": found.owner, "namespace": found.namespace},
        auto_register=False,
        **({"max_active_runs": found.max_active_runs} if found.max_active_runs else {}),
        **(_notify(found.notify) if found.notify else {}),
    ) as made:
        tasks = {
            name: _task(name, task, found.default_args, _image(declared, name, task, versions), declared)
            for name, task in found.tasks.items()
        }
        for name, task in found.tasks.items():
            for before in task.after:
                tasks[before] >> tasks[name]
    made.declared_at = {name: _place(declared, ("tasks", name)) for name in tasks} | {None: _place(declared, ("dag",))}
    return made


def check(made: DAG) -> None:
    """Have Airflow and the platform say whether they take a DAG, as they do when they have found it.

    An error in one DAG of a file is the whole file's for Airflow, which runs none of its DAGs then.

    Raises:
        Exception: theirs.
    """
    made.validate()
    made.check_cycle()
    for task in made.tasks:
        settings.task_policy(task)


def register(made: DAG) -> None:
    """Have Airflow find a DAG."""
    made.auto_register = True
    with made:
        pass


def broken(declared: Text, client: str, message: str) -> None:
    """Make the DAG of a client whose own cannot be made: its run is due as the client's would be, and fails."""
    said = declared.value
    name = re.sub(r"[^\w.-]", "_", f"{said.get('dag')}__{client}")
    options: dict[str, Any] = {"schedule": None}
    with contextlib.suppress(Exception):
        options = {"schedule": _schedule(said), **_notify(Notify.model_validate(said.get("notify") or {}))}
    _broken(said, name, message, **options)


def _schedule(said: Mapping[str, Any]) -> str | None:
    schedule = said.get("schedule")
    if isinstance(schedule, str) and "${" in schedule:
        return "@daily"
    return schedule


def _broken(said: Mapping[str, Any], name: str, message: str, **options: Any) -> None:
    with DAG(
        dag_id=name,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        tags=[BROKEN],
        doc_md=f"### This DAG cannot be made\n\n{message}",
        auto_register=False,
        **options,
    ) as made:
        Broken(task_id="declaration", error=message, owner=str(said.get("owner")), retries=0)
    made.declared_error = message
    register(made)


def _task(name: str, task: Task, defaults: TaskDefaults, image: str, declared: Text) -> Any:
    def of(setting: str) -> Any:
        own = getattr(task, setting)
        return getattr(defaults, setting) if own is None else own

    resources = of("container_resources")
    startup = of("startup_timeout")
    options = {
        "task_id": name,
        "image": image,
        "cmds": task.command,
        "env_vars": [
            *(V1EnvVar(name=key, value=value) for key, value in (defaults.env_vars | task.env_vars).items()),
            *(_secret(key, value) for key, value in (defaults.secrets | task.secrets).items()),
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


def _notify(notify: Notify) -> dict[str, Any]:
    return notifications.notify(email=notify.email, webhook=notify.webhook)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)


def _place(declared: Text, where: tuple[str, ...]) -> tuple[Path, int]:
    file, _, line = declared.at(where).rpartition(":")
    return Path(file), int(line)
