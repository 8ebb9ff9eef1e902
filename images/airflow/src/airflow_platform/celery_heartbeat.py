"""Says whether the Celery worker of this pod is alive, by the age of the file that it touches at each heartbeat.

The probe of the launcher's pods: ``python -m airflow_platform.celery_heartbeat``. It answers what ``celery inspect
ping`` does without importing Airflow and Celery, which costs seconds of processor time at each probe.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BROKER_VARIABLE = "AIRFLOW__CELERY__BROKER_URL"

_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "amqp": 5672, "amqps": 5671}
_WITH_TLS = ("rediss", "amqps")


def path() -> Path:
    """The file, in the pod's folder for temporary files."""
    return Path(tempfile.gettempdir()) / "celery-heartbeat"


def keep() -> None:
    """Have the worker that this process becomes touch the file at each of its heartbeats, every two seconds.

    A worker sends them from its main loop, over its connection to the broker (``celery.worker.heartbeat``): where the
    one hangs or the other is lost, they stop.
    """
    from celery.signals import heartbeat_sent

    heartbeat_sent.connect(_touch, dispatch_uid=__name__)


def _touch(**_: Any) -> None:
    path().touch()


def age() -> float | None:
    """Seconds since the last heartbeat; None where there was none."""
    try:
        return time.time() - path().stat().st_mtime
    except FileNotFoundError:
        return None


def answers(url: str, timeout: float = 2) -> bool:
    """Whether the broker, the first of several, answers; what it answers to a stranger is all the same.

    Args:
        url: as Celery takes it, ``redis://:password@host:6379/0``, or several with ``;`` between.
        timeout: seconds to wait for the connection, and for the answer.
    """
    broker = urlsplit(url.split(";")[0])
    host = broker.hostname or "localhost"
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(
                socket.create_connection((host, broker.port or _PORTS.get(broker.scheme, 6379)), timeout)
            )
            if broker.scheme in _WITH_TLS:
                import ssl

                context = ssl.create_default_context()
                # Its certificate is for Celery to check, by its own settings; nothing secret is sent here.
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
            # Redis says PONG or that it does not know us, RabbitMQ which protocol it speaks.
            connection.sendall(b"PING\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.celery_heartbeat", description=__doc__)
    parser.add_argument("--max-age", type=float, default=30, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--without-broker",
        action="store_true",
        help="succeed where the broker does not answer: a restart would not help, and would lose what runs",
    )
    options = parser.parse_args(arguments)
    seconds = age()
    if seconds is not None and seconds <= options.max_age:
        return
    if options.without_broker and not answers(os.environ.get(BROKER_VARIABLE, "")):
        print("unknown: the broker does not answer")
        return
    if seconds is None:
        sys.exit(f"no heartbeat of Celery on {socket.gethostname()} yet")
    sys.exit(f"the last heartbeat is {seconds:.0f} s old, more than {options.max_age:g} s")


if __name__ == "__main__":
    main()
