"""What a release is checked for before it is written: Airflow parses it, and nothing of it is open."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from airflow_platform import rules
from airflow_platform.command_error import CommandError
from airflow_platform.release.file import Release
from airflow_platform.release.images import by_task
from airflow_platform.release.registry import is_pinned
from airflow_platform.release.source import Source
from airflow_platform.release.version import suffixed

_LOG_LEVEL = "AIRFLOW__LOGGING__LOGGING_LEVEL"


@contextmanager
def quietly() -> Iterator[None]:
    """What Airflow says while it is imported and parses is no part of a command's answer."""
    said = os.environ.get(_LOG_LEVEL)
    os.environ[_LOG_LEVEL] = said or "CRITICAL"
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if said is None:
            del os.environ[_LOG_LEVEL]


def parse(release: Release, folder: Path | None = None) -> list[Any]:
    """The DAGs of a release, as Airflow parses its file.

    Args:
        release: what is parsed.
        folder: where its plan is; None: it has none.

    Raises:
        CommandError: it does not parse.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError as error:
        raise CommandError(
            f"a release is parsed by Airflow, which is not here ({error}): pip install 'airflow-platform[airflow]'"
        ) from error
    with tempfile.TemporaryDirectory() as temporary:
        path = (folder or Path(temporary)) / release.file_name
        if not path.exists():
            path.write_bytes(release.render())
        bag = DagBag(path)
    if bag.import_errors:
        said = "\n".join(error.strip() for error in bag.import_errors.values())
        raise CommandError(f"{release.entry} does not parse:\n{said}")
    return [bag.dags[name] for name in sorted(bag.dags)]


def broken_rules(source: Source, platform: dict[str, Any] | None = None) -> list[str]:
    """What of the source does not keep to the rules for DAGs (`airflow_platform.rules`), a line each.

    Args:
        source: what is released.
        platform: the node pools that there are, as `rules.command.platform_of` gives them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        for name, content in source.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return [
            str(one).removeprefix(f"{root}/") for one in rules.check(root / source.path, root=root, platform=platform)
        ]


def problems(release: Release, dags: list[Any]) -> list[str]:
    """What keeps a release from being released, beside the rules for all DAGs; a sentence each."""
    found = []
    if not dags:
        found.append(f"{release.entry} makes no DAG")
    for image, tasks in by_task(dags).items():
        if not is_pinned(image):
            named = f"the image {image!r}" if image else "an image that only a run says"
            found.append(f"{tasks[0]} has {named}, which no digest pins: name it by its version in images.yaml")
    for dag in dags:
        if not dag.dag_id.endswith(suffixed("", release.version)):
            found.append(f"{dag.dag_id} has an id without the version")
    return found
