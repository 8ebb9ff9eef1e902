"""The local PostgreSQL, as its superuser asks it."""

from __future__ import annotations

from local.cluster import settings
from local.cluster.kind import kubectl


def query(sql: str, database: str = "airflow") -> list[str]:
    """Run SQL statements, up to the first that fails; the rows that they answer, with ``|`` between columns.

    :raises Problem: psql's own words.
    """
    words = ["exec", "-i", "-n", settings.STAND_INS, "postgres-0", "--", "psql", "--host=/tmp", "--username=postgres"]
    options = ["--no-psqlrc", "-qAt", f"--dbname={database}", "--set=ON_ERROR_STOP=1", "--file=-"]
    return kubectl(*words, *options, stdin=sql).splitlines()
