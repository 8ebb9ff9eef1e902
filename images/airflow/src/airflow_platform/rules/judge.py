"""``python -m airflow_platform.rules.judge FOLDER ROOT FINDINGS``: judges each DAG file of a folder.

Airflow and the operator are imported once; then each file is imported by Airflow's own importer in a fork, as the DAG
processor does it: modules of one file are not those of another, and one that never ends holds up no other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

from airflow import settings
from airflow.dag_processing.dagbag import DagBag
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.providers.cncf.kubernetes.operators import pod  # noqa: F401 - imported once, for all files
from airflow.sdk import DAG, BaseHook, Connection, Variable
from airflow.utils.file import list_py_file_paths
from sqlalchemy import Engine

from airflow_platform import catalogue, config
from airflow_platform.command_error import CommandError
from airflow_platform.release import file as release_file
from airflow_platform.rules import Finding, as_json, rules

#: Seconds after which a file is given up; Airflow gives it up after 30 where it can.
_PATIENCE = 60

#: A file and a line in it.
Place = tuple[Path, int]

_AT = re.compile(r"^(?:[\w.]+DeclarationError: )?(?P<file>/[^:]+):(?P<line>\d+): (?P<message>.+)$")


@dataclass
class Loaded:
    """What one DAG file has been seen to do while it was imported.

    Args:
        file, root: the file; the root of the DAGs.
        versions: of the task images; None where there is no catalogue.
        platform: what the platform is installed with.
        dags: all that it made, with what each was made with.
        places: of a DAG (by id and None) and of its tasks (by both ids).
        reached: what it reached for, and where.
        refused: what the platform says of tasks, by both ids.
        errors: what kept it from being imported, and where.
        seconds: of processor time, for its import.
    """

    file: Path
    root: Path
    versions: dict[str, str] | None
    platform: config.PlatformConfig
    dags: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    places: dict[tuple[str, str | None], Place] = field(default_factory=dict)
    reached: list[tuple[str, Place]] = field(default_factory=list)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: list[tuple[str, Place]] = field(default_factory=list)
    seconds: float = 0

    @property
    def released(self) -> bool:
        """Whether the file is that of a release, which nobody may change."""
        try:
            release_file.read(self.file.read_bytes())
        except CommandError:
            return False
        return True

    def place(self, dag: Any, task_id: str | None = None) -> Place:
        """Where a DAG or a task is made: what made it of a declaration says where that is."""
        declared = getattr(dag, "declared_at", {})
        start = declared.get(None) or self.places.get((dag.dag_id, None), (self.file, 1))
        return declared.get(task_id) or self.places.get((dag.dag_id, task_id), start)


def load(file: Path, root: Path, versions: dict[str, str] | None) -> Loaded:
    """Import a DAG file, and note what it makes and what it reaches for."""
    seen = Loaded(file, root, versions, config.load())
    with _watched(seen):
        before = time.process_time()
        bag = DagBag(file, collect_dags=False, bundle_path=root)
        bag.process_file(str(file), only_if_updated=False)
        seen.seconds = time.process_time() - before
    broken = [dag for dag, _ in seen.dags if hasattr(dag, "declared_error")]
    seen.dags = [(dag, options) for dag, options in seen.dags if dag not in broken]
    seen.errors = [error for dag in broken for error in _declared(dag.declared_error)]
    for text in bag.import_errors.values():
        # A reach was refused, and has a finding of its own.
        if not seen.reached:
            seen.errors += _declared(text) or [_error(text, seen)]
    return seen


def _declared(text: str) -> list[tuple[str, Place]]:
    """Errors of declarations (`airflow_platform.yaml_dag`), which say themselves where they are."""
    found = map(_AT.search, text.splitlines())
    return [(said["message"], (Path(said["file"]), int(said["line"]))) for said in found if said]


def _error(text: str, seen: Loaded) -> tuple[str, Place]:
    """An error of an import, and where in the DAGs it was raised."""
    lines = [line for line in text.strip().splitlines() if line.strip()] or ["no message"]
    message = lines[-1].strip()
    frames = re.findall(r'File "(.+?)", line (\d+)', text)
    inside = [(Path(name), int(line)) for name, line in frames if Path(name).is_relative_to(seen.root)]
    return message, inside[-1] if inside else (seen.file, 1)


@contextlib.contextmanager
def _watched(seen: Loaded) -> Iterator[None]:
    """Note what is made; refuse what reaches out."""
    make, add_task, task_policy = DAG.__init__, DAG.add_task, settings.task_policy

    def made(dag: Any, *arguments: Any, **options: Any) -> None:
        make(dag, *arguments, **options)
        seen.dags.append((dag, options))
        seen.places[dag.dag_id, None] = _place(seen)

    def added(dag: Any, task: Any) -> None:
        add_task(dag, task)
        seen.places[dag.dag_id, task.task_id] = _place(seen)

    def judged(task: Any) -> None:
        try:
            task_policy(task)
        except AirflowClusterPolicyViolation as error:
            seen.refused[task.dag_id, task.task_id] = str(error)

    def refuse(what: str) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            seen.reached.append((what, _place(seen)))
            raise RuntimeError(f"a DAG file must not reach {what} while it is imported")

        return call

    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(DAG, "__init__", made))
        stack.enter_context(patch.object(DAG, "add_task", added))
        stack.enter_context(patch.object(settings, "task_policy", judged))
        for owner, name, what in (
            *((socket.socket, name, "the network") for name in ("connect", "connect_ex", "sendto")),
            (socket, "getaddrinfo", "the network"),
            (Engine, "connect", "the database"),
            (Variable, "get", "a Variable"),
            (Connection, "get", "a Connection"),
            (BaseHook, "get_connection", "a Connection"),
            (subprocess.Popen, "__init__", "another program"),
            (time, "sleep", "time.sleep"),
        ):
            stack.enter_context(patch.object(owner, name, refuse(what)))
        yield


def _place(seen: Loaded) -> Place:
    """Of the innermost call that is in a file of the DAGs."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(f"{seen.root}/"):
            return Path(name), frame.f_lineno
        frame = frame.f_back
    return seen.file, 1


