"""Waits until api-servers of this image's Airflow, or of a newer one, answer.

Run before a launcher starts: ``python -m airflow_platform.api_server_release URL``. A newer Airflow's task may send
what an older api-server refuses, whose models forbid fields that they do not know; an older task is understood by a
newer one (``airflow/api_fastapi/execution_api/versions``).
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from importlib.metadata import version

from packaging.version import InvalidVersion, Version

from airflow_platform.client import AWAY
from airflow_platform.schema import NotReady, wait

#: Answers in a row, each on a connection of its own: the address is all api-servers', which are replaced in turn.
_ANSWERS = 8


def check(url: str, needed: str, *, unless_away: bool = False) -> None:
    """Ask the api-servers for their version, at ``url``, Airflow's ``/api/v2/version``.

    Raises:
        NotReady: one is older than ``needed``, or, but with ``unless_away``, does not answer.
    """
    for _ in range(_ANSWERS):
        try:
            # Of the chart's own value.
            with urllib.request.urlopen(url, timeout=3) as answer:  # nosec B310
                found = json.load(answer)["version"]
            older = Version(found) < Version(needed)
        except (OSError, ValueError, KeyError, TypeError, InvalidVersion) as error:
            if unless_away and _is_away(error):
                continue
            raise NotReady(f"the api-server does not tell its version at {url}: {error}") from None
        if older:
            raise NotReady(
                f"the api-server is of Airflow {found}, older than this image's {needed}: it is replaced once the "
                "migrations Job has finished"
            )


def _is_away(error: Exception) -> bool:
    """Whether nobody has answered, or a proxy in place of a server: one at another path does answer."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in AWAY
    return isinstance(error, OSError)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.api_server_release", description=__doc__)
    parser.add_argument("url", help="its /api/v2/version")
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait (default: %(default)s)")
    parser.add_argument(
        "--unless-away", action="store_true", help="do not wait for one that does not answer: only for an older one"
    )
    options = parser.parse_args(arguments)
    needed = version("apache-airflow-core")
    try:
        wait(lambda: check(options.url, needed, unless_away=options.unless_away), options.timeout)
    except NotReady as reason:
        sys.exit(f"gave up after {options.timeout:g} s: {reason}")
    print("no api-server is older")


if __name__ == "__main__":
    main()
