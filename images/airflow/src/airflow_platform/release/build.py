"""From a DAG folder in git to a release: its images pinned, its DAGs parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
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


def build(source: Source, version: str, registry: str) -> Release:
    """The release.

    Args:
        source: what is released.
        version: its version.
        registry: that of images whose name has no registry; empty: there is none.

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
    wanted = set(by_task(check.parse(plain)))
    images, versions = {}, {}
    for name, tag in catalogue.items():
        for image in wanted:
            if image == f"{name}:{tag}" or image.endswith(f"/{name}:{tag}"):
                full = pinned(image, registry)
                images[full.partition("@")[0]] = full
                versions[name] = str(tag).partition("@")[0] + "@" + full.partition("@")[2]
    files = dict(plain.files)
    if IMAGES in files:
        # Only what is used: what is not has no digest, and must not be run.
        files[IMAGES] = yaml.safe_dump(versions) if versions else "{}\n"
    release = replace(plain, images=images, files=files)
    dags = check.parse(release)
    if found := check.problems(release, dags):
        raise CommandError("this cannot be released:\n" + "\n".join(f"  {one}." for one in found))
    end = suffixed("", version)
    return replace(release, dags=tuple(dag.dag_id.removesuffix(end) for dag in dags))


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
