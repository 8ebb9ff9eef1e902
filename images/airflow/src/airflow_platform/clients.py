"""One DAG for each client of a list, in which a client with an error does not touch the others.

An error in one DAG of a file is the whole file's for Airflow, which runs none of its DAGs then. So each client's DAG is
made and tried by itself, and what fails has in its place a DAG that fails, and says why::

    @each_client(Path(__file__).with_name("clients.yaml"), "report", owner="sales", schedule="@daily")
    def report(client, settings):
        with DAG(f"report__{client}", …):
            KubernetesPodOperator(…, arguments=[f"--batches={settings['batches']}"])
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.sdk.exceptions import AirflowFailException

from airflow_platform.yaml_dag.text import DeclarationError, Text, read_entries

#: The tag of a client's DAG that cannot be made.
BROKEN = "broken"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")

_Make = Callable[[str, dict[str, Any]], Any]


@dataclass(frozen=True)
class Client:
    """A client: its name, what the list says of it, and its lines there."""

    name: str
    settings: dict[str, Any]
    entry: Text


class Broken(BaseOperator):
    """A task that fails, and says why the DAG of its client cannot be made."""

    def __init__(self, *, declared_error: str, **options: Any) -> None:
        super().__init__(**options)
        self.declared_error = declared_error

    def execute(self, context: Any) -> None:
        """Fail.

        Raises:
            AirflowFailException: always.
        """
        self.log.error(self.declared_error)
        raise AirflowFailException(self.declared_error)


def each_client(file: Path, dag: str, *, owner: str, **options: Any) -> Callable[[_Make], _Make]:
    """Call the function below with each client of a list, and what the list says of it, to make the client's DAG.

    Args:
        file, dag, owner, options: as for `make_dags`.

    Raises:
        DeclarationError: as `make_dags`.
    """

    def call(make: _Make) -> _Make:
        make_dags(file, dag, lambda client: make(client.name, client.settings), owner=owner, **options)
        return make

    return call


def make_dags(file: Path, dag: str, make: Callable[[Client], Any], *, owner: str, **options: Any) -> None:
    """Make the DAG of each client of a list.

    Args:
        file: YAML, whose entries are the clients: ``acme: {batches: 3}``. One that is not YAML is no other's error.
        dag: the id that the DAGs' ids begin with: ``<dag>__<client>``.
        make: makes a client's DAG.
        owner: of the task of a DAG that is made in place of one that fails.
        options: of that DAG, above all its ``schedule``: its run fails when the client's would have begun.

    Raises:
        DeclarationError: there is no list, nobody is on it, or the DAG of none of them can be made.
    """
    made: set[str] = set()
    broken: dict[str, tuple[Text, str]] = {}
    for entry in read_entries(file):
        name = f"line_{entry.lines[()]}"
        try:
            name = _name(entry, made | set(broken))
            _make_one(Client(name, _settings(entry, name), entry), make)
            made.add(name)
        except Exception as error:
            # Of several without a name on one line, each is said.
            before = f"{broken[name][1]}\n" if name in broken else ""
            broken[name] = entry, before + _said(name, entry, error)
    if not made:
        # Most often it is what makes them that is wrong: once is enough.
        lines = dict.fromkeys(line for _, said in broken.values() for line in said.splitlines())
        raise DeclarationError(
            "\n".join(lines) or f"{file}:1: there is no client; add a line as `acme: {{batches: 3}}`"
        )
    for name, (entry, said) in broken.items():
        _stand_in(f"{dag}__{name}", _with_line(name, entry, said), owner, options)


def _name(entry: Text, known: set[str]) -> str:
    """The name of the client that an entry is.

    Raises:
        DeclarationError: it is none.
    """
    value, place = entry.value, entry.at(())
    if isinstance(value, DeclarationError):
        raise value
    name = next(iter(value)) if value else ""
    if not _NAME.fullmatch(name):
        raise DeclarationError(f"{place}: a client is expected, as `acme: {{batches: 3}}`, of letters, digits, - and _")
    if name in known:
        raise DeclarationError(f"{place}: client {name} is there twice; keep one")
    return name


def _settings(entry: Text, name: str) -> dict[str, Any]:
    """What the list says of a client.

    Raises:
        DeclarationError: it is not YAML, or no mapping.
    """
    found = entry.value[name] or {}
    if isinstance(found, DeclarationError):
        raise found
    if not isinstance(found, dict):
        raise DeclarationError(f"{entry.at(())}: a mapping is expected, as `{name}: {{batches: 3}}`")
    return found


def _make_one(client: Client, make: Callable[[Client], Any]) -> None:
    """Make a client's DAG, and have Airflow and the platform say whether they take it, as when they have found it."""
    before = set(DagContext.autoregistered_dags)
    try:
        make(client)
        for dag, _ in DagContext.autoregistered_dags - before:
            dag.validate()
            dag.check_cycle()
            for task in dag.tasks:
                settings.task_policy(task)
    except Exception:
        # One that is half made is there, too.
        DagContext.autoregistered_dags.intersection_update(before)
        raise


def _said(name: str, entry: Text, error: Exception) -> str:
    """What is wrong: lines ``file:line: what``."""
    if isinstance(error, DeclarationError):
        return str(error)
    return f"{entry.at((name,))}: client {name}: {' '.join(f'{type(error).__name__}: {error}'.split())}"


def _with_line(name: str, entry: Text, said: str) -> str:
    """What is wrong with a client, with its line in the list first."""
    return "\n".join(
        line if line.startswith(f"{entry.file}:") else f"{entry.at((name,))}: client {name}: {line}"
        for line in said.splitlines()
    )


def _stand_in(dag_id: str, error: str, owner: str, options: dict[str, Any]) -> None:
    with DAG(
        dag_id,
        **{
            "schedule": None,
            "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc),
            "catchup": False,
            "tags": [BROKEN],
            "doc_md": f"### The DAG of this client cannot be made\n\n{error}",
            **options,
        },
    ) as made:
        Broken(task_id="declaration", declared_error=error, owner=owner, retries=0)
    made.declared_error = error
