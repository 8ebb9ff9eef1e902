"""A comparison, for people as one HTML page that loads nothing, and for programs as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow_platform.compare.findings import DIFFERENT, NOT_COMPARED, PARTS, SAME, Finding, Rules
from airflow_platform.compare.side import Side

_PAGE = "page.html"

#: What a part's findings are called, one and more of them.
_NAMES = {
    "run": ("run", "runs"),
    "output": ("output", "outputs"),
    "xcom": ("XCom", "XComs"),
    "task": ("task", "tasks"),
}


def headline(findings: Sequence[Finding]) -> str:
    """The result in a sentence."""
    verdicts = Counter(one.verdict for one in findings)
    if verdicts[DIFFERENT]:
        where = counted([one for one in findings if one.verdict == DIFFERENT])
        return f"Not the same: {where}"
    if verdicts[NOT_COMPARED]:
        return f"Not all could be compared: {counted([one for one in findings if one.verdict == NOT_COMPARED])}"
    return f"The same: {counted(findings)}" if findings else "There is nothing to compare"


def counted(findings: Sequence[Finding]) -> str:
    """How many findings of which part: "2 outputs, 1 task"."""
    parts = Counter(one.part for one in findings)
    return ", ".join(f"{parts[part]} {_NAMES[part][parts[part] != 1]}" for part in PARTS if parts[part])


def as_json(left: Side, right: Side, findings: Sequence[Finding], rules: Rules) -> str:
    """All of it."""
    sides = {name: _side(side) for name, side in (("left", left), ("right", right))}
    found = [asdict(one) for one in findings]
    return json.dumps({"result": headline(findings), **sides, "rules": asdict(rules), "findings": found}, indent=2)


def as_page(left: Side, right: Side, findings: Sequence[Finding], rules: Rules) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    return environment.get_template(_PAGE).render(
        headline=headline(findings),
        sides=(left, right),
        different=[one for one in findings if one.verdict == DIFFERENT],
        not_compared=[one for one in findings if one.verdict == NOT_COMPARED],
        same=[one for one in findings if one.verdict == SAME],
        durations=_durations(left, right),
        rules=rules,
        made=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
    )


def _side(side: Side) -> dict[str, Any]:
    return {
        name: getattr(side, name)
        for name in ("name", "dag_id", "run_id", "url", "state", "logical_date", "conf", "seconds")
    }


def _durations(left: Side, right: Side) -> list[dict[str, Any]]:
    """Each task's times, and how long their bars are, in percent of the longest."""
    names = [*left.tasks, *(name for name in right.tasks if name not in left.tasks)]
    rows = []
    for name in names:
        found = [side.tasks.get(name) for side in (left, right)]
        rows.append({"task": name, "sides": found, "seconds": [one and one.seconds for one in found]})
    longest = max((seconds for row in rows for seconds in row["seconds"] if seconds), default=1.0)
    for row in rows:
        row["bars"] = [round(100 * (seconds or 0) / longest, 1) for seconds in row["seconds"]]
    return rows
