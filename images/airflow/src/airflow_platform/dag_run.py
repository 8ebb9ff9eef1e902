"""A run of a DAG, through Airflow's REST API: triggered, and what is known of it.

Every method asks the api-server, and raises `airflow_platform.client.ClientError` where it does not answer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from airflow_platform.client import Client, ClientError, ConflictError, NotFoundError

#: States that a run does not leave by itself.
ENDED = ("success", "failed")

#: Task instances, or XComs, of one answer.
_PAGE = 100

#: What operator and platform push of each pod, its name and the verdict on it: with every run another, and no result.
_OF_THE_POD = {"pod_name", "pod_namespace", "platform_verdict"}


class DagRun:
    """A run that there is; `trigger` makes one."""

    def __init__(self, client: Client, dag_id: str, run_id: str) -> None:
        self.client, self.dag_id, self.run_id = client, dag_id, run_id
        self._path = f"{_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"

    @property
    def url(self) -> str:
        """Its page in Airflow's UI."""
        return f"{self.client.url}/dags/{quote(self.dag_id)}/runs/{quote(self.run_id)}"

    def read(self) -> dict[str, Any]:
        """The run as the API describes it: ``state``, ``logical_date``, ``conf``, ``start_date``, ``duration`` …"""
        return self.client.api("GET", self._path)

    def is_there(self) -> bool:
        """Whether there is such a run."""
        try:
            self.read()
        except NotFoundError:
            return False
        return True

    def instances(self) -> list[dict[str, Any]]:
        """Its task instances, each mapped one."""
        return self._all(f"{self._path}/taskInstances", "task_instances", order_by="id")

    def clear(self, task_ids: Sequence[str]) -> None:
        """Have tasks run again, and all that come after them.

        Raises:
            ClientError: the run has no such task, or Airflow refuses.
        """
        known = {one["task_id"] for one in self.instances()}
        if unknown := [one for one in task_ids if one not in known]:
            raise ClientError(f"run {self.run_id} has no task {unknown[0]}. It has {', '.join(sorted(known))}")
        body = {
            "dag_run_id": self.run_id,
            "task_ids": list(task_ids),
            "include_downstream": True,
            "only_failed": False,
            "reset_dag_runs": True,
            "dry_run": False,
        }
        self.client.api("POST", f"{_dag(self.dag_id)}/clearTaskInstances", body=body)

    def log(self, task_id: str, map_index: int, try_number: int) -> list[dict[str, Any]]:
        """The log of a try as it is now: of each line at least ``event``, its text."""
        path = f"{self._path}/taskInstances/{quote(task_id, safe='')}/logs/{try_number}"
        found = self.client.api("GET", path, map_index=map_index, full_content=True)["content"]
        return [line if isinstance(line, dict) else {"event": line} for line in found]

    def xcoms(self) -> list[dict[str, Any]]:
        """What its tasks pushed, without what is of their pods: ``task_id``, ``map_index``, ``key``, ``value``."""
        found = []
        for one in self._all(f"{self._path}/taskInstances/~/xcomEntries", "xcom_entries"):
            if one["key"] in _OF_THE_POD:
                continue
            path = f"{self._path}/taskInstances/{quote(one['task_id'], safe='')}/xcomEntries/{quote(one['key'])}"
            value = self.client.api("GET", path, map_index=one["map_index"])["value"]
            found.append({name: one[name] for name in ("task_id", "map_index", "key")} | {"value": _plain(value)})
        return found

    def why(self, task_id: str, map_index: int) -> str:
        """Why the task instance ended as it did, in one sentence (`airflow_platform.why`)."""
        path = f"/why/{quote(self.dag_id, safe='')}/{quote(task_id, safe='')}"
        index = map_index if map_index >= 0 else None
        return self.client.get(path, run_id=self.run_id, map_index=index)["sentence"]

    def _all(self, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self.client.api("GET", path, limit=_PAGE, offset=len(found), **query)
            found += page[name]
            if not page[name] or len(found) >= page["total_entries"]:
                return found


def trigger(
    client: Client,
    dag_id: str,
    *,
    logical_date: datetime | None = None,
    conf: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    unpause: bool = False,
) -> DagRun:
    """Make a run.

    Args:
        client: the api-server.
        dag_id: the DAG.
        logical_date: of the run; None: it has none.
        conf: the run's configuration; its entries win over the DAG's params of the same names.
        run_id: its id, that no run has yet; None: a new one.
        unpause: whether a DAG that is paused is to be unpaused, and stays so.

    Raises:
        ClientError: there is no such DAG, it is paused, or Airflow refuses the run; the message says why.
    """
    try:
        dag = client.api("GET", _dag(dag_id))
    except NotFoundError:
        raise ClientError(
            f"{client.url} has no DAG {dag_id}: is the name right, and has the DAG been parsed? The UI's home page "
            "shows the errors of files that do not import"
        ) from None
    if dag["is_paused"] and not unpause:
        raise ClientError(f"DAG {dag_id} is paused, so a run of it would wait. Unpause it, or give --unpause")
    run = DagRun(client, dag_id, run_id or _new_id())
    if run_id and run.is_there():
        raise _taken(dag_id, f"id {run_id}")
    if dag["is_paused"]:
        client.api("PATCH", _dag(dag_id), body={"is_paused": False})
    body = {
        "dag_run_id": run.run_id,
        "logical_date": logical_date.isoformat() if logical_date else None,
        "conf": dict(conf or {}),
    }
    try:
        client.api("POST", f"{_dag(dag_id)}/dagRuns", body=body)
    except ConflictError as conflict:
        if run.is_there():
            # The answer to a request before was lost: until then, nobody had this id.
            return run
        if logical_date is None:
            raise
        raise _taken(dag_id, f"logical date {body['logical_date']}") from conflict
    return run


def of_date(client: Client, dag_id: str, logical_date: datetime) -> DagRun | None:
    """The run of a logical date; None: there is none.

    Raises:
        ClientError: there is no such DAG, or the api-server does not answer.
    """
    at = logical_date.isoformat()
    query = {"logical_date_gte": at, "logical_date_lte": at}
    found = client.api("GET", f"{_dag(dag_id)}/dagRuns", **query)["dag_runs"]
    return DagRun(client, dag_id, found[0]["dag_run_id"]) if found else None


def _taken(dag_id: str, what: str) -> ClientError:
    return ClientError(f"DAG {dag_id} has a run of the {what} already: give another one, or delete that run")


def _dag(dag_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}"


def _new_id() -> str:
    """An id that can be part of a label's value and of a key in S3 as it is."""
    return f"cli-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _plain(value: Any) -> Any:
    """An XCom's value: Airflow keeps it as JSON, and answers with its text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
