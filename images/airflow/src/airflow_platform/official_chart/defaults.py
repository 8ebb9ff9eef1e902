"""What the official chart knows: the paths of its values in the releases that are read here, and their defaults.

``paths.txt`` has a path a line, and digests of what its default was; ``tools/official_chart_paths.py`` makes it from
the chart's own files. A default is needed only to tell whether a file changes it, as many begin as a copy of the whole
``values.yaml``.
"""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

#: A value's path, as a key for each level.
Path = tuple[str, ...]


def digest(value: Any) -> str:
    """Eight digits that tell one default from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


@cache
def releases() -> str:
    """The releases that the paths are of, as the file's first line says."""
    return _lines()[0].removeprefix("# ")


@cache
def paths() -> dict[Path, frozenset[str]]:
    """Every path, with the digests of its defaults."""
    found = {}
    for line in _lines()[1:]:
        path, *digests = line.split()
        found[tuple(path.split("."))] = frozenset(digests)
    return found


@cache
def _inner() -> frozenset[Path]:
    return frozenset(path[:length] for path in paths() for length in range(1, len(path)))


def is_known(path: Path) -> bool:
    """Whether the chart has this path, or takes anything below one that leads to it."""
    # PostgreSQL's is a chart of its own, and a budget is taken as it is.
    if path[0] == "postgresql" or path[-3:-1] == ("podDisruptionBudget", "config"):
        return True
    return path in _inner() or any(path[:length] in paths() for length in range(1, len(path) + 1))


def is_default(path: Path, value: Any) -> bool:
    """Whether a release has this value where a file says nothing."""
    return digest(value) in paths().get(path, ())


def like(path: Path) -> str | None:
    """A path that is spelt nearly so, if there is one."""
    same_map = [
        other[len(path) - 1] for other in paths() if len(other) >= len(path) and other[: len(path) - 1] == path[:-1]
    ]
    if near := get_close_matches(path[-1], same_map, n=1):
        return ".".join((*path[:-1], near[0]))
    same_name = sorted(".".join(other) for other in (*paths(), *_inner()) if other[-1] == path[-1])
    return next(iter(get_close_matches(".".join(path), same_name, n=1, cutoff=0.3)), None)


@cache
def _lines() -> list[str]:
    return files(__package__).joinpath("paths.txt").read_text().splitlines()
