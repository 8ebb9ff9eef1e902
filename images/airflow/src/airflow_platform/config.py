"""What the platform's chart tells the Python code: one YAML file, rendered from the chart's values.

Every Airflow container has the file; the environment variable ``AIRFLOW_PLATFORM_CONFIG`` names it.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from airflow_platform.diagnosis.crowd import DEFAULT_POOL
from airflow_platform.diagnosis.quantity import parse

ENVIRONMENT_VARIABLE = "AIRFLOW_PLATFORM_CONFIG"


class ConfigError(ValueError):
    """The platform's configuration file is missing or malformed."""


_DURATION = re.compile(r"(?=.)(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?")


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("a duration is expected, as 30s, 90m or 2h30m")
    return timedelta(**{unit: int(number) for unit, number in found.groupdict(default="0").items()})


#: A time as the values write it: "2h30m".
Duration = Annotated[timedelta, BeforeValidator(_duration)]


class _Section(BaseModel):
    # Unknown keys pass: while a release rolls out, pods of the one before read the new file too.
    # Misspelt ones are stopped earlier, by the schema of the chart's values.
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class Toleration(_Section):
    """A toleration in Kubernetes' own words (core/v1 Toleration)."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


def _quantity(value: Any) -> Any:
    # YAML makes a number of 2 and of 0.5; the chart writes them as text, values files need not.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    parse(value)
    return str(value)


#: An amount of a resource in Kubernetes' words: "500m", "2Gi", 2.
Quantity = Annotated[str, BeforeValidator(_quantity)]


class Resources(_Section):
    """Requests and limits of a container (core/v1 ResourceRequirements)."""

    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}


class NodePool(_Section):
    """A pool of nodes and the Airflow pool of the same name.

    ``slots`` is the size of the Airflow pool; ``node_selector`` and ``tolerations`` are what a task pod needs
    to run on these nodes, ``pod_annotations`` its annotations. ``resources`` are those of a container that sets none,
    ``largest`` is what one task may ask for. ``priority_class_name`` is the pool's own PriorityClass (empty: it has
    none), by which ``quota``, the ``hard`` of its ResourceQuota in each namespace of tasks, tells its pods;
    ``local_queue`` is the LocalQueue of Kueue by which that keeps the quota instead (empty: it does not).
    ``min_nodes`` is how many nodes it has to have. ``schedule_timeout`` is how long a pod may wait for a node where its
    task says nothing: the pool's nodes are added as they are needed (None: they are not, and Airflow's default holds).
    ``out_of_memory_factor`` is how many times the memory a try gets of the one before that ran out of it (1: the same),
    up to ``largest``.
    """

    name: str = Field(min_length=1)
    slots: NonNegativeInt
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    pod_annotations: dict[str, str] = {}
    resources: Resources = Resources()
    largest: dict[str, Quantity] = {}
    priority_class_name: str = ""
    quota: dict[str, Quantity] = {}
    local_queue: str = ""
    min_nodes: NonNegativeInt = 1
    schedule_timeout: Duration | None = None
    out_of_memory_factor: float = Field(default=1, ge=1)


class Reaper(_Section):
    """What deletes pods that were left over or kept long enough; with ``dry_run`` it says so alone."""

    dry_run: bool = False


class Tasks(_Section):
    """Task pods: the namespaces of this cluster where tasks may create them, and their defaults.

    ``keep_failed_pods`` is how long a pod that failed stays, to look at it, where it would be deleted else.
    ``infrastructure_retries`` is how often a try is started again whose pod the infrastructure took, without one of its
    retries; ``retry_deleted`` whether one that somebody deleted is, too.
    """

    namespaces: tuple[str, ...] = ()
    service_account_name: str = ""
    infrastructure_retries: NonNegativeInt = 5
    retry_deleted: bool = False
    keep_failed_pods: Duration = timedelta()
    reaper: Reaper = Reaper()


class Launcher(_Section):
    """Where and how tasks of KubernetesPodOperator are launched.

    ``kind`` is the executor (none: there is no launcher), ``launch`` what a task does that says nothing itself:
    ``trigger`` is the launcher and the pod trigger, ``worker`` the operator as it comes, in a worker pod. ``slots`` is
    the number of the launcher's processes, ``preload`` names further modules that it imports before it forks them.
    """

    kind: Literal["local", "celery", "none"] = "none"
    launch: Literal["trigger", "worker"] = "trigger"
    slots: PositiveInt = 8
    preload: tuple[str, ...] = ()


class WorkerSet(_Section):
    """Worker pods of one kind: those of tasks with this ``queue`` differ from the chart's by ``pod`` (core/v1 Pod)."""

    queue: str = Field(min_length=1)
    pod: dict[str, Any] = {}


class DeclaredPool(_Section):
    """An Airflow pool that stands for no nodes: the API of a supplier, say."""

    name: str = Field(min_length=1)


class Declared(_Section):
    """Of Airflow's objects that the values declare, those that a DAG's file may name."""

    pools: tuple[DeclaredPool, ...] = ()


class PlatformConfig(_Section):
    """The whole file.

    ``release`` is the name of the release's objects. ``image_registry`` is put before images that name no registry;
    empty means: leave them. ``triggerers`` is the number of triggerers, which share what all of them together may do.
    """

    release: str = ""
    image_registry: str = ""
    triggerers: PositiveInt = 1
    tasks: Tasks = Tasks()
    launcher: Launcher = Launcher()
    node_pools: tuple[NodePool, ...] = ()
    declared: Declared = Declared()
    worker_sets: tuple[WorkerSet, ...] = ()

    @property
    def pools(self) -> frozenset[str]:
        """The Airflow pools that a task may name beside Airflow's own default; none: any."""
        if not self.node_pools:
            return frozenset()
        return frozenset(pool.name for pool in (*self.node_pools, *self.declared.pools)) - {DEFAULT_POOL}

    def node_pool(self, name: str) -> NodePool | None:
        """The node pool of that name, or None."""
        return next((pool for pool in self.node_pools if pool.name == name), None)


def load() -> PlatformConfig:
    """The configuration of this process, read once.

    Without ``AIRFLOW_PLATFORM_CONFIG`` in the environment everything has its default: no node pools, no registry.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or a key has a wrong value.
    """
    path = os.environ.get(ENVIRONMENT_VARIABLE)
    return read(Path(path)) if path else PlatformConfig()


@cache
def read(path: Path) -> PlatformConfig:
    """The configuration in a file, read once a process.

    Raises:
        ConfigError: as for `load`.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}. {ENVIRONMENT_VARIABLE} must name the platform's file."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    try:
        return PlatformConfig.model_validate({} if content is None else content)
    except ValidationError as error:
        raise ConfigError("\n".join(_describe(path, detail) for detail in error.errors())) from error


def _describe(path: Path, detail: dict) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    if detail["type"] == "missing":
        return f"{path}: {key}: is missing."
    return f"{path}: {key or 'the file'}: {detail['msg']}, found {detail['input']!r}."
