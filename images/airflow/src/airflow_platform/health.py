"""Whether a release is at work, as ``helm test`` asks it: ``python -m airflow_platform.health ADDRESS COMPONENT…``.

The api-server says of each component whether its last heartbeat is recent, to anybody: ``/api/v2/monitor/health``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

#: Seconds between two looks, and for one answer.
_EVERY, _TIMEOUT = 2.0, 10.0


def look(address: str) -> dict[str, str | None]:
    """What the api-server says of each component: ``healthy``, ``unhealthy``, or None where none ever ran.

    Raises:
        OSError: it does not answer, or not with success.
        ValueError: what answers there is no api-server.
    """
    at = urlsplit(address)
    with closing(HTTPConnection(at.hostname, at.port, timeout=_TIMEOUT)) as connection:
        try:
            connection.request("GET", f"{at.path}/api/v2/monitor/health")
            answer = connection.getresponse()
            content = answer.read()
        except HTTPException as error:
            raise OSError(f"{address}: {error!r}") from error
    if answer.status != HTTPStatus.OK:
        raise OSError(f"{address} answers {answer.status}")
    found = json.loads(content)
    return {name: (state or {}).get("status") for name, state in found.items()}


def wait(address: str, components: list[str], seconds: float) -> dict[str, str | None]:
    """Look until all of ``components`` are healthy or ``seconds`` are over; the last answer.

    Raises:
        RuntimeError: there was no answer; the message says why.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            found, problem = look(address), None
        except (OSError, ValueError) as error:
            found, problem = {}, error
        if found and all(found.get(name) == "healthy" for name in components):
            return found
        if time.monotonic() >= deadline:
            if problem is not None:
                raise RuntimeError(f"{address} gives no answer about its health: {problem}")
            return found
        time.sleep(_EVERY)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.health", description=__doc__)
    parser.add_argument("address", help="the api-server, http://host:port and the path of its base URL")
    parser.add_argument("components", nargs="+", help="those that have to be healthy, such as scheduler")
    parser.add_argument("--timeout", type=float, default=120, help="seconds to wait for them (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        found = wait(options.address, options.components, options.timeout)
    except RuntimeError as error:
        sys.exit(str(error))
    for name in options.components:
        print(f"{name}: {found.get(name) or 'never seen'}")
    if any(found.get(name) != "healthy" for name in options.components):
        sys.exit(f"Not all of the release is at work after {options.timeout:g} s. The log of its pods says why.")


if __name__ == "__main__":
    main()
