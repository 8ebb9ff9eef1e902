"""Waits until an api-server of this image's Airflow, or of a newer one, answers.

Run before a launcher starts, which has no database to look at: ``python -m airflow_platform.api_server_release URL``. A
newer Airflow's task may send what an older api-server refuses, whose models forbid fields that they do not know; an
older task is understood by a newer one (``airflow/api_fastapi/execution_api/versions``).
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from importlib.metadata import version

from packaging.version import InvalidVersion, Version

from airflow_platform.schema import NotReady, wait


def check(url: str, needed: str) -> None:
    """Ask the api-server for its version, at ``url``, Airflow's ``/api/v2/version``.

    Raises:
        NotReady: it does not answer, or is older than ``needed``.
    """
    try:
        # Of the chart's own value.
        with urllib.request.urlopen(url, timeout=5) as answer:  # nosec B310
            found = json.load(answer)["version"]
        older = Version(found) < Version(needed)
    except (OSError, ValueError, KeyError, TypeError, InvalidVersion) as error:
        raise NotReady(f"the api-server does not tell its version at {url}: {error}") from None
    if older:
        raise NotReady(
            f"the api-server is of Airflow {found}, older than this image's {needed}: it is replaced once the "
            "migrations Job has finished"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.api_server_release", description=__doc__)
    parser.add_argument("url", help="its /api/v2/version")
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait (default: %(default)s)")
    options = parser.parse_args(arguments)
    needed = version("apache-airflow-core")
    try:
        wait(lambda: check(options.url, needed), options.timeout)
    except NotReady as reason:
        sys.exit(f"gave up after {options.timeout:g} s: {reason}")
    print("the api-server is ready")


if __name__ == "__main__":
    main()
