"""Values of the official Airflow chart (apache-airflow/airflow) as values of this one: the command ``convert-values``.

`given` reads their files; `table` says of each value what becomes of it, by the forms of `release`, `components`,
`configuration` and `environment`; `implied` adds what follows from what the files leave out; `written`
and `report` say the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_platform.official_chart import table
from airflow_platform.official_chart.conversion import Conversion
from airflow_platform.official_chart.defaults import Path
from airflow_platform.official_chart.given import Given, ValuesError, read
from airflow_platform.official_chart.implied import complete


def convert(
    files: Sequence[str],
    *,
    release: str = "airflow",
    namespace: str = "airflow",
    task_namespaces: Sequence[str] = (),
    image: str = "",
) -> Conversion:
    """Convert values of the official chart; later files win, as with ``helm --values``.

    Raises:
        ValuesError: a file is missing, is no YAML, or has keys or values that the official chart does not take.
    """
    given = read(files)
    conversion = Conversion(given, release, namespace, task_namespaces, image)
    for _, component, row, path, value in sorted(_units(given, given.values, ()), key=lambda unit: unit[0]):
        conversion.row = ".".join(path)
        try:
            row.form(conversion, component, conversion.row, value)
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            # Its schema refuses such a value as well.
            raise ValuesError(
                f"{given.place(conversion.row)}: {conversion.row} is not what the official chart takes"
            ) from error
    complete(conversion)
    return conversion


def _units(given: Given, values: Mapping[str, Any], path: Path) -> Iterator[tuple[int, str, table.Row, Path, Any]]:
    # A row of a part takes what no row of a value in it has.
    rows = table.by_path()
    for key, value in values.items():
        below = (*path, key)
        inner = any(len(other) > len(below) and other[: len(below)] == below for other in rows)
        if isinstance(value, Mapping) and inner:
            left = {}
            for name, one in value.items():
                if _has_row((*below, name), rows):
                    yield from _units(given, {name: one}, below)
                else:
                    left[name] = one
            value = left
            if not value:
                continue
        if below in rows:
            place, component, row = rows[below]
            yield place, component, row, below, value
        else:
            raise ValuesError(f"{given.places[below]}: {'.'.join(below)} is a map of keys")


def _has_row(path: Path, rows: Mapping[Path, Any]) -> bool:
    return any(other[: len(path)] == path for other in rows)
