"""``airflow-platform reinstate DAG VERSION``: a retired version may be run again; it has no schedule."""

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
        "reinstate",
        help="let a retired version be run again",
        description="Let a version that is retired, or archived, be run again: by hand, by a backfill, to be compared. "
        "It has no schedule before it is promoted.",
    )
    parser.add_argument("dag", metavar="DAG", help="the name of the DAG's folder")
    parser.add_argument("version", metavar="VERSION", help="as 1.3.0")
    return schedule.add(parser)


def run(options: Namespace) -> int:
    """Reinstate it.

    Raises:
        CommandError: there is no such version, it is not retired, or Airflow does not answer.
    """
    name, version = options.dag, options.version

    def decide(shelf: Shelf) -> tuple[Plan, str | None]:
        shelf.get(version)
        plan = shelf.plan
        if version not in plan.retired:
            raise CommandError(f"{name} {version} is not retired: it can be run as it is")
        return plan.reinstated(version), plan.scheduled

    said = f"{name} {version} may be run again"
    schedule.change(options, name, f"Reinstate {name} {version}", decide, said)
    return 0
