"""``airflow-platform rollback DAG``: the version before is scheduled again."""

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
        description="Let the version that was scheduled before take the schedule over again, without a gap.",
    )
    parser.add_argument("dag", metavar="DAG", help="the name of the DAG's folder")
    return schedule.add(parser)


def run(options: Namespace) -> int:
    """Roll back.

    Raises:
        CommandError: there is nothing to go back to, or Airflow does not answer.
    """
    name = options.dag

    def decide(shelf: Shelf) -> tuple[Plan, str]:
        plan = shelf.plan
        version = plan.before
        if version is None:
            raise CommandError(f"no version of {name} was scheduled before: promote one")
        if version not in shelf.versions:
            raise CommandError(f"{name} {version}, which was scheduled before, is deleted: promote another")
        return plan.reinstated(version), version

    schedule.change(options, name, f"Roll back {name}", decide)
    return 0
