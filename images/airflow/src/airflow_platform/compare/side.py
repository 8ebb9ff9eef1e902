"""What one run left: its tasks' states and times, their XComs, and the files that they declare.

A task declares a file that it writes to S3 by an annotation of its pod, which is a template, or by an XCom:

    KubernetesPodOperator(…, annotations={"airflow-platform/outputs": "s3://sales/{{ ds }}/report.csv"})

Several addresses stand with spaces between them; one that ends with a slash is a folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_platform.client import ClientError
from airflow_platform.compare.storage import SCHEME, File, Storage, StorageError, kept
from airflow_platform.dag_run import DagRun
from airflow_platform.outputs import OUTPUTS
from airflow_platform.run.follow import named

#: How long after a run's end a file may be written that is still the run's: clocks differ.
_LATE = timedelta(seconds=5)


@dataclass(frozen=True)
class Task:
    """``seconds`` is of its last try; ``why`` is the verdict on one that failed."""

    state: str
    tries: int
    seconds: float | None
    why: str = ""


@dataclass(frozen=True)
class Output:
    """What a run wrote to an address.

    ``file`` is None where that is nothing, ``problem`` says more; or, where it ``is_lost``, cannot be known any more.
    An address that is not ``is_declared``, but in an XCom, may well be of something else than an output.
    """

    address: str
    file: File | None
    problem: str = ""
    is_lost: bool = False
    is_declared: bool = True


@dataclass
class Side:
    """``tasks`` by the task instance's name, ``xcoms`` by that and the key, ``outputs`` by what declares them."""

    name: str
    dag_id: str = ""
    run_id: str = ""
    url: str = ""
    state: str = ""
    logical_date: str | None = None
    conf: Mapping[str, Any] | None = None
    seconds: float | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    xcoms: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)


def of_run(name: str, run: DagRun, storage: Storage) -> Side:
    """What a run left that has ended.

    Raises:
        CommandError: Airflow or S3 does not answer, or the run has not ended.
    """
    side, found = _of(name, run)
    instances = sorted(run.instances(), key=lambda one: (one["start_date"] or "9", one["task_id"], one["map_index"]))
    for one in instances:
        why = _why(run, one) if one["state"] == "failed" else ""
        side.tasks[_name(one)] = Task(one["state"] or "no state", one["try_number"], one["duration"], why)
    for one in run.xcoms():
        side.xcoms[f"{_name(one)} {one['key']}"] = one["value"]
    for where, address in _declared(instances):
        try:
            side.outputs |= _written(where, address, storage, found, is_declared=True)
        except StorageError as error:
            if address.endswith("/"):
                # The other run's files in it would be taken for what this one has not written.
                raise
            side.outputs[where] = Output(address, None, str(error), is_lost=True)
    for where, address in _in_xcoms(side.xcoms):
        # It may be of anything, such as a bucket of somebody else.
        with suppress(StorageError):
            side.outputs |= _written(where, address, storage, found, is_declared=False)
    return side


def of_objects(name: str, addresses: list[str], run: DagRun, storage: Storage) -> Side:
    """Of a run that has ended, these objects in S3, declared or not.

    Raises:
        CommandError: Airflow or S3 does not answer, or the run has not ended.
    """
    side, found = _of(name, run)
    side.outputs = {address: _output(address, storage, found) for address in addresses}
    return side


def of_folder(name: str, folder: Path) -> Side:
    """Files that were kept: ``<bucket>/<key>`` in a folder is ``s3://<bucket>/<key>``."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    addresses = {f"{SCHEME}{path.relative_to(folder).as_posix()}": path for path in paths}
    outputs = {address: Output(address, kept(path, address)) for address, path in addresses.items()}
    return Side(name, outputs=outputs)


def _of(name: str, run: DagRun) -> tuple[Side, Mapping[str, Any]]:
    found = run.read()
    if found["state"] not in ("success", "failed"):
        raise ClientError(f"run {run.run_id} of DAG {run.dag_id} is {found['state']}: wait for its end")
    known = (found[key] for key in ("state", "logical_date", "conf", "duration"))
    return Side(name, run.dag_id, run.run_id, run.url, *known), found


def _name(one: Mapping[str, Any]) -> str:
    return named(one["task_id"], one["map_index"])


def _why(run: DagRun, instance: Mapping[str, Any]) -> str:
    try:
        return run.why(instance["task_id"], instance["map_index"])
    except ClientError:
        # A DAG that is gone since has no answer; that the task failed is known all the same.
        return ""


def _declared(instances: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Who declares which address: by place, as the addresses of two runs need not be the same.

    A task that was skipped has written nothing, and one that failed perhaps a part.
    """
    for one in (each for each in instances if each["state"] == "success"):
        annotations = (one.get("rendered_fields") or {}).get("annotations")
        if isinstance(annotations, str) and OUTPUTS in annotations:
            raise ClientError(
                f"task {_name(one)} declares more outputs than Airflow keeps of a template: name a folder, or raise "
                "[core] max_templated_field_length"
            )
        declared = annotations.get(OUTPUTS, "") if isinstance(annotations, Mapping) else ""
        for number, address in enumerate(declared.split(), 1):
            yield f"{_name(one)} output {number}", address


def _in_xcoms(xcoms: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for where, value in xcoms.items():
        for place, text in _texts(value):
            # A bucket alone is no output.
            key = text.removeprefix(SCHEME).partition("/")[2]
            if text.startswith(SCHEME) and key and not any(sign.isspace() for sign in text):
                yield f"{where}{place}", text


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}[{number}]")


def _written(
    where: str, address: str, storage: Storage, run: Mapping[str, Any], *, is_declared: bool
) -> dict[str, Output]:
    if not address.endswith("/"):
        output = _output(address, storage, run, is_declared)
        # Programs name folders without a slash, too.
        below = [] if output.file or output.problem or is_declared else storage.below(f"{address}/")
        if not below:
            return {where: output}
        address += "/"
    else:
        below = storage.below(address)
    return {f"{where} {each.removeprefix(address)}": _output(each, storage, run, is_declared) for each in below}


def _output(address: str, storage: Storage, run: Mapping[str, Any], is_declared: bool = True) -> Output:
    file = storage.fetch(address)
    if file is None or file.written is None:
        return Output(address, file, is_declared=is_declared)
    began, ended = (datetime.fromisoformat(run[name]) if run[name] else None for name in ("start_date", "end_date"))
    if began and file.written < began.replace(microsecond=0):
        problem = f"what is there is older than the run, which wrote nothing: {file.written}"
        return Output(address, None, problem, is_declared=is_declared)
    if ended and file.written > ended + _LATE:
        problem = f"it was written again after the run had ended: {file.written}"
        return Output(address, None, problem, is_lost=True, is_declared=is_declared)
    return Output(address, file, is_declared=is_declared)
