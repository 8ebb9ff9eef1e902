"""What Airflow's API knows of the DAGs of releases: their schedule, and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow_platform.client import Client
from airflow_platform.release.plan import RunInfo

_API = "/api/v2"
_PAGE = 100


class Runs:
    """Asks one api-server.

    Each method raises ClientError where it does not answer.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def dags(self, name: str, *, stale: bool = False) -> dict[str, dict[str, Any]]:
        """The DAGs of all versions of a release that Airflow has parsed, and has still (or not: ``stale``), by id."""
        found = self._all("/dags", "dags", tags=f"release:{name}", exclude_stale=not stale)
        return {dag["dag_id"]: dag for dag in found}

    def unfinished(self, dag_id: str) -> int:
        """How many runs of a DAG have not ended."""
        return self._count(dag_id, state=["queued", "running"])

    def count(self, dag_id: str) -> int:
        """How many runs a DAG has."""
        return self._count(dag_id)

    def last(self, dag_id: str) -> RunInfo | None:
        """The last run of the schedule, or of a backfill, by which Airflow knows the next one."""
        found = self._get(
            f"/dags/{quote(dag_id, safe='')}/dagRuns",
            run_type=["scheduled", "backfill"],
            order_by="-logical_date",
            limit=1,
        )["dag_runs"]
        # A run of a partition has no interval.
        if not found or not found[0]["data_interval_start"]:
            return None
        names = {"run_after": "run_after", "start": "data_interval_start", "end": "data_interval_end"}
        return RunInfo(**{name: datetime.fromisoformat(found[0][key]) for name, key in names.items()})

    def _count(self, dag_id: str, **query: Any) -> int:
        return self._get(f"/dags/{quote(dag_id, safe='')}/dagRuns", limit=1, **query)["total_entries"]

    def _all(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self._get(path, limit=_PAGE, offset=len(found), **query)
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._client.get(path, below=_API, **query)