def _judge(file: Path, root: Path, versions: dict[str, str] | None, answer: Any) -> None:
    """In a fork: all findings of a file, and the ids of its DAGs with their places."""
    try:
        seen = load(file, root, versions)
        answer.send((rules.findings(seen), [(dag.dag_id, seen.place(dag)) for dag, _ in seen.dags]))
    finally:
        answer.close()


def _in_a_fork(file: Path, root: Path, versions: dict[str, str] | None) -> tuple[list[Finding], list[Any]]:
    context = multiprocessing.get_context("fork")
    ours, its = context.Pipe(duplex=False)
    process = context.Process(target=_judge, args=(file, root, versions, its))
    process.start()
    its.close()
    try:
        if not ours.poll(_PATIENCE):
            message = f"it is not imported after {_PATIENCE} s; move what takes so long into a task"
            return [Finding(file, 1, "parse-time", message)], []
        return ours.recv()
    except EOFError:
        message = "its import ends the process, or it cannot be judged; run it with python to see why"
        return [Finding(file, 1, "imports", message)], []
    finally:
        process.kill()
        process.join()
        ours.close()


def main(folder: str, root: str, findings: str) -> None:
    """Judge the DAG files of a folder, below the root of the DAGs; write the findings as JSON."""
    try:
        config.load()
    except config.ConfigError as error:
        sys.exit(str(error))
    sys.path[:0] = [root]
    # It would be asked for in each fork.
    DagBag(findings, collect_dags=False)
    versions = catalogue.versions(Path(root))
    found: list[Finding] = []
    places: dict[str, list[Place]] = defaultdict(list)
    for name in sorted(list_py_file_paths(folder)):
        of_file, dags = _in_a_fork(Path(name), Path(root), versions)
        found += of_file
        for dag_id, place in dags:
            places[dag_id].append(place)
    for dag_id, at in places.items():
        for again, line in at[1:]:
            first = f"{at[0][0].relative_to(root)}:{at[0][1]}"
            message = f"DAG {dag_id} is made at {first} already; give it another dag_id"
            found.append(Finding(again, line, "unique-id", message))
    Path(findings).write_text(as_json(list(dict.fromkeys(found))))


if __name__ == "__main__":
    main(*sys.argv[1:])
