"""What Airflow has of the repository's DAGs, by its database: after a start, it stands for what was accepted before."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from airflow_platform.dag_guard.parse import BUNDLE, Parsed
from airflow_platform.schema import NotReady, connect

_DAGS = (
    "SELECT dag.dag_id, dag.relative_fileloc, dag_code.source_code_hash FROM dag LEFT JOIN dag_code USING (dag_id)"
    f" WHERE dag.bundle_name = '{BUNDLE}' AND NOT dag.is_stale ORDER BY dag_code.last_updated"
)
_ERRORS = f"SELECT filename FROM import_error WHERE bundle_name = '{BUNDLE}'"


def read() -> Parsed | None:
    """What Airflow has, with the files of its DAGs and the sources of all of them; None: no DAG yet.

    Raises:
        NotReady: the database does not answer.
    """
    try:
        with connect() as connection, closing(connection.cursor()) as cursor:
            cursor.execute(_DAGS)
            # The last of a DAG's versions is the one that counts.
            dags = {dag: (file, digest) for dag, file, digest in cursor.fetchall()}
            cursor.execute(_ERRORS)
            errors = {file: "" for (file,) in cursor.fetchall()}
    except psycopg2.Error as error:
        raise NotReady(f"the database does not answer: {str(error).strip()}") from None
    sources = {file: digest for file, digest in dags.values() if digest}
    files = {dag: file for dag, (file, _) in dags.items()}
    return Parsed(sorted(dags), errors, sources, files) if dags else None
