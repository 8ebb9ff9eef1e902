"""Two sides compared: what is not the same, what could not be compared, and what is the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from airflow_platform.compare import content, values
from airflow_platform.compare.side import Output, Side
from airflow_platform.compare.storage import File
from airflow_platform.compare.table import NotReadError, UnreadableError
from airflow_platform.compare.values import Difference

DIFFERENT, NOT_COMPARED, SAME = "different", "not compared", "same"

#: Parts of a comparison, in the order in which they are told.
PARTS = ("run", "output", "xcom", "task")


@dataclass(frozen=True)
class Finding:
    """Something that both runs have, or one of them: ``where`` it is, and whether it is the same.

    ``how`` says what was compared; ``differences`` are the first of ``count``.
    """

    part: str
    where: str
    verdict: str
    summary: str
    how: str = ""
    differences: tuple[Difference, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class Rules:
    """What counts as different.

    Args:
        tolerance: how far numbers may be apart (`values.differences`).
        limit: the most bytes of a file that are compared.
        slower: how many times as long as before a task may take; None: however long.
        ignore: patterns, as of file names, of what is left out.
    """

    tolerance: float
    limit: int
    slower: float | None = None
    ignore: tuple[str, ...] = ()

    def counts(self, where: str) -> bool:
        """Whether what is there is to be compared."""
        # What the report writes in brackets is an index, and no set of characters.
        return not any(fnmatchcase(where, pattern.replace("[", "[[]")) for pattern in self.ignore)


def compare(left: Side, right: Side, rules: Rules) -> list[Finding]:
    """All that there is on either side, what is different first."""
    found = [*_of_runs(left, right), *_of_outputs(left, right, rules), *_of_xcoms(left, right, rules)]
    found += _of_tasks(left, right, rules)
    found = [one for one in found if rules.counts(one.where)]
    verdicts = (DIFFERENT, NOT_COMPARED, SAME)
    return sorted(found, key=lambda one: (verdicts.index(one.verdict), PARTS.index(one.part)))


def _of_runs(left: Side, right: Side) -> Iterator[Finding]:
    if not (left.state and right.state):
        # Files that were kept are of no run; but a run that failed has not made all of its own.
        state = left.state or right.state
        if state != "success":
            yield Finding("run", "state", DIFFERENT, f"the run ended as {state}")
    elif left.state != right.state:
        difference = Difference("state", left.state, right.state)
        yield Finding("run", "state", DIFFERENT, "the runs ended differently", "", (difference,), 1)
    elif left.state == "failed":
        yield Finding("run", "state", NOT_COMPARED, "both runs failed: what they left may be a part only")
    else:
        yield Finding("run", "state", SAME, left.state)


def _of_tasks(left: Side, right: Side, rules: Rules) -> Iterator[Finding]:
    if not (left.tasks or right.tasks):
        return
    for where, one, other in _pairs(left.tasks, right.tasks):
        if one is None or other is None:
            yield _only("task", where, *((right, left) if one is None else (left, right)))
        elif one.state != other.state:
            said = " ".join(task.why for task in (one, other) if task.why)
            difference = Difference("state", one.state, other.state)
            yield Finding("task", where, DIFFERENT, said or "it ended differently", "", (difference,), 1)
        elif rules.slower and one.seconds and (other.seconds or 0) > rules.slower * one.seconds:
            difference = Difference("seconds", f"{one.seconds:.1f}", f"{other.seconds:.1f}")
            summary = f"it took more than {rules.slower:g} times as long"
            yield Finding("task", where, DIFFERENT, summary, "", (difference,), 1)
        else:
            yield Finding("task", where, SAME, one.state, "state")


def _of_xcoms(left: Side, right: Side, rules: Rules) -> Iterator[Finding]:
    for where, one, other in _pairs(left.xcoms, right.xcoms, values.ABSENT):
        if one is values.ABSENT or other is values.ABSENT:
            yield _only("xcom", where, *((right, left) if one is values.ABSENT else (left, right)))
            continue
        # An address may well be another one; what is there is compared as an output.
        every = values.differences(*map(_without_addresses, (one, other)), rules.tolerance)
        found = tuple(each for each in every if rules.counts(f"{where} {each.where}"))
        if found:
            count = len(found)
            summary = f"{count} {'value is' if count == 1 else 'values are'} different"
            yield Finding("xcom", where, DIFFERENT, summary, "every value", found[: content.KEPT], count)
        else:
            yield Finding("xcom", where, SAME, values.shown(one), "every value")


def _without_addresses(value: Any) -> Any:
    if isinstance(value, str):
        return "s3://…" if value.startswith("s3://") else value
    if isinstance(value, dict):
        return {name: _without_addresses(inner) for name, inner in value.items()}
    return [_without_addresses(inner) for inner in value] if isinstance(value, list) else value


def _of_outputs(left: Side, right: Side, rules: Rules) -> Iterator[Finding]:
    for where, one, other in _pairs(left.outputs, right.outputs):
        if not any(each and (each.file or each.is_lost or each.is_declared) for each in (one, other)):
            # An address in an XCom where neither run has written.
            continue
        if one is None or other is None:
            yield _only("output", where, *((right, left) if one is None else (left, right)))
            continue
        where = f"{where}: {one.address}" if where != one.address else where
        if one.address != other.address:
            where += f" → {other.address}"
        yield _of_output(where, one, other, left, right, rules)


def _of_output(where: str, one: Output, other: Output, left: Side, right: Side, rules: Rules) -> Finding:
    for output, side in ((one, left), (other, right)):
        if output.is_lost:
            return Finding("output", where, NOT_COMPARED, f"{side.name}: {output.problem}")
    if one.file is None and other.file is None:
        return Finding("output", where, NOT_COMPARED, f"neither has it. {one.problem}".strip())
    if one.file is None or other.file is None:
        absent, output = (left, one) if one.file is None else (right, other)
        return Finding("output", where, DIFFERENT, f"{absent.name} has none. {output.problem}".strip())
    return _of_files(where, one.file, other.file, rules)


def _of_files(where: str, one: File, other: File, rules: Rules) -> Finding:
    if one.mark == other.mark:
        return Finding("output", where, SAME, _size(one.size), f"all {_size(one.size)}, {one.mark.split()[0]}")
    sizes = Difference("size", _size(one.size), _size(other.size))
    if one.path is None or other.path is None:
        if one.size != other.size:
            return Finding("output", where, DIFFERENT, "the sizes are different", "size", (sizes,), 1)
        summary = f"{_size(one.size)} are more than is fetched ({_size(rules.limit)}): give --max-size"
        return Finding("output", where, NOT_COMPARED, summary, "size")
    unread = ""
    try:
        found = content.compare(
            one.name, one.path, other.path, tolerance=rules.tolerance, limit=rules.limit,
            counts=lambda difference: rules.counts(f"{where} {difference.where}"),
        )  # fmt: skip
    except NotReadError as error:
        return Finding("output", where, NOT_COMPARED, f"the bytes are different; not by content: {error}")
    except UnreadableError as error:
        found, unread = None, f"; not by content: {error}"
    if found is None:
        marks = Difference("bytes", *(f"{_size(file.size)}, {file.mark[:19]}…" for file in (one, other)))
        return Finding("output", where, DIFFERENT, f"the bytes are different{unread}", "all bytes", (marks,), 1)
    how = f"{found.how}, {_size(one.size)}"
    if not found.count:
        if not found.is_whole:
            return Finding("output", where, NOT_COMPARED, "the same, as far as it was compared", how)
        return Finding("output", where, SAME, "the same content in other bytes", how)
    summary = f"{found.count:,} {'difference' if found.count == 1 else 'differences'}"
    return Finding("output", where, DIFFERENT, summary, how, found.differences, found.count)


def _pairs(left: dict, right: dict, absent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    for name in [*left, *(name for name in right if name not in left)]:
        yield name, left.get(name, absent), right.get(name, absent)


def _only(part: str, where: str, there: Side, absent: Side) -> Finding:
    return Finding(part, where, DIFFERENT, f"only {there.name} has it, {absent.name} has not")


def _size(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
