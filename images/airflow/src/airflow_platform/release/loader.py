"""Makes the DAGs of a release, where Airflow parses its file: in the dag-processor, in the process of a task, in tests.

The files are put into a folder of their own, below the directory for temporary files, which their content names: DAG
code reads files beside it, and Airflow's templates are files. What is there and is the same is left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_platform.release.file import FORMAT, Release
from airflow_platform.release.modules import Package
from airflow_platform.release.plan import Plan
from airflow_platform.release.version import TAG, suffixed


class ReleaseError(RuntimeError):
    """A release cannot be loaded; the message says why, and what to do."""


def load(module: dict[str, Any], *, format: int, **release: Any) -> None:
    """Make the release's DAGs, in the file's module: under ids with the version, scheduled if the plan says so.

    Args:
        module: the globals of the release's file.
        format: how the file is written (`airflow_platform.release.file.FORMAT`).
        release: what `Release` takes.

    Raises:
        ReleaseError: the file is of a later format, or its files cannot be unpacked.
        Exception: what the DAG code raises.
    """
    if format > FORMAT:
        raise ReleaseError(
            f"this release is of format {format}, and this Airflow's airflow-platform knows {FORMAT}: upgrade the "
            "platform"
        )
    found = Release(**release)
    plan = Plan.beside(Path(module["__file__"]), found.name)
    digest = _digest(found.files)
    root = _unpack(found.files, digest)
    package = re.sub(r"\W", "_", f"{suffixed(found.name, found.version)}__{digest[:12]}")
    for dag in _dags(Package(package, root, found.files.keys()), found.entry):
        _finish(dag, found, plan, root)
        module[dag.dag_id] = dag


def _digest(files: Mapping[str, str | bytes]) -> str:
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        data = content.encode() if isinstance(content, str) else content
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _unpack(files: Mapping[str, str | bytes], digest: str) -> Path:
    base = Path(tempfile.gettempdir()) / f"airflow-releases-{os.getuid()}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        # Anybody may make a folder there, and would have this process run what is in it.
        if base.is_symlink() or base.stat().st_uid != os.getuid():
            raise ReleaseError(f"{base} is not this user's own: remove it")
        root = base / digest[:32]
        for path, content in files.items():
            _write(root / path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise ReleaseError(f"a release's files cannot be unpacked: {error}. {base.parent} must be writable.") from error
    return root


def _write(path: Path, content: bytes) -> None:
    """Several processes may do so at once, and others read."""
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _dags(package: Package, entry: str) -> list[Any]:
    from airflow.sdk import DAG
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    before = set(DagContext.autoregistered_dags)
    module = package.run(entry)
    # A DAG's hash has its id, which is about to change.
    registered = set(DagContext.autoregistered_dags) - before
    DagContext.autoregistered_dags -= registered
    found = [value for value in vars(module).values() if isinstance(value, DAG)] + [dag for dag, _ in registered]
    return list({dag.dag_id: dag for dag in found}.values())


def _finish(dag: Any, release: Release, plan: Plan, root: Path) -> None:
    from airflow_platform.release import timetable

    own_id = dag.dag_id
    dag.dag_id = suffixed(own_id, release.version)
    shown = dag.dag_display_name
    dag.dag_display_name = dag.dag_id if shown == own_id else f"{shown} {release.version}"
    dag.tags = {*dag.tags, *_tags(release)}
    dag.doc_md = f"{dag.doc_md or ''}\n\n{_doc(release)}".lstrip()
    # Templates that are named relative to the DAG's file.
    dag.template_searchpath = [*(dag.template_searchpath or ()), str((root / release.entry).parent)]
    if dag.is_paused_upon_creation is None:
        # Without a schedule nothing begins by itself, and the plan gives it one.
        dag.is_paused_upon_creation = False
    timetable.put(dag, plan.terms(release.version, own_id))
    if release.version in plan.retired:
        timetable.refuse_runs(dag)


def _tags(release: Release) -> list[str]:
    pinned = (re.sub(r"(@sha256:.{12}).*", r"\1", image) for image in release.images.values())
    commit = f"commit:{release.commit[:12]}"
    # Airflow's tags have at most 100 characters.
    return [one[-100:] for one in (f"release:{release.name}", f"{TAG}{release.version}", commit, *pinned)]


def _doc(release: Release) -> str:
    rows = [("release", release.version), ("of", release.source), ("commit", release.commit)]
    rows += [("image", pinned) for _, pinned in sorted(release.images.items())]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | `{value}` |" for name, value in rows)])
