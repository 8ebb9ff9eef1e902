"""Versions of releases: three numbers, as in Semantic Versioning."""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow_platform.command_error import CommandError

#: Begins the tag of a released DAG that says which version it is.
TAG = "version:"

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def key(version: str) -> tuple[int, int, int]:
    """What sorts versions.

    Raises:
        CommandError: it is none.
    """
    found = _VERSION.fullmatch(version)
    if not found:
        raise CommandError(f"{version!r} is no version: write three numbers, as 1.3.0")
    return int(found[1]), int(found[2]), int(found[3])


def suffixed(name: str, version: str) -> str:
    """The name of a version's own: of its file, and of each of its DAGs."""
    return f"{name}__{version.replace('.', '_')}"


def following(versions: Iterable[str]) -> str:
    """The version after all of these: the next minor one; 1.0.0 after none."""
    known = sorted(map(key, versions))
    return f"{known[-1][0]}.{known[-1][1] + 1}.0" if known else "1.0.0"
