"""Make the list of the official Airflow chart's values that ``airflow-platform convert-values`` knows.

``python tools/official_chart_paths.py 1.19.0=FOLDER 1.22.0=FOLDER``, each folder with a release's ``values.yaml`` and
``values.schema.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[1]
sys.path.append(str(REPO / "images" / "airflow" / "src"))

from airflow_platform.official_chart.defaults import digest  # noqa: E402

FILE = REPO / "images" / "airflow" / "src" / "airflow_platform" / "official_chart" / "paths.txt"


def of_schema(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths that a schema ends at: below them it takes anything, or nothing."""
    if properties := schema.get("properties"):
        for key, one in properties.items():
            yield from of_schema(one, (*path, key))
    else:
        yield path


def of_values(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The paths of values that are no maps, and of empty maps."""
    if isinstance(values, dict) and values:
        for key, one in values.items():
            yield from of_values(one, (*path, str(key)))
    else:
        yield path, values


def main(arguments: list[str]) -> None:
    """Write the list."""
    found: dict[tuple[str, ...], set[str]] = {}
    releases = [one.partition("=")[0] for one in arguments]
    for one in arguments:
        folder = Path(one.partition("=")[2])
        for path in of_schema(json.loads((folder / "values.schema.json").read_text())):
            found.setdefault(path, set())
        for path, value in of_values(yaml.safe_load((folder / "values.yaml").read_text())):
            found.setdefault(path, set()).add(digest(value))
    lines = [" ".join([".".join(path), *sorted(digests)]) for path, digests in sorted(found.items())]
    FILE.write_text("\n".join([f"# {', '.join(releases)}", *lines]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
