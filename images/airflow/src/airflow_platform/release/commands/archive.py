"""``airflow-platform archive [DAG [VERSION]]``: retired versions whose runs have ended are parsed no more."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from airflow_platform.client import Client, add_options
from airflow_platform.command_error import CommandError
from airflow_platform.release import drained, store
from airflow_platform.release.runs import Runs
from airflow_platform.release.shelf import Shelf


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "archive",
        help="move retired versions away whose runs have ended",
        description="Move versions that are retired, and whose runs have ended, to where Airflow does not parse them: "
        "one, or all of a DAG, or all. Promoted or reinstated, a version is back; its history stays in Airflow.",
    )
    parser.add_argument("dag", metavar="DAG", nargs="?", help="the name of the DAG's folder (default: all)")
    parser.add_argument("version", metavar="VERSION", nargs="?", help="as 1.3.0 (default: all that are retired)")
    store.add_options(parser)
    add_options(parser)
    return parser


def run(options: Namespace) -> int:
    """Archive them.

    Raises:
        CommandError: there is no such DAG or version, the one that is named cannot go yet, or Airflow does not answer.
    """
    kept = store.Store.of(options, Path())
    runs = Runs(Client.of(options))
    archived: list[str] = []
    left: list[str] = []

    def put(folder: Path) -> None:
        archived.clear()
        left.clear()
        names = [options.dag] if options.dag else sorted(path.stem for path in folder.glob("*.yaml"))
        for shelf in (Shelf(folder, name) for name in names):
            if options.dag and not shelf.versions:
                raise CommandError(f"there is no release of {shelf.name} in {kept}")
            for version in [options.version] if options.version else shelf.plan.retired:
                shelf.get(version)
                if version in shelf.archived:
                    continue
                if reason := drained.why_not(shelf, version, runs):
                    left.append(f"{shelf.name} {version} {reason}")
                    continue
                shelf.archive(version)
                archived.append(f"{shelf.name} {version}")
        if options.version and left:
            raise CommandError(left[0])

    kept.change("Archive releases that are retired", put)
    for one in archived:
        print(f"{one} is archived")
    for one in left:
        print(f"{one}; it is left")
    if not archived and not left:
        print("nothing to archive")
    return 0
