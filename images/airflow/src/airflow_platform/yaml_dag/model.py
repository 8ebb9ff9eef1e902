"""What a declared DAG may say: the words are Airflow's and Kubernetes'. Editors read it as ``schema.json``.

``python -m airflow_platform.yaml_dag.model`` writes that file anew.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from airflow_platform import config

SCHEMA = Path(__file__).with_name("schema.json")

_DURATION = {"type": "string", "pattern": r"^(?=.)(\d+h)?(\d+m)?(\d+s)?$", "examples": ["90s", "15m", "2h30m"]}
_QUANTITY = {"type": ["string", "integer"], "examples": ["500m", "2Gi"]}

#: "15m", "2h30m".
Duration = Annotated[config.Duration, WithJsonSchema(_DURATION)]
Quantity = Annotated[str, WithJsonSchema(_QUANTITY)]
#: "secret/key" of a Kubernetes Secret in the pod's namespace; with a question mark it may be missing.
SecretKey = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+\??$")]
DagId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
TaskId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, use_attribute_docstrings=True)


class Resources(_Part):
    """Requests and limits of the container, in Kubernetes' words."""

    requests: dict[str, Quantity] = {}
    """What it gets for certain: `{cpu: 100m, memory: 512Mi}`."""
    limits: dict[str, Quantity] = {}
    """What it never gets more of: `{memory: 512Mi}`."""


class TaskDefaults(_Part):
    """What all tasks are given that do not say it themselves; of `env_vars` and `secrets`, each name by itself."""

    pool: str | None = None
    """The node pool."""
    retries: NonNegativeInt | None = None
    """How often it is tried again when it fails."""
    retry_delay: Duration | None = None
    """How long until then: `1m`."""
    execution_timeout: Duration | None = None
    """How long it may take in all: `15m`, `2h30m`."""
    startup_timeout: Duration | None = None
    """How long its pod may wait for a node and its image."""
    container_resources: Resources | None = None
    """Processor and memory; by default those of the pool."""
    env_vars: dict[str, str] = {}
    """Environment variables. Values may be templates: `{{ ds }}`."""
    secrets: dict[str, SecretKey] = {}
    """Environment variables from Secrets of the namespace: `DSN: tickets-acme/dsn`; `…/dsn?` may be missing."""
    depends_on_past: bool | None = None
    """Whether it waits for the same task of the run before."""
    do_xcom_push: bool | None = None
    """Whether `/airflow/xcom/return.json` is its result for other tasks; by default not."""

    @field_validator("secrets")
    @classmethod
    def _is_no_variable_too(cls, secrets: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if both := [name for name in secrets if name in info.data.get("env_vars", {})]:
            raise ValueError(f"env_vars has {', '.join(both)}, too; keep one")
        return secrets


class Task(TaskDefaults):
    """One pod: an image and its arguments."""

    image: str
    """A name of `images.yaml`, from which its version comes; or `name:1.2.3`."""
    command: list[str] | None = None
    """In place of the image's entry point."""
    arguments: list[str] = []
    """Of its command line. They may be templates: `--day={{ ds }}`."""
    after: list[TaskId] = []
    """Tasks that have to end before."""
    times: PositiveInt | None = None
    """So many pods side by side; `${index}`, in arguments, is 0 in the first."""
    outputs: list[str] = []
    """Addresses in S3 of what it writes, templates too: by them two runs are compared."""
    trigger_rule: Literal[
        "all_success", "all_failed", "all_done", "one_success", "one_failed", "none_failed", "none_skipped", "always"
    ] = "all_success"
    """How the tasks before have to end."""
    skip_on_exit_code: int | None = None
    """The exit code by which it says that there is nothing to do; what comes after it is skipped."""


class Notify(_Part):
    """Who is told that a run has failed, and that one is well again."""

    email: list[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]] = []
    """Addresses."""
    webhook: str | None = None
    """A connection of Airflow's (type HTTP) that has the address of a webhook as Slack's."""


class Declaration(_Part):
    """A DAG: which images run, in what order, on which pools."""

    dag: DagId
    """Its id; with `clients` followed by `__` and the client."""
    documentation: str
    """What it does, for whom, and where its result is. Markdown."""
    owner: str
    """The team."""
    namespace: str
    """Where its pods run, and its Secrets are."""
    tags: list[str] = Field(min_length=1)
    """By which people find it."""
    schedule: str | None
    """`@daily` and the like, or a cron expression, in UTC; `null`: it is run by hand."""
    start_date: date
    """The first day."""
    end_date: date | None = None
    """The last day."""
    catchup: bool
    """Whether it runs for the time since `start_date`, before it was there."""
    max_active_runs: PositiveInt | None = None
    """How many runs at the same time."""
    params: dict[str, str | int | float | bool] = {}
    """What a run can be given, with what it is if not: `{{ params.text }}`."""
    notify: Notify | None = None
    default_args: TaskDefaults = TaskDefaults()
    tasks: dict[TaskId, Task] = Field(min_length=1)
    """By their ids."""

    @model_validator(mode="after")
    def _all_are_there(self) -> Declaration:
        for name, task in self.tasks.items():
            for before in task.after:
                if before not in self.tasks:
                    raise ValueError(
                        f"task {name} comes after {before}, which is no task; there are: {', '.join(self.tasks)}"
                    )
        return self


class File(Declaration):
    """The file, before its parameters are known."""

    parameters: dict[str, Any] = {}
    """Names that are written `${name}`, and what they are; `null`: each client must say it. So is `${client}`."""
    clients: str | None = None
    """A file beside this one, a line a client: `acme: {batches: 3}`. Each has a DAG, with these parameters."""


def schema() -> dict[str, Any]:
    """The JSON schema of a file: as `File`, and ``${name}`` may stand where a number or a date does."""
    found = _with_names(File.model_json_schema())
    found["$schema"] = "http://json-schema.org/draft-07/schema#"
    return found


def _with_names(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_names(one) for one in part]
    if not isinstance(part, dict):
        return part
    part = {key: _with_names(one) for key, one in part.items()}
    kinds = {"integer", "number", "boolean", "string"}
    given = part.get("type")
    restricted = given != "string" or {"pattern", "format", "enum"} & set(part)
    if isinstance(given, str) and given in kinds and restricted:
        kept = {key: part.pop(key) for key in list(part) if key not in ("description", "title", "default")}
        part["anyOf"] = [kept, {"type": "string", "pattern": r"\$\{\w+\}"}]
    return part


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=2, sort_keys=True) + "\n")
