"""Tables, from Parquet and CSV, and where two of them are not the same."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_platform.compare.values import Difference, same, shown

#: The most cells of a table that are compared: some hundred megabytes of memory.
CELLS = 2_000_000

#: A sign, and a zero before another digit or an exponent.
_ZEROS = re.compile(r"[+-]?0[\de]", re.IGNORECASE)


class UnreadableError(Exception):
    """A file is not what its name says; the message says why."""


class NotReadError(UnreadableError):
    """A file may well be what its name says, and cannot be read here; the message says what for."""


@dataclass(frozen=True)
class Table:
    """``types``: {name of a column: its type}; ``rows``: the first ones, so many as are compared, of ``total``."""

    types: dict[str, str]
    rows: list[tuple[Any, ...]]
    total: int

    @property
    def is_whole(self) -> bool:
        """Whether all of its rows are here."""
        return len(self.rows) == self.total


def from_parquet(path: Path) -> Table:
    """A Parquet file.

    Raises:
        UnreadableError: it is none.
        NotReadError: nothing is installed that reads it.
    """
    try:
        import duckdb
    except ImportError:
        raise NotReadError("duckdb, which reads Parquet, is missing: pip install 'airflow-platform[compare]'") from None
    # No part of it is fetched from elsewhere.
    config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": "1"}
    try:
        with duckdb.connect(config=config) as connection:
            described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
            types = {name: kind for name, kind, *_ in described}
            (total,) = connection.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()
            limit = _rows(len(types))
            rows = connection.execute("SELECT * FROM read_parquet(?) LIMIT ?", [str(path), limit]).fetchall()
    except duckdb.Error as error:
        raise UnreadableError(f"it is no Parquet: {str(error).splitlines()[0]}") from error
    return Table(types, rows, total)


def from_csv(text: str, delimiter: str) -> Table:
    """CSV with the names of its columns in the first line.

    Raises:
        UnreadableError: a row has more or fewer cells than there are columns.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = next(reader, [])
        limit, rows, total = _rows(len(names)), [], 0
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise UnreadableError(f"line {reader.line_num} has {len(row)} cells, the first line {len(names)}")
            total += 1
            if total <= limit:
                rows.append(tuple(_number(cell) for cell in row))
    except csv.Error as error:
        raise UnreadableError(f"line {reader.line_num} is no CSV: {error}") from error
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise UnreadableError(f"two columns are named {doubled[0]!r}")
    return Table(dict.fromkeys(names, "text"), rows, total)


def _rows(columns: int) -> int:
    return CELLS // max(columns, 1)


def _number(cell: str) -> Any:
    """A cell that is a number as one, so that 1.0 is 1.00; not what only Python would take for a number."""
    if cell[:1] in "+-.0123456789" and "_" not in cell:
        for kind in (int, float):
            try:
                found = kind(cell)
            except ValueError:
                continue
            # A name rather than a number: one with zeros before it, as of an order or a postcode, and one that only
            # looks like a power of ten, as a hash in hexadecimal digits may.
            is_name = str(found) != cell if kind is int else not math.isfinite(found) or _ZEROS.match(cell)
            return cell if is_name else found
    return cell


def key_of(left: Table, right: Table) -> str | None:
    """The first column whose values are all different, in both tables; None: there is none."""
    columns = _shared(left, right)
    place = _key(columns, _of(left, columns), _of(right, columns))
    return None if place is None else columns[place]


def differences(left: Table, right: Table, tolerance: float) -> Iterator[Difference]:
    """Where two tables are not the same: in columns, types, number of rows, and cells.

    Rows belong together that have the same value in the column of `key_of`; without one, those at the same place, or at
    the same place of the sorted rows.

    Of a table of which only a part was read, a row without its counterpart is no difference: that may be in the part
    that was not read. Without a key nothing of its cells is known then.
    """
    for name in [*left.types, *(name for name in right.types if name not in left.types)]:
        one, other = left.types.get(name, ""), right.types.get(name, "")
        if one != other:
            yield Difference(f"column {name}", one, other)
    if left.total != right.total:
        yield Difference("number of rows", str(left.total), str(right.total))
    columns = _shared(left, right)
    rows, others = _of(left, columns), _of(right, columns)
    is_whole, key = left.is_whole and right.is_whole, _key(columns, rows, others)
    if key is not None:
        pairs = _by_key(columns[key], key, rows, others)
        if not is_whole:
            pairs = [(where, row, other) for where, row, other in pairs if row is not None and other is not None]
    elif not is_whole:
        pairs = []
    else:
        pairs = min((_by_place("row", rows, others), _by_place("sorted row", *map(_sorted, (rows, others)))),
                    key=lambda pairs: _apart(pairs, tolerance))  # fmt: skip
    for where, row, other in pairs:
        if row is None or other is None:
            yield Difference(
                where, shown(_named(columns, row)) if row else "", shown(_named(columns, other)) if other else ""
            )
            continue
        for place, name in enumerate(columns):
            if not same(row[place], other[place], tolerance):
                yield Difference(f"{where}, {name}", shown(row[place]), shown(other[place]))


_Row = tuple[Any, ...]
_Pair = tuple[str, "_Row | None", "_Row | None"]


def _shared(left: Table, right: Table) -> list[str]:
    return [name for name in left.types if name in right.types]


def _of(table: Table, columns: Sequence[str]) -> list[_Row]:
    places = [list(table.types).index(name) for name in columns]
    return [tuple(row[place] for place in places) for row in table.rows]


def _key(columns: Sequence[str], rows: list[_Row], others: list[_Row]) -> int | None:
    return next((place for place, _ in enumerate(columns) if _is_key(rows, place) and _is_key(others, place)), None)


def _is_key(rows: list[_Row], place: int) -> bool:
    values = [row[place] for row in rows]
    return all(isinstance(value, (str, int)) for value in values) and len(set(values)) == len(values)


def _by_key(name: str, place: int, rows: list[_Row], others: list[_Row]) -> list[_Pair]:
    found, there = ({row[place]: row for row in side} for side in (rows, others))
    keys = [*found, *(key for key in there if key not in found)]
    return [(f"{name} {shown(key)}", found.get(key), there.get(key)) for key in keys]


def _by_place(what: str, rows: list[_Row], others: list[_Row]) -> list[_Pair]:
    def at(side: list[_Row], place: int) -> _Row | None:
        return side[place] if place < len(side) else None

    return [(f"{what} {place + 1}", at(rows, place), at(others, place)) for place in range(max(len(rows), len(others)))]


def _apart(pairs: list[_Pair], tolerance: float) -> int:
    return sum(not (row and other and same(row, other, tolerance)) for _, row, other in pairs)


def _sorted(rows: list[_Row]) -> list[_Row]:
    """By what does not depend on the last digits of a number."""
    return sorted(rows, key=lambda row: [f"{cell:.6e}" if isinstance(cell, float) else str(cell) for cell in row])


def _named(columns: Sequence[str], row: _Row) -> dict[str, Any]:
    return dict(zip(columns, row, strict=True))
