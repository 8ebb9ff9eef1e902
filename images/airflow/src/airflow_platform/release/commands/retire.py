"""``airflow-platform retire DAG VERSION``: a version begins no new run; those that it has end."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import Any

from airflow_platform.release.commands import schedule
from airflow_platform.release.plan import Plan
from airflow_platform.release.shelf import Shelf


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "retire",
        help="let a version begin no new run; those that it has end",
        description="Let a version begin no new run, by schedule, hand or backfill; those that it has end. It can be "
        "promoted again, and deleted once it has no runs.",
    )
    parser.add_argument("dag", metavar="DAG", help="the name of the DAG's folder")
    parser.add_argument("version", metavar="VERSION", help="as 1.3.0")
    return schedule.add(parser)


def run(options: Namespace) -> int:
    """Retire it.

    Raises:
        CommandError: there is no such version, or Airflow does not answer.
    """
    name, version = options.dag, options.version

    def decide(shelf: Shelf) -> tuple[Plan, str | None]:
        shelf.get(version)
        plan = shelf.plan
        scheduled = None if plan.scheduled == version else plan.scheduled
        return replace(plan, retired=sorted({*plan.retired, version})), scheduled

    schedule.change(options, name, f"Retire {name} {version}", decide, f"{name} {version} is retired")
    return 0
