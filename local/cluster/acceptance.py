"""What a DAG is tried on: the folder ``acceptance`` beside its file, with a toy input and what is to come of it.

acceptance.yaml                          the run: see KEYS
objects/<bucket>/<key>                   files that are put into S3 before
tables/<database>/<schema>.<table>.csv   rows that are put into PostgreSQL before, the key in the first column
expected/<bucket>/<key>                  what the run is to leave in S3
"""

from __future__ import annotations

import csv
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import yaml
from local.cluster import command, postgres, s3, settings
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import Problem, step

#: What acceptance.yaml may hold, and what each is.
KEYS = {
    "dag": "the DAG's id",
    "logical_date": "of the run, with its offset from UTC; none where this is left out",
    "params": "of the DAG, by name",
    "timeout": "seconds that the run may take; 600 where this is left out",
    "tolerance": "how far numbers of the outputs may be apart; 1e-9 where this is left out",
    "ignore": "patterns of what is not compared",
}
#: Ids of the runs that are made here begin so.
PREFIX = "acceptance-"
#: Name of a table with its schema.
_TABLE = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Acceptance:
    """One such folder."""

    folder: Path
    dag: str
    logical_date: datetime | None = None
    params: dict = field(default_factory=dict)
    timeout: float = 600
    tolerance: float = 1e-9
    ignore: tuple[str, ...] = ()

    @property
    def expected(self) -> Path:
        """What a run is compared with."""
        return self.folder / "expected"

    @property
    def keeps_outputs(self) -> bool:
        """Whether there is anything to compare with."""
        return any(path.is_file() for path in self.expected.rglob("*"))

    @property
    def source(self) -> Path:
        """The DAG's folder."""
        return self.folder.parent


def read(name: str) -> Acceptance:
    """The folder of a DAG. :raises Problem: there is none, or its acceptance.yaml is wrong.

    :param name: the DAG's folder below ``dags/``, such as ``support/ticket_sentiment``.
    """
    source = settings.REPO / "dags" / name
    if not source.is_dir() or ".." in Path(name).parts:
        known = sorted(path.parents[1].relative_to(settings.REPO / "dags").as_posix() for path in _files())
        raise Problem(f"dags/{name} is no folder", f"DAGs with an acceptance folder: {', '.join(known) or 'none'}.")
    path = source / "acceptance" / "acceptance.yaml"
    shown = path.relative_to(settings.REPO)
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        raise Problem(f"there is no {shown}", "Write one: docs/ci.md says how.") from None
    except yaml.YAMLError as error:
        raise Problem(f"{shown}: {error}", "Mend it.") from None
    return Acceptance(path.parent, **_checked(found, str(shown)))


def _files() -> Iterator[Path]:
    return (settings.REPO / "dags").glob("*/*/acceptance/acceptance.yaml")


def _checked(found: object, shown: str) -> dict:
    allowed = f"It may hold {', '.join(KEYS)}."
    if not isinstance(found, dict):
        raise Problem(f"{shown} holds no keys", allowed)
    if unknown := sorted(set(found) - set(KEYS)):
        raise Problem(f"{shown}: {unknown[0]} is not known", allowed)
    kinds = {"dag": str, "logical_date": datetime, "params": dict, "timeout": (int, float), "tolerance": (int, float)}
    for key, kind in kinds.items():
        if key in found and (not isinstance(found[key], kind) or isinstance(found[key], bool)):
            raise Problem(f"{shown}: {key} is {found[key]!r}", f"It is {KEYS[key]}.")
    if "dag" not in found:
        raise Problem(f"{shown} names no dag", f"dag: is {KEYS['dag']}.")
    if (date := found.get("logical_date")) is not None and date.tzinfo is None:
        raise Problem(f"{shown}: logical_date {date} has no offset from UTC", f"Write {date.isoformat()}Z.")
    patterns = found.get("ignore", [])
    if not (isinstance(patterns, list) and all(isinstance(one, str) for one in patterns)):
        raise Problem(f"{shown}: ignore is {patterns!r}", "It is a list of patterns, such as ['*metrics.json at'].")
    return {**found, "ignore": tuple(patterns)}


