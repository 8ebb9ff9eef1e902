"""A plan, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_platform.plan.comparison import Plan
from airflow_platform.plan.immutable import Blocked, remedy
from airflow_platform.plan.manifest import Name
from airflow_platform.plan.running import Tasks


def show(plan: Plan, tasks: Tasks | str) -> None:
    """Print it.

    :param tasks: those that run now, or why that is not known.
    """
    console = Console(highlight=False)
    if plan.restarts:
        rows = Table(title="Restarts", title_justify="left", show_lines=False)
        for column in ("component", "pods", "how", "why"):
            rows.add_column(column, overflow="fold", no_wrap=column in ("component", "pods"))
        for one in plan.restarts:
            rows.add_row(*map(Text, (one.component, _number(one.pods), one.how, "\n".join(one.why))))
        console.print(rows)
    for line in lines(plan, tasks):
        style = "bold red" if line.startswith("Blocked") else ""
        console.print(Text(line, style=style), soft_wrap=True)


def lines(plan: Plan, tasks: Tasks | str) -> Iterator[str]:
    """What is said below the table of restarts, line by line."""
    if not plan.restarts:
        yield "Restarts: none."
    if plan.fewer:
        fewer = (f"{one.component} ({_number(one.pods)} → {_number(one.left)})" for one in plan.fewer)
        yield f"Pods end: {', '.join(fewer)}."
    if plan.untouched:
        yield f"Go on as they are: {', '.join(plan.untouched)}."
    for file, options in plan.configuration.items():
        named = [option for option in options if option]
        yield f"{file}: {', '.join(named) if named else 'changed'}"
    yield from plan.notes
    yield _schema(plan)
    yield from _tasks(plan, tasks)
    restarted = {one.object for one in plan.restarts}
    changed = [name for name in plan.changed if name not in restarted]
    for what, names in (("Created", plan.created), ("Changed", changed), ("Removed", plan.removed)):
        if names:
            yield f"{what}: {_listed(names)}."
    if plan.unscaled:
        yield (
            f"Autoscaling ends: {', '.join(plan.unscaled)}. The autoscaler has written the number of pods, and Helm 4 "
            "refuses to set it: helm upgrade --force-conflicts, this once."
        )
    for one in plan.blocked:
        yield f"Blocked: {one.object}: {one.field} cannot change. To change it, {one.remedy}."


def as_dict(plan: Plan, tasks: Tasks | str) -> dict[str, Any]:
    """All of it, for JSON; an object is its kind and name."""

    def plain(value: Any) -> Any:
        if isinstance(value, Name):
            return str(value)
        if isinstance(value, Blocked):
            return {key: plain(one) for key, one in value._asdict().items()}
        if isinstance(value, tuple):
            return [plain(one) for one in value]
        return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value

    found = {one.name: getattr(plan, one.name) for one in fields(plan)}
    pods = {
        part: [{key: plain(value) for key, value in vars(one).items()} for one in found[part]]
        for part in ("restarts", "fewer")
    }
    known = tasks if isinstance(tasks, str) else asdict(tasks)
    return plain(found) | pods | {"tasks": known}


def _schema(plan: Plan) -> str:
    old, new = (version or "unknown" for version in plan.versions)
    between = old if old == new else f"{old} → {new}"
    job = "".join(f"{name} has failed, and is left as it is: {remedy(name)}. " for name in plan.failed)
    job += "".join(f"{name} is at work. " for name in plan.at_work)
    job += f"Job {', '.join(plan.jobs)} runs. " if plan.jobs else ""
    job = job or "No Job runs. "
    if plan.schema_moves and plan.migrated and not plan.jobs:
        return f"{job}The schema has moved already (Airflow {between}): `helm rollback` alone does not take it back."
    if plan.schema_moves:
        return (
            f"{job}The schema moves (Airflow {between}): back up the database first. Pods of the new release wait "
            "for the migration, and `helm rollback` alone does not take it back."
        )
    if plan.schema_moves is None and (old != new or new == "unknown"):
        return f"{job}Whether the schema moves is not known here (Airflow {old} → {new}): back up the database first."
    if plan.migrated is False:
        return (
            f"{job}No Job that has ended well says which schema the database has, so it may move (Airflow {between}): "
            "back up the database first."
        )
    if plan.schema_moves is None:
        return (
            f"{job}The image is another one. Where it has another Airflow than {new}, or another FAB provider, the "
            "schema may move: back up the database first, then. Else `helm rollback` goes back."
        )
    return f"{job}The schema stays (Airflow {between}): `helm rollback` goes back."


def _tasks(plan: Plan, tasks: Tasks | str) -> Iterator[str]:
    if isinstance(tasks, str):
        yield f"Tasks: not known, {tasks}"
        return
    yield (
        f"Tasks now: {tasks.deferred} deferred, whose pods go on, whatever restarts; {tasks.in_launcher} starting or "
        f"ending in a launcher; {tasks.in_workers} in worker pods, which go on; {tasks.queued} queued."
    )
    if not plan.launchers or not tasks.in_launcher:
        yield "Touched: no task."
        return
    grace = max(one.grace for one in (*plan.restarts, *plan.fewer) if one.component in plan.launchers)
    yield (
        f"Touched: up to {tasks.in_launcher}, as pods of {' and '.join(plan.launchers)} end. They have {grace} s to "
        "end their phase; one that does not is begun again, and finds its pod."
    )
    if any(one.object in plan.removed and one.component in plan.launchers for one in plan.fewer):
        yield "A launcher that is removed loses its rights at once, before its pods end: choose a quiet hour."


def _number(pods: int | None) -> str:
    return "as scaled" if pods is None else str(pods)


def _listed(names: Sequence[Name]) -> str:
    return ", ".join(map(str, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
