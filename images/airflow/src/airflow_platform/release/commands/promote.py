"""``airflow-platform promote DAG VERSION``: says which version is scheduled."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from airflow_platform.release.commands import schedule
from airflow_platform.release.plan import Plan
from airflow_platform.release.shelf import Shelf


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "promote",
        help="say which version of a DAG is scheduled",
        description="Let a version take over the schedule from the one that has it, without a gap: no data interval is "
        "skipped, and none runs twice. Runs of other versions go on.",
    )
    parser.add_argument("dag", metavar="DAG", help="the name of the DAG's folder")
    parser.add_argument("version", metavar="VERSION", help="as 1.3.0")
    return schedule.add(parser)


def run(options: Namespace) -> int:
    """Promote it.

    Raises:
        CommandError: there is no such version, or Airflow does not answer.
    """
    name, version = options.dag, options.version

    def decide(shelf: Shelf) -> tuple[Plan, str]:
        shelf.get(version)
        plan = shelf.plan
        return plan.reinstated(version), version

    schedule.change(options, name, f"Promote {name} {version}", decide)
    return 0