def put_inputs(case: Acceptance, access: dict) -> None:
    """Put objects into S3 and rows into PostgreSQL; rows whose key is there replace those.

    :raises Problem: a file's name says no place, or what is there does not take it.
    """
    objects, tables = _below(case.folder / "objects"), _below(case.folder / "tables")
    if not (objects or tables):
        return
    with step("Input: put where the DAG reads it") as current:
        client = s3.client(access)
        for path in objects:
            bucket, _, key = path.relative_to(case.folder / "objects").as_posix().partition("/")
            client.upload_file(str(path), bucket, key)
        for path in tables:
            _put_rows(path)
        current.progress = f"{len(objects)} objects, {len(tables)} tables"


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _put_rows(path: Path) -> None:
    database, table = path.parent.name, path.stem
    if path.suffix != ".csv" or not _TABLE.fullmatch(table):
        raise Problem(f"{path}: this is no table", "Name it tables/<database>/<schema>.<table>.csv.")
    text = path.read_text()
    columns = next(csv.reader(text.splitlines()), [])
    if not columns:
        raise Problem(f"{path}: it is empty", "Its first line names the columns, the key first.")
    names = ", ".join(f'"{name}"' for name in columns)
    script = f"""
        BEGIN;
        CREATE TEMP TABLE input (LIKE {table});
        COPY input ({names}) FROM STDIN WITH (FORMAT csv, HEADER);
{text.rstrip()}
\\.
        DELETE FROM {table} USING input WHERE {table}."{columns[0]}" = input."{columns[0]}";
        INSERT INTO {table} ({names}) SELECT {names} FROM input;
        COMMIT;
    """
    try:
        postgres.query(script, database)
    except Problem as problem:
        raise Problem(f"{path.relative_to(settings.REPO)}: {problem}", "Do table and columns exist?") from None


@contextmanager
def unpaused(case: Acceptance, airflow: Airflow) -> Iterator[None]:
    """The DAG runs; afterwards it is paused again, if it was."""
    path = f"dags/{case.dag}"
    was_paused = airflow.call("GET", path)["is_paused"]
    airflow.call("PATCH", path, is_paused=False)
    try:
        yield
    finally:
        if was_paused:
            airflow.call("PATCH", path, is_paused=True)


def start_anew(case: Acceptance, airflow: Airflow) -> str:
    """The id of a run that can be made: an earlier one of the same logical date is removed.

    :raises Problem: somebody else's run has that date.
    """
    if case.logical_date:
        at = case.logical_date.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        there = airflow.call("GET", f"dags/{case.dag}/dagRuns?logical_date_gte={at}&logical_date_lte={at}")["dag_runs"]
        for run_id in (one["dag_run_id"] for one in there):
            if not run_id.startswith(PREFIX):
                raise Problem(f"DAG {case.dag} has run {run_id} of {at}", "Choose a logical_date that has no run.")
            _remove(airflow, f"dags/{case.dag}/dagRuns/{run_id}")
    return f"{PREFIX}{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


def _remove(airflow: Airflow, path: str) -> None:
    if airflow.call("GET", path)["state"] not in ENDED:
        airflow.call("PATCH", path, state="failed")
    airflow.call("DELETE", path)


def run(case: Acceptance, access: dict, run_id: str, patience: float = 1) -> int:
    """Run the DAG, with what its tasks print; the exit code of ``airflow-platform run``.

    :param patience: how often as long as it says it may take.
    """
    words = ["run", case.dag, "--run-id", run_id, "--logs", f"--timeout={case.timeout * patience:g}"]
    if case.logical_date:
        words.append(f"--logical-date={case.logical_date.isoformat()}")
    return command.run(access, *words, f"--conf={json.dumps(case.params)}")


def run_again(case: Acceptance, access: dict, run_id: str, tasks: list[str]) -> int:
    """Have tasks of a run that has ended run again, with those after them; as `run`."""
    words = ["run", case.dag, "--follow", run_id, "--logs", f"--timeout={case.timeout:g}"]
    return command.run(access, *words, *(word for task in tasks for word in ("--from", task)))


def compare(case: Acceptance, access: dict, run_id: str, report: Path) -> int:
    """Compare what the run left with what is kept; the exit code of ``airflow-platform compare``."""
    words = ["compare", case.dag, "--runs", run_id, "--expected", str(case.expected), f"--tolerance={case.tolerance:g}"]
    words += [word for pattern in case.ignore for word in ("--ignore", pattern)]
    report.parent.mkdir(parents=True, exist_ok=True)
    folders = {case.expected: f"{case.expected}:ro", report.parent: str(report.parent)}
    return command.run(access, *words, "--report", str(report), folders=folders)


def record(case: Acceptance, access: dict, run_id: str) -> int:
    """Keep what the run's tasks declare as their outputs; the exit code of ``airflow-platform compare``."""
    case.expected.mkdir(exist_ok=True)
    words = ["compare", case.dag, "--runs", run_id, "--expected", str(case.expected), "--keep"]
    return command.run(access, *words, folders={case.expected: str(case.expected)})
