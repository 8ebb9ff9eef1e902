"""Serves to Prometheus what no component says of itself: ``python -m airflow_platform.monitor``.

It reads Airflow's database at each scrape, without importing Airflow. So it goes on to tell the age of a heartbeat,
of a queued task or of a parsed DAG while the component that would have told it is gone. The api-server has no
heartbeat there: it is asked itself.

It waits for no migration: what a schema has not yet, or has locked, is left out.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import psycopg2
import psycopg2.errors
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily

from airflow_platform.expiry import Unreadable, expiry
from airflow_platform.schema import NotReady, connect

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The DAG whose runs say whether the platform works from end to end (`airflow_platform.canary`).
CANARY = "platform_canary"

#: Airflow's job types, and how the platform calls the component.
_COMPONENTS = {"SchedulerJob": "scheduler", "DagProcessorJob": "dag-processor", "TriggererJob": "triggerer"}
#: The launcher's executor class, by ``launcher.kind``; other tasks run on KubernetesExecutor.
_LAUNCHERS = {"local": "LocalLauncher", "celery": "CeleryLauncher"}

#: Seconds between two looks at when a certificate ends, and for which a server may take to show its own.
_LOOK, _ANSWER = 600, 5
#: Seconds that all answers together may take: Prometheus waits for ten by default, and one scrape that has none resets
#: what all alerts have waited for.
_PATIENCE = 8
#: Of these, those that the api-server has.
_AT_FIRST = 3
#: Milliseconds that a query waits for a table that a migration holds: less than those after which PostgreSQL looks for
#: a deadlock, which the migration might pay for.
_LOCKED = 500
#: What a query meets in a schema that is being migrated, or is an older Airflow's.
_MIGRATING = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn, psycopg2.errors.LockNotAvailable)

#: One row a value: the labels' values, then the value; a row without one is left out.
_QUERIES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "airflow_platform_database_connections": (
        "Connections that the database server has, of all its users",
        (),
        # Not of pg_stat_activity, which tells a user without rights little of others.
        "SELECT sum(numbackends) FROM pg_stat_database",
    ),
    "airflow_platform_database_connections_max": (
        "Connections that the database server has room for, less those for its superusers",
        (),
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int",
    ),
    "airflow_platform_heartbeat_age_seconds": (
        "Age of the last heartbeat of a component, whichever of its pods it came from",
        ("component",),
        # Also of one that was stopped in good order: it is missed as well, where the values want one.
        "SELECT job_type, extract(epoch FROM now() - max(latest_heartbeat)) FROM job"
        " WHERE job_type IN ('SchedulerJob', 'DagProcessorJob', 'TriggererJob') GROUP BY job_type",
    ),
    "airflow_platform_triggerer_heartbeat_age_seconds": (
        "Age of the last heartbeat of that triggerer of those that run which was heard of longest ago",
        (),
        # One that was killed runs by its row for ever: it counts until another has begun in its place, or for minutes.
        "SELECT extract(epoch FROM now() - min(latest_heartbeat)) FROM job WHERE job_type = 'TriggererJob'"
        " AND state = 'running' AND latest_heartbeat > now() - interval '10 minutes'"
        " AND latest_heartbeat >= (SELECT max(start_date) FROM job WHERE job_type = 'TriggererJob')",
    ),
    "airflow_platform_tasks": (
        "Task instances that are under way, by state and by the executor that runs them",
        ("state", "executor_class_name"),
        "SELECT state, executor, count(*) FROM task_instance"
        " WHERE state IN ('scheduled', 'queued', 'running', 'deferred') GROUP BY state, executor",
    ),
    "airflow_platform_oldest_task_seconds": (
        "For how long the task instance that waits longest has been in this state",
        ("state",),
        "SELECT state, extract(epoch FROM"
        " now() - min(CASE state WHEN 'queued' THEN queued_dttm ELSE scheduled_dttm END))"
        " FROM task_instance WHERE state IN ('scheduled', 'queued') GROUP BY state",
    ),
    "airflow_platform_dag_parse_age_seconds": (
        "For how long the DAG whose file was parsed longest ago has not been parsed again",
        (),
        "SELECT extract(epoch FROM max(now() - last_parsed_time)) FROM dag WHERE NOT is_stale",
    ),
    "airflow_platform_canary_age_seconds": (
        "Time since a run of the canary DAG last succeeded, or since its first run began where none has",
        (),
        "SELECT extract(epoch FROM now() - coalesce(max(run.end_date) FILTER (WHERE run.state = 'success'),"
        " min(run.queued_at))) FROM dag JOIN dag_run run USING (dag_id)"
        # Also where its file breaks or is gone, which makes it stale.
        f" WHERE dag_id = '{CANARY}' AND NOT dag.is_paused",
    ),
}
_UP = ("airflow_platform_database_up", "Whether Airflow's database answers (1) or not (0)")
_API_SERVER = ("airflow_platform_api_server_up", "Whether the api-server answers (1) or not (0)")
_EXPIRY = (
    "airflow_platform_expiry_timestamp_seconds",
    "When a certificate or a token ends, in seconds since the epoch; 0 where that cannot be read",
)

#: The names of all that is served here.
NAMES = (_UP[0], *_QUERIES, _API_SERVER[0], _EXPIRY[0])


class Aside(Generic[T]):
    """A question that is asked in a thread, one at a time, so that whoever wants the answer need not wait for ever."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._thread = ThreadPoolExecutor(1)
        self._asked: Future[T] | None = None

    def answer(self, until: float, *, late: bool = False) -> T:
        """The answer to a question that is asked now, or, if it may be ``late``, to the one that was asked before.

        Raises:
            TimeoutError: it is not there ``until`` that time (`time.monotonic`), or one of before is still waited for.
        """
        if self._asked and not late:
            self._asked.exception(max(0, until - time.monotonic()))
            self._asked = None
        self._asked = self._asked or self._thread.submit(self._ask)
        found = self._asked.result(max(0, until - time.monotonic()))
        self._asked = None
        return found


