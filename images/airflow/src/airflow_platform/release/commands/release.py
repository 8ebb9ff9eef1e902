"""``airflow-platform release dags/<team>/<dag>``: packages a DAG folder as an immutable release."""

from __future__ import annotations

import hashlib
import os
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_platform.command_error import CommandError
from airflow_platform.release import store, version
from airflow_platform.release.shelf import Shelf
from airflow_platform.rules.command import add_values, platform_of

REGISTRY = "AIRFLOW_PLATFORM_REGISTRY"


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "release",
        help="package a DAG folder as a version of its own",
        description="Package a DAG folder, as it was committed last, as one immutable file: a version of its own, "
        "beside those that run already. It is scheduled once it is promoted.",
    )
    parser.add_argument("path", metavar="dags/TEAM/DAG", type=Path, help="the folder, with its dag.py")
    parser.add_argument("--version", metavar="1.3.0", help="default: the next minor version")
    parser.add_argument(
        "--registry",
        default=os.environ.get(REGISTRY, ""),
        help=f"of images whose name has none, as tasks.imageRegistry in the chart's values (default: {REGISTRY})",
    )
    add_values(parser)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write the file there, and push nothing")
    store.add_options(parser)
    return parser


def run(options: Namespace) -> int:
    """Release it.

    Raises:
        CommandError: it cannot be; nothing is pushed then.
    """
    from airflow_platform.release.build import build
    from airflow_platform.release.check import quietly
    from airflow_platform.release.source import collect

    source = collect(options.path)
    kept = store.Store.of(options, options.path) if options.output is None else None
    wanted = options.version or _next(kept, source.name)
    version.key(wanted)
    with quietly():
        release = build(source, wanted, options.registry, platform_of(options.values))
    rendered = release.render()
    if kept is None:
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / release.file_name
        path.write_bytes(rendered)
        print(f"{path}: {', '.join(version.suffixed(dag, wanted) for dag in release.dags)}")
        return 0

    def put(folder: Path) -> None:
        shelf = Shelf(folder, release.name)
        plan = shelf.of_source(release.source)
        path = shelf.path(wanted)
        digest = hashlib.sha256(rendered).hexdigest()
        there = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else digest
        if {there, plan.deleted[wanted].sha256 if wanted in plan.deleted else digest} != {digest}:
            raise CommandError(
                f"{release.name} {wanted} is released already, with other content, and a release never changes: give "
                f"this one another version, as {version.following([*shelf.versions, *plan.deleted])}"
            )
        path.write_bytes(rendered)
        shelf.put(replace(plan, deleted={one: gone for one, gone in plan.deleted.items() if one != wanted}))

    pushed = kept.change(f"Release {release.name} {wanted}", put)
    state = "released" if pushed else "was released already, the same"
    print(f"{release.name} {wanted} {state}: {kept}/{release.file_name}")
    for dag in release.dags:
        print(f"  DAG {version.suffixed(dag, wanted)}")
    for image in sorted(release.images.values()):
        print(f"  image {image}")
    return 0


def _next(kept: store.Store | None, name: str) -> str:
    if kept is None:
        raise CommandError("which version? Say it by --version, as 1.3.0")
    with kept.read() as folder:
        shelf = Shelf(folder, name)
        return version.following([*shelf.versions, *shelf.plan.deleted])
