"""Values, and where two of them are not the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

#: Characters of a value that are shown.
_WIDTH = 200


@dataclass(frozen=True)
class Difference:
    """Where two things are not the same: ``where`` in them; ``left`` and ``right`` as text, "" where nothing is."""

    where: str
    left: str
    right: str


class _Absent:
    """No value, which is not the value None."""


ABSENT = _Absent()


def differences(left: Any, right: Any, tolerance: float, where: str = "") -> Iterator[Difference]:
    """Where two values of JSON, or of a table's cells, are not the same.

    Args:
        left, right: the values.
        tolerance: how far two numbers may be apart, absolutely or in proportion to the larger one, where at least one
            of them is no whole number.
        where: what the values are, for what is found in them.
    """
    if isinstance(left, dict) and isinstance(right, dict):
        for name in [*left, *(name for name in right if name not in left)]:
            place = f"{where}.{name}" if where else str(name)
            yield from differences(left.get(name, ABSENT), right.get(name, ABSENT), tolerance, place)
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        for number in range(max(len(left), len(right))):
            one, other = (side[number] if number < len(side) else ABSENT for side in (left, right))
            yield from differences(one, other, tolerance, f"{where}[{number}]")
    elif not same(left, right, tolerance):
        yield Difference(where, shown(left), shown(right))


def same(left: Any, right: Any, tolerance: float) -> bool:
    """Whether two single values are the same."""
    if _is_number(left) and _is_number(right):
        if _is_whole(left) and _is_whole(right):
            return left == right
        try:
            one, other = float(left), float(right)
        except OverflowError:
            return left == right
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(left, (dict, list, tuple)) and isinstance(right, (dict, list, tuple)):
        return not any(differences(left, right, tolerance))
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def shown(value: Any) -> str:
    """A value as text, shortened."""
    if value is ABSENT:
        return ""
    is_json = value is None or isinstance(value, (str, int, float, dict, list, tuple))
    text = json.dumps(value, ensure_ascii=False, default=str) if is_json else str(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _is_whole(value: int | float | Decimal) -> bool:
    """Whether it is of a type without decimals: some databases write whole numbers as DECIMAL(38, 0)."""
    if isinstance(value, Decimal):
        return value.is_finite() and value.as_tuple().exponent >= 0
    return isinstance(value, int)
