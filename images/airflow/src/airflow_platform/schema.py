"""Waits until the metadata database has the schema that this image's Airflow expects, and its set-up is over.

Run before a component starts: ``python -m airflow_platform.schema --timeout 600``. It does the work of
``airflow db check-migrations`` without importing Airflow, for a twentieth of the processor time: several pods wait at
once.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import parse_dsn

_T = TypeVar("_T")

URL_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"

# Held by airflow_platform.setup while it works; any number that no other user of the database takes.
SETUP_LOCK = 7_315_108_322_604_511

# Of libpq, in seconds and milliseconds: a host that is gone without a word is noticed in half a minute, not in hours.
_HOST_IS_THERE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
#: For ``[database] sql_alchemy_connect_args``. By itself Airflow waits as long as TCP tries: a quarter of an hour.
CONNECT_ARGS = {"connect_timeout": 15, **_HOST_IS_THERE}

# Version table of each schema, and the module that lists its head revisions by release.
_REVISIONS = {
    "alembic_version": "utils/db.py",
    "alembic_version_fab": "providers/fab/auth_manager/models/db.py",
}


class NotReady(Exception):
    """The database cannot be used yet; the message says why."""


def expected_heads(airflow: Path | None = None) -> dict[str, str]:
    """The newest revision of each version table: those of `revisions` for this image.

    Raises:
        LookupError: Airflow is not installed, or a source file has no such map.
    """
    return {table: list(known.values())[-1] for table, known in revisions(airflow).items()}


def revisions(airflow: Path | None = None) -> dict[str, dict[str, str]]:
    """Of each version table, the revision that each release brought: ``_REVISION_HEADS_MAP`` of Airflow's source.

    ``airflow`` is the folder of that package; by default, where it is installed.

    Raises:
        LookupError: Airflow is not installed, or a source file has no such map.
    """
    if airflow is None:
        spec = importlib.util.find_spec("airflow")
        if spec is None or spec.origin is None:
            raise LookupError("Airflow is not installed")
        airflow = Path(spec.origin).parent
    known = {}
    for table, module in _REVISIONS.items():
        source = (airflow / module).read_text()
        for node in ast.parse(source).body:
            target = node.target if isinstance(node, ast.AnnAssign) else None
            if isinstance(target, ast.Name) and target.id == "_REVISION_HEADS_MAP":
                known[table] = ast.literal_eval(node.value)
                break
        else:
            raise LookupError(f"{airflow / module} has no _REVISION_HEADS_MAP")
    return known


def found_heads(connection: Any) -> dict[str, str]:
    """The revision of each version table that the database has; none of a table that is not there or empty."""
    found = {}
    with connection.cursor() as cursor:
        for table in _REVISIONS:
            cursor.execute("SELECT to_regclass(%s)", (table,))
            if cursor.fetchone()[0] is not None:
                cursor.execute(f"TABLE {table}")
                found.update((table, row[0]) for row in cursor.fetchall())
    return found


@contextmanager
def connect(url: str | None = None) -> Iterator[Any]:
    """A connection to the metadata database, one transaction long.

    ``url`` is SQLAlchemy's; by default the environment's.

    Raises:
        NotReady: there is no PostgreSQL URL, it is malformed, or the database does not answer. No message repeats the
            password.
    """
    url = url or os.environ.get(URL_VARIABLE, "")
    scheme, separator, rest = url.partition("://")
    if scheme.split("+")[0] not in ("postgres", "postgresql"):
        raise NotReady(f"{URL_VARIABLE} is no PostgreSQL URL: {scheme + separator + '…' if separator else 'not set'}")
    if not _well_formed(rest):
        raise NotReady(f"{URL_VARIABLE} is not a valid URL: percent-encode user and password")
    if tls := sorted(option for option in parse_dsn(f"postgresql://{rest}") if option.startswith("ssl")):
        # Airflow gives the same URL to asyncpg, which raises TypeError at the first use: hours later, maybe.
        raise NotReady(
            f"{URL_VARIABLE} has {', '.join(tls)}, which a part of Airflow does not know there: take it out of the "
            "URL, and set database.sslMode and database.sslRootCert in the chart's values"
        )
    try:
        connection = psycopg2.connect(f"postgresql://{rest}", connect_timeout=5, **_HOST_IS_THERE)
    except psycopg2.Error as error:
        raise NotReady(f"the database does not answer: {str(error).strip()}") from None
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def _well_formed(rest: str) -> bool:
    """Whether libpq reads the URL after ``://`` as it is meant.

    A raw ``%``, ``/``, ``?`` or ``@`` in a password moves a piece of it to the host, the port or the database's name,
    which libpq repeats in its errors.
    """
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    if authority.count("@") > 1 or "@" in rest[len(authority) :]:
        return False
    try:
        port = parse_dsn(f"postgresql://{rest}").get("port", "")
    except psycopg2.Error:
        return False
    return re.fullmatch("[0-9,]*", port) is not None


def check(connection: Any, heads: dict[str, str], needed: Iterable[str] = ()) -> None:
    """Compare the version tables with ``heads``, and see whether the set-up is over.

    Args:
        needed: ids of Airflow connections that the set-up makes.

    Raises:
        NotReady: a version table has another revision, the set-up is still under way, or a connection is missing.
    """
    with connection.cursor() as cursor:
        for table, head in heads.items():
            cursor.execute("SELECT to_regclass(%s)", (table,))
            if cursor.fetchone()[0] is None:
                raise NotReady(f"the database has no table {table} yet: the migrations Job has not created it")
            cursor.execute(f"TABLE {table}")  # Its one column is version_num.
            found = [row[0] for row in cursor.fetchall()]
            if found != [head]:
                raise NotReady(
                    f"{table} is at {', '.join(found) or 'nothing'}, this image's Airflow needs {head}: the migrations "
                    "Job has not finished, or a newer Airflow migrated this database"
                )
        cursor.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", (SETUP_LOCK,))
        if not cursor.fetchone()[0]:
            raise NotReady("the migrations Job has not finished")
        if needed := list(needed):
            # Where the schema stays, this may run before the Job has begun.
            cursor.execute("SELECT conn_id FROM connection WHERE conn_id = ANY(%s)", (needed,))
            if missing := set(needed) - {row[0] for row in cursor.fetchall()}:
                raise NotReady(f"there is no connection {', '.join(sorted(missing))} yet: the migrations Job makes it")


def wait(
    probe: Callable[[], _T],
    timeout: float,
    *,
    interval: float = 2,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Call ``probe`` every ``interval`` seconds until it raises no NotReady, and print each new reason once.

    Returns:
        What it has returned then.

    Raises:
        NotReady: the last reason, once ``timeout`` seconds are over.
    """
    end = clock() + timeout
    said = ""
    while True:
        try:
            return probe()
        except NotReady as reason:
            if str(reason) != said:
                said = str(reason)
                print(f"waiting: {said}", flush=True)
            if clock() >= end:
                raise
            sleep(interval)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.schema", description=__doc__)
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait (default: %(default)s)")
    parser.add_argument(
        "--connection", action="append", default=[], metavar="ID", help="wait for this Airflow connection too"
    )
    options = parser.parse_args(arguments)
    heads = expected_heads()

    def probe() -> None:
        with connect() as connection:
            check(connection, heads, options.connection)

    try:
        wait(probe, options.timeout)
    except NotReady as reason:
        sys.exit(f"gave up after {options.timeout:g} s: {reason}")
    print("the database is ready")


if __name__ == "__main__":
    main()
