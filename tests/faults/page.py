"""What a person reads: a table in the terminal, and docs/faults."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict

from local.cluster import settings
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import LOGS
from tests.faults.verdict import TAKEOVER, Verdict

FOLDER = settings.REPO / "docs" / "faults"
LATEST = FOLDER / "latest.json"
#: Ways to launch, in the order of the rows.
LAUNCHES = ("stock-deferrable", "local", "celery", "none")
#: Results of every run, of whatever size.
RUNS = settings.STATE / "faults"

COLUMNS = {
    "what goes away": lambda one: one.scenario,
    "launch": lambda one: one.launch,
    "tasks": lambda one: one.tasks,
    "faults": lambda one: one.faults,
    "lost": lambda one: one.lost,
    "failed": lambda one: one.failed,
    "retries": lambda one: one.retries,
    "pods a task": lambda one: f"{one.pods / one.tasks:.2f} + {one.worker_pods / one.tasks:.2f}",
    "two pods": lambda one: one.pods_twice,
    "run twice": lambda one: one.runs_twice,
    "callbacks twice": lambda one: one.callbacks_twice,
    "logs not whole": lambda one: one.logs_incomplete,
    "lines missing / twice / disordered": lambda one: (
        f"{one.lines_missing} / {one.lines_twice} / {one.lines_disordered}"
    ),
    "take-over p50 / p95": lambda one: (
        f"{_seconds(one.takeover_p50_s)} / {_seconds(one.takeover_p95_s)}" if one.takeovers else ""
    ),
    "time": lambda one: f"{one.seconds:.0f} s",
}

TEXT = """\
# What is left when something goes away

`make faults` takes parts of the platform, and of what it stands on, away from running tasks, and counts what is left:
first with the stock KubernetesPodOperator (deferrable, on KubernetesExecutor), then with the platform's own launcher,
in the scheduler's pod (`local`) or in pods of its own (`celery`; `LAUNCHER=celery` installs it), on the same cluster.
`make faults SCENARIO=triggerer-kill N=20 LAUNCH=platform` tries one scenario alone, with as many tasks as wanted;
`make faults-short` kills the triggerer once under ten tasks. This page and [latest.json](latest.json)
are written by runs at full size. Where the stock operator has fewer tasks than the platform, it would take half an hour
and more to launch as many.

{table}

{judgement}

## What happens

{scenarios}

## What is counted

- Every task's container writes into a **ledger** when it begins and when it ends; it is a pod of its own that no fault
  touches. *Lost*: the task never ended, or is marked as a success that never ran to its end. *Run twice*: begun
  more than once.
- A **watch** holds every pod that was created, and Kubernetes' events tell of any that it has not seen. *Pods a task*:
  of the task, and of workers that launched it. *Two pods*: tasks for which more than one was created.
- No task fails by itself: each *failed* one was failed by the platform. All have two retries; *retries* are tries that
  the platform has used up.
- In the scenarios `second-phase` and `api-server-calls` each task has a **callback**, which leaves word of each call:
  *callbacks twice* are tasks whose callback was called more than once.
- Each container prints **numbered lines**, and the ledger knows how many. The log of a task's last try is *whole* when
  it holds each line once and in order, over all of its objects in S3 and as the API shows it, {logs} s after the last
  task ended at the latest.
- *Take-over*: from the kill or the stop of a triggerer to the line `trigger … starting` of another in the task's log,
  for all tasks that were waiting. A task that ended without one counts to its end.

What must hold for the platform: nothing lost, failed, or twice, every log whole, take-over p95 within {takeover} s.

## Where it was run

{where}
"""


def table(verdicts: Iterable[Verdict]) -> str:
    """The verdicts as a Markdown table that can be read as text, too."""
    rows = [list(COLUMNS), *([str(show(one)) for show in COLUMNS.values()] for one in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])


def keep(verdict: Verdict) -> None:
    """Put a verdict at full size into docs/faults/latest.json, in place of the older one, and write the page."""
    known = {(one.scenario, one.launch): one for one in [*load(), verdict]}
    names = list(SCENARIOS)
    ordered = sorted(known.values(), key=lambda one: (names.index(one.scenario), LAUNCHES.index(one.launch)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "results": [asdict(one) for one in ordered]}
    LATEST.write_text(json.dumps(content, indent=2) + "\n")
    write()


def load() -> list[Verdict]:
    """The verdicts in latest.json, of scenarios that there still are."""
    if not LATEST.exists():
        return []
    return [Verdict(**one) for one in json.loads(LATEST.read_text())["results"] if one["scenario"] in SCENARIOS]


def write() -> None:
    """Write docs/faults/README.md from latest.json."""
    verdicts = load()
    missing = [name for name in SCENARIOS if name not in {one.scenario for one in verdicts if not _is_stock(one)}]
    broken = [f"- **{one.scenario}** ({one.launch}): {', '.join(one.broken())}." for one in verdicts if _breaks(one)]
    judgement = "With the platform's launcher, what must hold does not everywhere:\n\n" + "\n".join(broken)
    if not broken:
        judgement = "With the platform's launcher, what must hold holds in every scenario that was run."
    if missing:
        judgement += f"\n\nNot run yet with the platform's launcher: {', '.join(missing)}."
    where = [
        f"- {one.scenario}, {one.launch}: {one.date[:16].replace('T', ' ')} UTC, image {one.image}"
        + "".join(f"; {note}" for note in one.notes)
        for one in verdicts
    ]
    (FOLDER / "README.md").write_text(
        TEXT.format(
            table=table(verdicts),
            judgement=judgement,
            scenarios="\n".join(f"- **{one.name}**: {one.what}." for one in SCENARIOS.values()),
            logs=LOGS,
            takeover=TAKEOVER,
            where="\n".join([machine(), "", *where]),
        )
    )


def machine() -> str:
    """What the cluster runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"A three-node kind cluster on one machine: {os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}."


def _is_stock(one: Verdict) -> bool:
    return one.launch.startswith("stock")


def _breaks(one: Verdict) -> bool:
    return not _is_stock(one) and bool(one.broken())


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} s"
