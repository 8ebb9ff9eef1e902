"""Says whether the Airflow job of this pod is alive, by the age of its heartbeat in the metadata database.

The probe of components that serve no HTTP: ``python -m airflow_platform.heartbeat TriggererJob``. It answers
what ``airflow jobs check --local`` does without importing Airflow, which costs seconds of processor time at each probe.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from typing import Any

from airflow_platform.schema import NotReady, connect


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
        with connect() as connection:
            seconds = age(connection, options.job_type, local_hostnames())
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
