"""From a DAG folder in git to a release: its images pinned, its DAGs parsed and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from airflow_platform.command_error import CommandError
from airflow_platform.release import check
from airflow_platform.release.file import Release
from airflow_platform.release.images import by_task
from airflow_platform.release.registry import pinned
from airflow_platform.release.source import IMAGES, Source
from airflow_platform.release.version import suffixed


def build(source: Source, version: str, registry: str, platform: dict[str, Any] | None = None) -> Release:
    """The release.

    Args:
        source: what is released.
        version: its version.
        registry: that of images whose name has no registry; empty: there is none.
        platform: the node pools that there are, as `rules.command.platform_of` gives them; None: not known.

    Raises:
        CommandError: the folder does not parse, an image cannot be pinned, or a rule for DAGs is broken.
    """
    catalogue = _catalogue(source)
    plain = Release(
        name=source.name,
        source=source.path,
        version=version,
        commit=source.commit,
        files={path: _readable(content) for path, content in source.files.items()},
    )
    wanted = by_task(check.parse(plain))
    if found := check.broken_rules(source, platform):
        raise CommandError("this cannot be released:\n" + "\n".join(f"  {one}" for one in found))
    files = dict(plain.files)
    if IMAGES in files:
        # Those that no task runs stay as they are: the code may read them all the same.
        files[IMAGES] = yaml.safe_dump(
            {name: _pinned(name, str(tag), wanted, registry) for name, tag in catalogue.items()}, width=1000
        )
    release = replace(plain, files=files)
    dags = check.parse(release)
    if found := check.problems(release, dags):
        raise CommandError("this cannot be released:\n" + "\n".join(f"  {one}." for one in found))
    end = suffixed("", version)
    return replace(
        release,
        images={image.partition("@")[0]: image for image in by_task(dags)},
        dags=tuple(dag.dag_id.removesuffix(end) for dag in dags),
    )


def _pinned(name: str, tag: str, wanted: Iterable[str], registry: str) -> str:
    """The tag of an image of the catalogue, with the digest where a task runs the image."""
    for image in wanted:
        if f"/{image}".endswith(f"/{name}:{tag}"):
            return f"{tag.partition('@')[0]}@{pinned(image, registry).partition('@')[2]}"
    return tag


def _catalogue(source: Source) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(source.files.get(IMAGES, b"")) or {}
    except yaml.YAMLError as error:
        raise CommandError(f"{IMAGES} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise CommandError(f"{IMAGES} is no list of images: write a line for each, as report: 1.2.0")
    return found


def _readable(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content
