"""Two files, compared by what is in them where their names tell what that is, else byte by byte."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from airflow_platform.compare import table, values
from airflow_platform.compare.table import NotReadError, UnreadableError
from airflow_platform.compare.values import Difference

#: Differences of one file that are kept; the rest is only counted.
KEPT = 20

#: The most differences that are counted.
_COUNTED = 100_000


@dataclass(frozen=True)
class Compared:
    """``differences``: the first ones of ``count``; ``how``: what was compared, such as "120 rows, 9 columns".

    ``is_whole``: whether that is all of the files.
    """

    differences: tuple[Difference, ...]
    count: int
    how: str
    is_whole: bool


def compare(
    name: str,
    left: Path,
    right: Path,
    *,
    tolerance: float,
    limit: int,
    counts: Callable[[Difference], bool] = lambda difference: True,
) -> Compared | None:
    """Compare two files that are not the same byte by byte.

    Args:
        name: the file's, which tells what is in it.
        left, right: the files.
        tolerance: how far numbers may be apart (`values.differences`).
        limit: the most bytes of what a compressed file may hold.
        counts: whether a difference is one.

    Returns:
        None: nothing but its bytes is known of such a file.

    Raises:
        UnreadableError: one of the files is not what its name says.
    """
    name = name.lower()
    compressed = name.endswith(".gz")
    read = _kind(name.removesuffix(".gz"))
    if read is None:
        return None
    one, other = (_Opened(path, compressed, limit) for path in (left, right))
    every, how, is_whole = read(one, other, tolerance)
    found = filter(counts, every)
    kept = list(islice(found, KEPT))
    return Compared(tuple(kept), len(kept) + sum(1 for _ in islice(found, _COUNTED)), how, is_whole)


@dataclass(frozen=True)
class _Opened:
    path: Path
    is_compressed: bool
    limit: int

    def text(self) -> str:
        try:
            if not self.is_compressed:
                return self.path.read_bytes().decode("utf-8-sig")
            with gzip.open(self.path) as file:
                content = file.read(self.limit + 1)
            if len(content) > self.limit:
                raise NotReadError(f"it holds more than {self.limit >> 20} MiB, compressed")
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnreadableError(f"it is no UTF-8: {error}") from error
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(f"it cannot be unpacked: {error}") from error


_Found = tuple[Iterator[Difference], str, bool]


def _kind(name: str) -> Callable[[_Opened, _Opened, float], _Found] | None:
    suffix = Path(name).suffix
    return {
        ".parquet": _parquet,
        ".csv": lambda one, other, tolerance: _csv(one, other, tolerance, ","),
        ".tsv": lambda one, other, tolerance: _csv(one, other, tolerance, "\t"),
        ".json": _json,
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
    }.get(suffix)


def _parquet(one: _Opened, other: _Opened, tolerance: float) -> _Found:
    return _tables(table.from_parquet(one.path), table.from_parquet(other.path), tolerance)


def _csv(one: _Opened, other: _Opened, tolerance: float, delimiter: str) -> _Found:
    return _tables(table.from_csv(one.text(), delimiter), table.from_csv(other.text(), delimiter), tolerance)


def _tables(one: table.Table, other: table.Table, tolerance: float) -> _Found:
    def of(side: table.Table) -> str:
        return _count(side.total, "row") if side.is_whole else f"the first {len(side.rows):,} of {side.total:,} rows"

    is_whole = one.is_whole and other.is_whole
    rows = of(one) if of(one) == of(other) else f"{of(one)} with {of(other)}"
    if not is_whole and table.key_of(one, other) is None:
        rows = f"no cell of {rows}, as no column tells them apart"
    columns = len(set(one.types) & set(other.types))
    return table.differences(one, other, tolerance), f"{rows}, {_count(columns, 'column')}", is_whole


def _json(one: _Opened, other: _Opened, tolerance: float) -> _Found:
    return values.differences(_parsed(one.text()), _parsed(other.text()), tolerance), "JSON, every value", True


def _json_lines(one: _Opened, other: _Opened, tolerance: float) -> _Found:
    # Not splitlines(): a JSON text may hold other characters that end a line, such as U+2028.
    lines, there = ([_parsed(line) for line in side.text().split("\n") if line.strip()] for side in (one, other))
    return values.differences(lines, there, tolerance), f"{_count(max(len(lines), len(there)), 'line')} of JSON", True


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnreadableError(f"it is no JSON: {error}") from error