class Monitor:
    """A collector of `prometheus_client`.

    Args:
        expires: the content of what ends at a time, by what it is called; called at each look.
        launcher: ``launcher.kind``.
        components: those that there are to be heard of.
        api_server: what is asked of the api-server, as a URL; nothing: it is not asked.
    """

    def __init__(
        self,
        expires: dict[str, Callable[[], bytes]] | None = None,
        launcher: str = "none",
        components: Collection[str] = tuple(_COMPONENTS.values()),
        api_server: str = "",
    ) -> None:
        self._expires = expires or {}
        self._launcher = _LAUNCHERS.get(launcher, "launcher")
        self._components = components
        self._api_server = api_server
        self._began: float | None = None
        self._looked_until = 0.0
        self._ends: dict[str, float] = {}
        self._database = Aside(self._of_database)
        self._api = Aside(lambda: _answers(api_server))
        self._servers = Aside(lambda: {what: _end(what, read) for what, read in self._expires.items()})
        # Two scrapes at once would ask twice.
        self._lock = threading.Lock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics, as they are now."""
        until = time.monotonic() + _PATIENCE
        with self._lock:
            if self._api_server:
                yield GaugeMetricFamily(*_API_SERVER, value=self._of_api_server())
            try:
                yield from self._database.answer(until)
            except TimeoutError:
                log.warning("The database has not answered within %s s", _PATIENCE)
                yield GaugeMetricFamily(*_UP, value=0)
            if self._expires:
                yield self._of_expiry(until)

    def _of_database(self) -> list[GaugeMetricFamily]:
        found = [GaugeMetricFamily(*_UP, value=1)]
        try:
            with connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {_PATIENCE * 1000}; SET LOCAL lock_timeout = {_LOCKED}")
                for name in _QUERIES:
                    found.append(self._read(cursor, name))
        except _MIGRATING as reason:
            log.warning("The schema is being migrated: %s", str(reason).partition("\n")[0])
        except (NotReady, psycopg2.Error) as reason:
            log.warning("The database could not be asked: %s", reason)
            return [GaugeMetricFamily(*_UP, value=0)]
        return found

    def _read(self, cursor: Any, name: str) -> GaugeMetricFamily:
        description, labels, query = _QUERIES[name]
        family = GaugeMetricFamily(name, description, labels=labels)
        cursor.execute(query)
        # Executors of several names may be one.
        sums: dict[tuple[str, ...], float] = {}
        for *values, value in cursor.fetchall():
            if value is not None:
                named = tuple(self._named(label, one) for label, one in zip(labels, values, strict=True))
                sums[named] = sums.get(named, 0.0) + float(value)
        if labels == ("component",):
            # One that never came up has no row: it is missed since there was first a table to look for it in.
            self._began = self._began or time.monotonic()
            missed = time.monotonic() - self._began
            sums = {(one,): sums.get((one,), missed) for one in self._components}
        for named, value in sums.items():
            family.add_metric(named, value)
        return family

    def _named(self, label: str, value: str | None) -> str:
        if label == "component":
            return _COMPONENTS.get(str(value), str(value))
        if label == "executor_class_name":
            return self._launcher if value == "launcher" else "KubernetesExecutor"
        return str(value)

    def _of_api_server(self) -> bool:
        try:
            return self._api.answer(time.monotonic() + _AT_FIRST)
        except TimeoutError:
            log.warning("The api-server has not answered within %s s", _AT_FIRST)
            return False

    def _of_expiry(self, until: float) -> GaugeMetricFamily:
        if time.monotonic() >= self._looked_until:
            try:
                self._ends = self._servers.answer(until, late=True)
                self._looked_until = time.monotonic() + _LOOK
            except TimeoutError:
                log.warning("Servers are slow to show their certificates: what is known of these stays")
        family = GaugeMetricFamily(*_EXPIRY, labels=["what"])
        for what, end in self._ends.items():
            family.add_metric([what], end)
        return family


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=_ANSWER).is_success
    except httpx.HTTPError as error:
        log.warning("The api-server does not answer: %s", error)
        return False


def _end(what: str, read: Callable[[], bytes]) -> float:
    try:
        return expiry(read())
    except (OSError, Unreadable) as error:
        log.warning("When %s ends cannot be told: %s", what, error)
        return 0.0


def of_server(address: str) -> bytes:
    """The certificate that a server shows, ``host:port``, as PEM; it is not verified.

    Raises:
        OSError: it cannot be reached, or speaks no TLS.
    """
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port)), timeout=_ANSWER) as connection,
        context.wrap_socket(connection, server_hostname=host) as secure,
    ):
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"").encode()


def expiring(files: Iterable[Path], addresses: Iterable[str]) -> dict[str, Callable[[], bytes]]:
    """What ends at a time: files ``…/SECRET/KEY``, whether they are there or not, and the certificates of servers."""
    found: dict[str, Callable[[], bytes]] = {address: lambda one=address: of_server(one) for address in addresses}
    for path in files:
        found[f"{path.parent.name}/{path.name}"] = path.read_bytes
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.monitor", description=__doc__)
    parser.add_argument("--port", type=int, default=9103, help="of /metrics (default: %(default)s)")
    parser.add_argument(
        "--expiring", action="append", type=Path, default=[], metavar="FILE",
        help="a certificate or token, as …/SECRET/KEY",
    )  # fmt: skip
    parser.add_argument("--address", action="append", default=[], metavar="HOST:PORT", help="of a TLS server")
    parser.add_argument(
        "--component", action="append", choices=[*_COMPONENTS.values()], help="that is to be heard of (default: all)"
    )
    parser.add_argument("--api-server", default="", metavar="URL", help="what is asked of it (default: nothing)")
    parser.add_argument("--launcher", choices=["local", "celery", "none"], default="none", help="launcher.kind")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    registry = CollectorRegistry()
    components = options.component or tuple(_COMPONENTS.values())
    expires = expiring(options.expiring, options.address)
    monitor = Monitor(expires, options.launcher, components, options.api_server)
    registry.register(monitor)
    stopped = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stopped.set())
    server, _ = start_http_server(options.port, registry=registry)
    print(f"metrics are served at port {options.port}", flush=True)
    stopped.wait()
    server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
