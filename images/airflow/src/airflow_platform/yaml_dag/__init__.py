"""A DAG as a YAML file: which images run, in what order, on which pools; one DAG, or one for each client of a list.

Airflow reads Python files, so a ``dag.py`` lies beside each ``dag.yaml`` and says no more than::

    from airflow_platform.yaml_dag import load

    load(__file__)

What is wrong is an import error that names file and line; of one client, it is that client's alone
(`airflow_platform.clients`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_platform.yaml_dag.text import DeclarationError, Text, fill, names, read

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_platform.clients import Client

__all__ = ["DeclarationError", "load"]


def load(file: str) -> None:
    """Make the DAGs of the YAML file beside a DAG file; Airflow finds them as it finds those of a ``with DAG(…)``.

    Args:
        file: the DAG file, ``__file__``; the YAML file has its name, and ends in ``.yaml``.

    Raises:
        DeclarationError: the file cannot be read, or says what it cannot, for every client.
    """
    from airflow_platform.yaml_dag import build

    declared = read(Path(file).resolve().with_suffix(".yaml"))
    if not isinstance(declared.value, dict):
        raise DeclarationError(f"{declared.at(())}: a mapping is expected; begin with dag: <its id>")
    clients, parameters = declared.value.get("clients"), declared.value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise DeclarationError(f"{declared.at(('parameters',))}: a mapping is expected, as {{batches: 2}}")
    if clients is None:
        for where, name in names(parameters, ("parameters",)):
            raise DeclarationError(
                f"{declared.at(where)}: ${{{name}}} is filled in a parameter only where there are clients; write it out"
            )
        build.dag(declared, _declaration(declared, parameters))
    else:
        if not isinstance(clients, str) or Path(clients).name != clients:
            raise DeclarationError(
                f"{declared.at(('clients',))}: the name of a file in this folder is expected, as clients.yaml; "
                f"found {clients!r}"
            )
        _load_clients(declared, declared.file.with_name(clients), parameters)


def _load_clients(declared: Text, file: Path, parameters: Mapping[str, Any]) -> None:
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    from airflow_platform.clients import make_dags
    from airflow_platform.yaml_dag import build

    def make(client: Client) -> None:
        build.dag(declared, _declaration(declared, _words(client, parameters)), client.name)

    said = declared.value
    dag, schedule = str(said.get("dag")), said.get("schedule")
    before = set(DagContext.autoregistered_dags)
    # What is known of every client's DAG, for those that cannot be made.
    schedule = "@daily" if isinstance(schedule, str) and "${" in schedule else schedule
    make_dags(file, dag, make, owner=str(said.get("owner")), schedule=schedule)
    for made, _ in DagContext.autoregistered_dags - before:
        if hasattr(made, "declared_error"):
            _tell(made, made.dag_id.removeprefix(f"{dag}__"), declared, parameters)


def _tell(broken: DAG, client: str, declared: Text, parameters: Mapping[str, Any]) -> None:
    """Have the DAG in place of a client's tell those whom the defaults name: the client's own line may be wrong."""
    from airflow_platform.yaml_dag import build, model

    own = {"client": client}
    with contextlib.suppress(ValueError):
        words = {
            name: f"${{{name}}}" if default is None else fill(default, own, declared)
            for name, default in parameters.items()
        }
        told = _known(fill(declared.value.get("notify") or {}, own | words, declared))
        for name, callbacks in build.notify(model.Notify.model_validate(told)).items():
            setattr(broken, name, callbacks)
            # By this the scheduler knows that there are any.
            setattr(broken, f"has_{name}", True)


def _known(value: Any) -> Any:
    """A value without what only a client says, in which a ``${name}`` is left."""
    if isinstance(value, dict):
        return {key: known for key, one in value.items() if (known := _known(one)) is not None}
    if isinstance(value, list):
        return [known for one in value if (known := _known(one)) is not None]
    return None if isinstance(value, str) and "${" in value else value


def _words(client: Client, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for ``${name}`` in a client's DAG.

    Raises:
        DeclarationError: the client's line has a name too many, or lacks one.
    """
    given, entry = client.settings, client.entry
    for name in given:
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise DeclarationError(f"{entry.at((client.name, name))}: {name} is no parameter; there are: {known}")
    own = {"client": client.name}
    words = {name: fill(given.get(name, default), own, entry, (client.name,)) for name, default in parameters.items()}
    if missing := [name for name, value in words.items() if value is None and name not in given]:
        raise DeclarationError(f"{entry.at((client.name,))}: {', '.join(missing)} is missing; each client must say it")
    return own | words


def _declaration(declared: Text, words: Mapping[str, Any]) -> Any:
    """What the file says, with these words.

    Raises:
        DeclarationError: it is not what a DAG can be.
    """
    from pydantic import ValidationError

    from airflow_platform.yaml_dag.model import Declaration

    said = {key: value for key, value in declared.value.items() if key not in ("parameters", "clients")}
    # The index of a pod is known where there is more than one.
    filled = fill(said, {**words, "index": "${index}"}, declared)
    try:
        found = Declaration.model_validate(filled)
    except ValidationError as error:
        raise DeclarationError("\n".join(_describe(declared, one) for one in error.errors())) from error
    indexed = {("tasks", name, "arguments") for name, task in found.tasks.items() if task.times is not None}
    for where, name in names(filled):
        if where[:3] not in indexed:
            raise DeclarationError(
                f"{declared.at(where)}: ${{{name}}} is known only in `arguments` of a task with `times`; take it out"
            )
    return found


def _describe(declared: Text, detail: Mapping[str, Any]) -> str:
    where = tuple(detail["loc"])
    name = ".".join(map(str, where))
    if detail["type"] == "missing":
        return f"{declared.at(where)}: {name} is missing; add it"
    if detail["type"] == "extra_forbidden":
        return f"{declared.at(where)}: {name} is not known here; take it out, or correct its name"
    message = detail["msg"].removeprefix("Value error, ")
    if not where:  # of tasks that do not fit together
        return f"{declared.at(('tasks',))}: {message}"
    return f"{declared.at(where)}: {name}: {message[:1].lower()}{message[1:]}; found {detail['input']!r}"
