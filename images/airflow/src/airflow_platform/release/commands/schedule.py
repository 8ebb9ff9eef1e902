"""What promote, rollback, retire and reinstate share: who is scheduled changes without a gap."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_platform.client import Client, ClientError, add_options
from airflow_platform.command_error import CommandError
from airflow_platform.release import store
from airflow_platform.release.plan import NOT_SCHEDULED, RETIRED_ALLOWS, UP_TO, Plan, RunInfo, Turn
from airflow_platform.release.runs import Runs
from airflow_platform.release.shelf import Shelf
from airflow_platform.release.version import suffixed

#: Seconds after which Airflow knows of a change: git-sync's period (10 s), and the dag-processor's next look at a file.
#: That comes at once where git-sync checks out anew, which it does with all files, else every 120 s; it may be busy.
MARGIN = 180
_EVERY = 3


def add(parser: ArgumentParser) -> ArgumentParser:
    """The options of a command that changes the schedule."""
    parser.add_argument(
        "--margin",
        type=int,
        default=MARGIN,
        metavar="SECONDS",
        help=f"runs that are due within it are the version's that is scheduled now (default: {MARGIN})",
    )
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="do not wait until Airflow has read it")
    store.add_options(parser)
    add_options(parser)
    return parser


def change(
    options: Namespace,
    name: str,
    message: str,
    decide: Callable[[Shelf], tuple[Plan, str | None]],
    done: str = "",
) -> None:
    """Change who is scheduled, or may be run.

    Args:
        options: of `add`.
        name: the DAG folder's.
        message: of the commit.
        decide: from the releases to a plan as it shall be in all else, and the version to be scheduled.
        done: what is to be told first.

    Raises:
        CommandError: it cannot be, and nothing is pushed; or Airflow has not read what was, in time or at all.
    """
    kept = store.Store.of(options, Path())
    runs = Runs(Client.of(options)) if options.wait or options.url else None
    turn: Turn | None = None
    changed = _Changed()

    def put(folder: Path) -> None:
        nonlocal turn, changed
        shelf = Shelf(folder, name)
        retired = shelf.plan.retired
        plan, version = decide(shelf)
        for one in shelf.archived:
            if one not in plan.retired:
                shelf.bring_back(one)
        before = plan.scheduled
        if version != before:
            plan = plan.turn_to(version, _last_runs(runs, shelf, before, options.margin) if before else {})
        turn = plan.turns[-1] if plan.turns else None
        changed = _Changed(
            begin=_dags(shelf, version) if version else [],
            end={suffixed(dag, plan.ended): last for dag, last in turn.after.items()} if turn and plan.ended else {},
            retired=[dag for one in plan.retired if one not in shelf.archived for dag in _dags(shelf, one)],
            back=[dag for one in retired if one not in plan.retired for dag in _dags(shelf, one)],
        )
        shelf.put(plan)

    kept.change(message, put)
    if done:
        print(done)
    _say(name, turn)
    if options.wait:
        try:
            _wait(runs, name, turn, changed, options.margin)
        except ClientError as error:
            raise CommandError(f"{error}. The change is pushed; whether Airflow has read it is not known") from error


def _dags(shelf: Shelf, version: str) -> list[str]:
    return [suffixed(dag, version) for dag in shelf.get(version).dags]


def _last_runs(runs: Runs | None, shelf: Shelf, version: str, margin: float) -> dict[str, RunInfo | None]:
    from airflow_platform.release.check import parse, quietly
    from airflow_platform.release.handover import last_runs

    if runs is None:
        raise CommandError(
            f"{shelf.name} {version} is scheduled, and Airflow knows what it has run last: name it by --url"
        )
    release = shelf.get(version)
    known = runs.dags(shelf.name, stale=True)
    ids = {dag: suffixed(dag, version) for dag in release.dags}
    latest = {dag: runs.last(named) if named in known else None for dag, named in ids.items()}
    idle = {dag for dag, named in ids.items() if named in known and _is_idle(known[named])}
    # Airflow makes no more runs of these, which may be for want of a file that imports.
    ended = {dag: _later(latest[dag], *(term.after for term in shelf.plan.terms(version, dag))) for dag in idle}
    if idle >= set(ids):
        return ended
    with quietly():
        parsed = {dag.dag_id: dag for dag in parse(release, shelf.folder)}
        going = [(dag, parsed[named]) for dag, named in ids.items() if dag not in idle]
        # From here on: a clone and an import may have taken a minute.
        return ended | last_runs(going, latest, datetime.now(UTC) + timedelta(seconds=margin))


def _later(*runs: RunInfo | None) -> RunInfo | None:
    return max(filter(None, runs), key=lambda run: run.run_after, default=None)


def _is_idle(dag: Mapping[str, Any]) -> bool:
    return dag["is_paused"] or dag["is_stale"] or dag["has_import_errors"]


def _say(name: str, turn: Turn | None) -> None:
    version = turn.version if turn else None
    print(f"{name} {version} is scheduled" if version else f"no version of {name} is scheduled")
    for dag, last in sorted(turn.after.items()) if turn else ():
        if last:
            print(f"  {dag}: after the run of {last.start.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


@dataclass(frozen=True)
class _Changed:
    """What a plan says of DAGs, by their ids: those that are scheduled, those that end with a run, those of retired
    versions, and those of versions that are retired no more."""

    begin: Sequence[str] = ()
    end: Mapping[str, RunInfo | None] = field(default_factory=dict)
    retired: Sequence[str] = ()
    back: Sequence[str] = ()

    def unread(self, known: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Of which of them Airflow, with what it knows of DAGs, has not read it."""
        found = [dag for dag in self.begin if dag not in known or _is_over(known[dag]["timetable_summary"])]
        for dag, last in self.end.items():
            following = known[dag]["next_dagrun_run_after"] if dag in known else None
            if following and (last is None or datetime.fromisoformat(following) > last.run_after):
                found.append(dag)
        found += [dag for dag in self.retired if dag in known and known[dag]["allowed_run_types"] != RETIRED_ALLOWS]
        found += [dag for dag in self.back if dag not in known or known[dag]["allowed_run_types"] == RETIRED_ALLOWS]
        return list(dict.fromkeys(found))


def _is_over(summary: str) -> bool:
    """Whether a schedule, as Airflow shows it, is none that goes on."""
    return summary == NOT_SCHEDULED or UP_TO in summary


def _wait(runs: Runs, name: str, turn: Turn | None, changed: _Changed, seconds: float) -> None:
    """Until Airflow has read the plan.

    Raises:
        CommandError: it has not within so long.
    """
    deadline = time.monotonic() + seconds
    while unread := changed.unread(known := runs.dags(name)):
        if time.monotonic() > deadline:
            # A retry of what was asked for need not be harmless; this is.
            again = turn and turn.version and not {*unread}.isdisjoint({*changed.begin, *changed.end})
            raise CommandError(
                f"Airflow has not read the change after {seconds:.0f} seconds ({', '.join(unread)}): look at git-sync "
                "and at the dag-processor. A version that has not read it goes on as before: a run that is due "
                "meanwhile may run in both, and one that is retired may be run by hand. The change is pushed"
                + (f"; to wait once more: airflow-platform promote {name} {turn.version}" if again else ".")
            )
        time.sleep(_EVERY)
    for dag in changed.begin:
        if known[dag]["is_paused"]:
            print(f"  {dag} is paused, and begins no run before it is unpaused")
