"""``airflow-platform delete DAG VERSION``: takes a retired version away; git keeps it."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_platform.client import Client, add_options
from airflow_platform.command_error import CommandError
from airflow_platform.release import drained, store
from airflow_platform.release.plan import Deleted
from airflow_platform.release.runs import Runs
from airflow_platform.release.shelf import Shelf


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "delete",
        help="take a retired version away that nothing runs",
        description="Take a version away that is retired and has no run under way. Its history stays in Airflow, its "
        "file in git's; released again with the same content, it is back.",
    )
    parser.add_argument("dag", metavar="DAG", help="the name of the DAG's folder")
    parser.add_argument("version", metavar="VERSION", help="as 1.3.0")
    store.add_options(parser)
    add_options(parser)
    return parser


def run(options: Namespace) -> int:
    """Delete it.

    Raises:
        CommandError: there is no such version, somebody keeps it, or Airflow does not answer.
    """
    name, version = options.dag, options.version
    runs = Runs(Client.of(options))

    def take(folder: Path) -> None:
        shelf = Shelf(folder, name)
        release, plan = shelf.get(version), shelf.plan
        if reason := drained.why_not(shelf, version, runs):
            raise CommandError(f"{name} {version} {reason}")
        digest = hashlib.sha256(shelf.path(version).read_bytes()).hexdigest()
        gone = Deleted(digest, sorted(release.images.values()))
        shelf.path(version).unlink()
        shelf.put(replace(plan.reinstated(version), deleted={**plan.deleted, version: gone}))

    store.Store.of(options, Path()).change(f"Delete {name} {version}", take)
    print(f"{name} {version} is deleted; git's history of the branch has it")
    return 0
