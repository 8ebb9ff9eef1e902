"""Says whether the Airflow job of this pod is alive, by the age of its heartbeat in the metadata database.

The probe of components that serve no HTTP: ``python -m airflow_platform.heartbeat TriggererJob``. It answers
what ``airflow jobs check --local`` does without importing Airflow, which costs seconds of processor time at each probe.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import threading
from concurrent.futures import Future
from typing import Any

import psycopg2

from airflow_platform.schema import NotReady, connect

#: Seconds that the database may take for the answer, less than a probe may. PgBouncer takes connections while the
#: database is away, and lets who asks wait.
_PATIENCE = 12


def local_hostnames() -> list[str]:
    """What ``[core] hostname_callable`` may have written for this host: its address or one of its names."""
    name = socket.gethostname()
    names = [name, socket.getfqdn()]
    with contextlib.suppress(OSError):
        names.append(socket.gethostbyname(name))
    return names


def age(connection: Any, job_type: str, hostnames: list[str]) -> float | None:
    """Seconds since the last heartbeat of this host's running job of that type; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM now() - latest_heartbeat) FROM job"
            " WHERE job_type = %s AND hostname = ANY(%s) AND state = 'running' ORDER BY latest_heartbeat DESC LIMIT 1",
            (job_type, hostnames),
        )
        row = cursor.fetchone()
    return None if row is None else float(row[0])


def _ask(job_type: str) -> float | None:
    """The `age` of this pod's job.

    Raises:
        NotReady: the database does not answer, or not in time.
    """
    answer: Future[float | None] = Future()

    def ask() -> None:
        try:
            with connect() as connection:
                answer.set_result(age(connection, job_type, local_hostnames()))
        except psycopg2.Error as error:
            answer.set_exception(NotReady(f"the database does not answer: {str(error).strip()}"))
        except BaseException as error:
            answer.set_exception(error)

    # What waits in libpq can neither be cancelled nor interrupted, and is left behind.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(_PATIENCE)
    except TimeoutError:
        raise NotReady(f"the database has not answered within {_PATIENCE:g} s") from None


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.heartbeat", description=__doc__)
    parser.add_argument("job_type", choices=["SchedulerJob", "DagProcessorJob", "TriggererJob"])
    parser.add_argument("--max-age", type=float, default=30, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--without-database",
        action="store_true",
        help="succeed where the database does not answer: a restart would not help, and would lose what runs",
    )
    options = parser.parse_args(arguments)
    try:
        seconds = _ask(options.job_type)
    except NotReady as reason:
        if options.without_database:
            print(f"unknown: {reason}")
            return
        sys.exit(str(reason))
    if seconds is None:
        sys.exit(f"no running {options.job_type} on {socket.gethostname()}")
    if seconds > options.max_age:
        sys.exit(f"the last heartbeat is {seconds:.0f} s old, more than {options.max_age:g} s")


if __name__ == "__main__":
    main()
