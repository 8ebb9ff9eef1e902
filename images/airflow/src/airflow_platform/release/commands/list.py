"""``airflow-platform list [DAG]``: the releases, and what runs of them."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from airflow_platform.client import Client, add_options
from airflow_platform.command_error import CommandError
from airflow_platform.release import drained, store
from airflow_platform.release.plan import NOT_SCHEDULED
from airflow_platform.release.runs import Runs
from airflow_platform.release.shelf import Shelf
from airflow_platform.release.version import suffixed


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "list",
        help="the releases of a DAG, or of all",
        description="List the releases: version, commit, images, schedule, runs, and who released it and when.",
    )
    parser.add_argument("dag", metavar="DAG", nargs="?", help="the name of the DAG's folder (default: all)")
    parser.add_argument(
        "--unused-images",
        action="store_true",
        help="list the images that no live release runs, of any DAG: only releases that are deleted, or retired with "
        "no run under way or to make",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    store.add_options(parser)
    add_options(parser)
    return parser


def run(options: Namespace) -> int:
    """List them.

    Raises:
        CommandError: git or Airflow does not answer.
    """
    kept = store.Store.of(options, Path())
    runs = Runs(Client.of(options)) if options.url else None
    if options.unused_images and runs is None:
        raise CommandError("what runs says Airflow alone: name it by --url")
    with kept.read() as folder:
        every = [Shelf(folder, path.stem) for path in sorted(folder.glob("*.yaml"))]
        shelves = [Shelf(folder, options.dag)] if options.dag else every
        if options.dag and not shelves[0].versions:
            raise CommandError(f"there is no release of {options.dag} in {kept}")
        if options.unused_images:
            # What one DAG has done with, another may run.
            live = set(map(_content, _live_images(every, runs)))
            for image in sorted(one for one in _images(shelves) if _content(one) not in live):
                print(image)
            return 0
        found = [one for shelf in shelves for one in _versions(shelf, kept, runs)]
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    return 0


def _content(image: str) -> str:
    """By which images are one: whoever deletes a digest, deletes all tags of it."""
    return image.rpartition("@")[2]


def _images(shelves: Iterable[Shelf]) -> set[str]:
    """Of all releases, deleted ones too."""
    gone = {image for shelf in shelves for one in shelf.plan.deleted.values() for image in one.images}
    there = (shelf.get(version) for shelf in shelves for version in shelf.versions)
    return gone.union(*(release.images.values() for release in there))


def _live_images(shelves: Iterable[Shelf], runs: Runs) -> set[str]:
    """Of the releases that run, or may."""
    live = (
        shelf.get(version)
        for shelf in shelves
        for version in shelf.versions
        if drained.why_not(shelf, version, runs) is not None
    )
    return {image for release in live for image in release.images.values()}


def _versions(shelf: Shelf, kept: store.Store, runs: Runs | None) -> Iterator[dict[str, Any]]:
    """What is known of each version; of its runs, None where nobody is asked."""
    versions, archived, plan = shelf.versions, shelf.archived, shelf.plan
    written = kept.written(shelf.folder) if versions else {}
    known = runs.dags(shelf.name, stale=True) if runs and versions else {}
    for version in versions:
        release = shelf.get(version)
        by = written.get(release.file_name)
        ids = [suffixed(dag, version) for dag in release.dags]
        yield {
            "dag": shelf.name,
            "version": version,
            "commit": release.commit,
            "images": sorted(release.images.values()),
            "dags": ids,
            "scheduled": version == plan.scheduled,
            "schedule": {
                one: known[one]["timetable_summary"] for one in ids if one in known and not known[one]["is_stale"]
            },
            "retired": version in plan.retired,
            "archived": version in archived,
            "runs": sum(runs.count(one) for one in ids if one in known) if runs else None,
            "under_way": sum(runs.unfinished(one) for one in ids if one in known) if runs else None,
            "who": by.who if by else None,
            "when": by.when if by else None,
        }


def _show(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("DAG", "VERSION", "SCHEDULE", "RUNS", "COMMIT", "RELEASED", "IMAGES"):
        table.add_column(title, no_wrap=True, overflow="fold")
    for one in found:
        state = next((word for word in ("scheduled", "archived", "retired") if one[word]), "-")
        # A DAG that Airflow has not parsed yet has no schedule.
        for schedule in sorted({*one["schedule"].values()} - {NOT_SCHEDULED}):
            state += f"\n{schedule}"
        runs = "?" if one["runs"] is None else f"{one['runs']}, {one['under_way']} under way"
        by = f"{one['who']}, {one['when'][:16].replace('T', ' ')}" if one["when"] else "-"
        images = "\n".join(re.sub(r"(@sha256:.{12}).*", r"\1", image) for image in one["images"])
        row = (one["dag"], one["version"], state, runs, one["commit"][:12], by, images)
        table.add_row(*(Text(text) for text in row))
    # Whatever reads it from a pipe is not as narrow as a terminal.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
