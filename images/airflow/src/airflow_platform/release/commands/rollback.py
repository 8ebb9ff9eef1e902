"""``airflow-platform rollback DAG [VERSION]``: the version before, or an earlier one, is scheduled again."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from airflow_platform.command_error import CommandError
from airflow_platform.release.commands import schedule
from airflow_platform.release.plan import Plan
from airflow_platform.release.shelf import Shelf


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "rollback",
        help="let the version before have the schedule again",
        description="Let the version that was scheduled before take the schedule over again, without a gap. With a "
        "version, it may be done again: where that is scheduled already, nothing changes.",
    )
    parser.add_argument("dag", metavar="DAG", help="the name of the DAG's folder")
    parser.add_argument(
        "version", metavar="VERSION", nargs="?", help="the one to go back to, as 1.2.0 (default: the one before)"
    )
    return schedule.add(parser)


def run(options: Namespace) -> int:
    """Roll back.

    Raises:
        CommandError: there is nothing to go back to, somebody has gone back already, or Airflow does not answer.
    """
    name = options.dag
    seen: list[str | None] = []

    def decide(shelf: Shelf) -> tuple[Plan, str]:
        plan = shelf.plan
        # Where others push meanwhile it is asked again, and the version before may be another.
        seen.append(plan.scheduled)
        if not options.version and plan.scheduled != seen[0]:
            raise CommandError(
                f"somebody has changed it meanwhile: {plan.scheduled or 'no version'} of {name} is scheduled; nothing "
                f"was done. To go back still, name the version: airflow-platform rollback {name} VERSION"
            )
        version = _named(shelf, options.version) if options.version else _before(shelf)
        return plan.reinstated(version), version

    schedule.change(options, name, f"Roll back {name}", decide)
    return 0


def _named(shelf: Shelf, version: str) -> str:
    shelf.get(version)
    if version not in [turn.version for turn in shelf.plan.turns]:
        raise CommandError(f"{shelf.name} {version} was never scheduled: promote it")
    return version


def _before(shelf: Shelf) -> str:
    name, plan = shelf.name, shelf.plan
    version = plan.before
    if version is None:
        raise CommandError(f"no version of {name} was scheduled before: promote one")
    # The one before may be what was gone back from: done twice, a rollback must not bring it back.
    if plan.went_back:
        raise CommandError(
            f"{name} {plan.last} was scheduled before, and then again: somebody may have gone back already. Nothing "
            f"was done. To go to another version, name it: airflow-platform rollback {name} VERSION"
        )
    if version not in shelf.versions:
        raise CommandError(f"{name} {version}, which was scheduled before, is deleted: promote another")
    return version
