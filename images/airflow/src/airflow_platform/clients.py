"""One DAG for each client of a list, in which a client with an error does not touch the others.

An error in one DAG of a file is the whole file's for Airflow, which runs none of its DAGs then. So each client's DAG is
made and tried by itself, and what fails has in its place a DAG that fails, and says why::

    for client in clients(Path(__file__).with_name("clients.yaml"), "report", owner="sales", schedule="@daily"):
        with client, DAG(client.dag_id, …):
            KubernetesPodOperator(…, arguments=[f"--batches={client.settings['batches']}"])
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.sdk.exceptions import AirflowFailException

from airflow_platform.declared.text import DeclarationError, Text, read_entries

#: The tag of a client's DAG that cannot be made.
BROKEN = "broken"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Client:
    """A client, and a context in which its DAG is made: an error there is its own.

    Args:
        name: the client's.
        dag_id: of its DAG.
        settings: what the list says of it.
        entry: its lines.
        error: what is wrong with it, a line each, as ``file:line: what``.
    """

    def __init__(self, name: str, dag_id: str, entry: Text, error: str = "") -> None:
        self.name, self.dag_id, self.entry, self.error = name, dag_id, entry, error
        self.settings: dict[str, Any] = {} if error else entry.value[name] or {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> bool:
        made = {(dag, module) for dag, module in DagContext.autoregistered_dags if dag.dag_id == self.dag_id}
        try:
            if error is not None:
                raise error
            for dag, _ in made:
                _try(dag)
        except Exception as found:
            # One that is only half made is registered, too.
            DagContext.autoregistered_dags.difference_update(made)
            self.error = str(found) if isinstance(found, DeclarationError) else self._describe(found)
            return True
        return False

    def _describe(self, error: Exception) -> str:
        place = self.entry.at((self.name,))
        return f"{place}: client {self.name}: {' '.join(f'{type(error).__name__}: {error}'.split())}"

    @property
    def own_error(self) -> str:
        """What is wrong with it, with the client's line first."""
        place = self.entry.at((self.name,))
        return "\n".join(
            line if line.startswith(f"{self.entry.file}:") else f"{place}: client {self.name}: {line}"
            for line in self.error.splitlines()
        )


class Broken(BaseOperator):
    """A task that fails, and says why the DAG of its client cannot be made."""

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


def clients(file: Path, dag: str, *, owner: str, **options: Any) -> Iterator[Client]:
    """The clients of a list, one after the other.

    Args:
        file: YAML, whose entries are the clients: ``acme: {batches: 3}``. One that is not YAML is no other's error.
        dag: the id that the DAGs' ids begin with: ``<dag>__<client>``.
        owner: of the task of a DAG that is made in place of one that fails.
        options: of that DAG, above all its ``schedule``: its run fails when the client's would have begun.

    Raises:
        DeclarationError: there is no list, nobody is on it, or the DAG of none of them can be made.
    """
    found: list[Client] = []
    for entry in read_entries(file):
        client = _client(entry, dag, {one.name for one in found})
        found.append(client)
        if not client.error:
            yield client
    if not found:
        raise DeclarationError(f"{file}:1: there is no client; add a line as `acme: {{batches: 3}}`")
    broken = [client for client in found if client.error]
    if len(broken) == len(found):
        # Most often the file is wrong that makes them: once is enough.
        raise DeclarationError("\n".join(dict.fromkeys(line for one in broken for line in one.error.splitlines())))
    for client in broken:
        _stand_in(client, owner, options)


def _client(entry: Text, dag: str, known: set[str]) -> Client:
    value, place = entry.value, entry.at(())
    name = str(next(iter(value))) if isinstance(value, dict) and len(value) == 1 else ""
    if isinstance(value, DeclarationError):
        error = str(value)
    elif not _NAME.fullmatch(name):
        error = f"{place}: a client is expected, as `acme: {{batches: 3}}`; its name has letters, digits, - and _"
    elif name in known:
        error = f"{place}: client {name} is there twice; keep one"
    elif not isinstance(value[name] or {}, dict):
        error = f"{place}: a mapping is expected, as `{name}: {{batches: 3}}`"
    else:
        return Client(name, f"{dag}__{name}", entry)
    line = f"line_{entry.lines[()]}"
    # The name is not known, or another's.
    return Client(line, f"{dag}__{line}", entry, error)


def _try(dag: DAG) -> None:
    """Have Airflow and the platform say whether they take a DAG, as they do when they have found it."""
    dag.validate()
    dag.check_cycle()
    for task in dag.tasks:
        settings.task_policy(task)


def _stand_in(client: Client, owner: str, options: dict[str, Any]) -> None:
    with DAG(
        client.dag_id,
        **{
            "schedule": None,
            "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc),
            "catchup": False,
            "tags": [BROKEN],
            "doc_md": f"### The DAG of this client cannot be made\n\n{client.own_error}",
            **options,
        },
    ) as made:
        Broken(task_id="declaration", error=client.own_error, owner=owner, retries=0)
    made.declared_error = client.own_error
