"""What a person reads: ``docs/causes``, made from the results and the words of ``page.md``, and a table to look at."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from local.cluster import settings
from tests.bench.figures import number
from tests.causes import figures
from tests.causes.cases import CASES
from tests.causes.figures import Outcome
from tests.causes.logs import LONGEST
from tests.causes.trial import LINE, LINES, OBJECT
from tests.causes.work import LAUNCHES, PLATFORM, STOCK

FOLDER = settings.REPO / "docs" / "causes"
LATEST = "latest.json"
WORDS = Path(__file__).with_suffix(".md")
_NAMES = {PLATFORM: "platform", STOCK: "stock operator"}
_WHERE = {LINE: "in one line", LINES: "over several lines", OBJECT: "in a printed pod"}


def keep(outcomes: Sequence[Outcome], versions: str, loads: Sequence[float], folder: Path = FOLDER) -> None:
    """Put results into ``latest.json``, in place of the older ones of the same faults, and write the page.

    :param loads: of the machine, when the run began and when it ended.
    """
    there = {(one.case, one.launch): one for one in [*load(folder), *outcomes]}
    order = {name: place for place, name in enumerate(CASES)}
    ordered = sorted(there.values(), key=lambda one: (order[one.case], LAUNCHES.index(one.launch)))
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions,
        "loads": _loads(folder) | {one.launch: [round(each, 1) for each in loads] for one in outcomes},
        "figures": {launch: figures.figures(_of(ordered, launch)) for launch in LAUNCHES},
        "results": [asdict(one) for one in ordered],
    }
    (folder / LATEST).write_text(json.dumps(content, indent=2) + "\n")
    write(folder)


def load(folder: Path = FOLDER) -> list[Outcome]:
    """The results in ``latest.json``, of faults that there still are."""
    path = folder / LATEST
    if not path.exists():
        return []
    return [Outcome(**one) for one in json.loads(path.read_text())["results"] if one["case"] in CASES]


def _loads(folder: Path) -> dict[str, list[float]]:
    path = folder / LATEST
    return json.loads(path.read_text()).get("loads", {}) if path.exists() else {}


def write(folder: Path = FOLDER) -> None:
    """Write ``README.md`` from ``latest.json``."""
    content, outcomes = json.loads((folder / LATEST).read_text()), load(folder)
    heals = ", ".join(case.what for case in CASES.values() if case.heals)
    words = WORDS.read_text().format(
        where=_where(content),
        figures=_figures({launch: figures.figures(_of(outcomes, launch)) for launch in LAUNCHES}),
        summary="\n".join(_summary(_of(outcomes, launch), launch) for launch in LAUNCHES),
        table=_table(outcomes),
        longest=LONGEST,
        heals=heals,
    )
    (folder / "README.md").write_text(words)


def _where(content: dict) -> str:
    loads = "; ".join(f"{_NAMES[launch]}, {before} and {after}" for launch, (before, after) in content["loads"].items())
    return (
        f"Measured on {content['date']}: {content['machine']} {content['versions']}. Load of the machine when the run "
        f"began and when it ended: {loads}."
    )


def machine() -> str:
    """What the cluster runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"a three-node kind cluster on one machine, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()};"


def terminal(outcomes: Iterable[Outcome]) -> str:
    """One line each."""
    return "\n".join(
        f"  {_mark(one)} {one.case:24}{one.state:9}{one.kind or '-':16}"
        f"line {_seconds(one.line_s):>6}  end {_seconds(one.stop_s):>6}  {one.line[:150]}"
        + "".join(f"\n       ! {note}" for note in one.notes)
        for one in outcomes
    )


def figures_in_words(found: Sequence[dict]) -> str:
    """One line each."""
    return "\n".join(f"  {_judged(one)}  {one['figure']} ({_limit(one)})" for one in found)


def _of(outcomes: Iterable[Outcome], launch: str) -> list[Outcome]:
    return [one for one in outcomes if one.launch == launch]


def _summary(outcomes: Sequence[Outcome], launch: str) -> str:
    if not outcomes:
        return f"- **{_NAMES[launch]}**: not measured yet"
    named = Counter(one.where for one in outcomes if one.named)
    spread = ", ".join(f"{named[where]} {words}" for where, words in _WHERE.items() if named[where])
    said = f": {spread}" if set(named) - {LINE} else ""
    return f"- **{_NAMES[launch]}**: {named.total()} of {len(outcomes)} faults are named in the log{said}"


def _figures(found: dict[str, list[dict]]) -> str:
    rows = [
        [ours["figure"], _limit(ours), *(_judged(found[launch][place]) for launch in LAUNCHES)]
        for place, ours in enumerate(found[PLATFORM])
    ]
    return _markdown(["figure", "must", *(_NAMES[launch] for launch in LAUNCHES)], rows)


def _limit(one: dict) -> str:
    return f"{'≥' if one['at_least'] else '≤'} {number(one['must'], one['unit'])}"


def _judged(one: dict) -> str:
    verdict = {"missed": "**missed**"}.get(one["verdict"], one["verdict"])
    if one["measured"] is not None:
        return f"{number(one['measured'], one['unit'])}: {verdict}"
    return "never: **missed**" if one["verdict"] == "missed" else verdict


def _table(outcomes: Sequence[Outcome]) -> str:
    by_case = {(one.case, one.launch): one for one in outcomes}
    rows = []
    for name, case in CASES.items():
        found = [by_case.get((name, launch)) for launch in LAUNCHES]
        rows += [
            [
                case.what if launch == PLATFORM or not found[0] else "",
                _NAMES[launch],
                _class(one),
                one.state,
                _named(one),
                _seconds(one.line_s) if one.named else "never",
                _seconds(one.stop_s),
                _cell(one),
            ]
            for launch, one in zip(LAUNCHES, found, strict=True)
            if one is not None
        ]
    return _markdown(["fault", "launch", "class", "task", "named", "line", "end", "what a person reads"], rows)


def _named(one: Outcome) -> str:
    if not one.named:
        return "**no**"
    return "yes" if one.where == LINE else _WHERE[one.where]


def _class(one: Outcome) -> str:
    if one.kind is None:
        return "–"
    right = "" if one.kind == CASES[one.case].kind else f", **not {CASES[one.case].kind}**"
    return f"{one.kind}{'' if one.certain else ', most likely'}{right}"


def _cell(one: Outcome) -> str:
    line = one.line.replace("|", "\\|").replace("<", "&lt;")
    return line + "".join(f" (*{note}*)" for note in one.notes)


def _mark(one: Outcome) -> str:
    return "ok" if (one.right if one.launch == PLATFORM else one.named) and not one.notes else "no"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
