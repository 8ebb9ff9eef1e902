"""``airflow-platform compare DAG V1 V2``: runs two versions on the same inputs, or takes past runs."""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_platform.client import Client, add_options
from airflow_platform.command_error import CommandError
from airflow_platform.release.version import suffixed
from airflow_platform.run import command as run_command

if TYPE_CHECKING:
    from airflow_platform.compare.findings import Finding, Rules
    from airflow_platform.compare.side import Side
    from airflow_platform.compare.storage import Storage
    from airflow_platform.dag_run import DagRun

#: What the command ends with.
SAME, DIFFERENT, NOT_COMPARED = 0, 1, 2

#: Differences that the terminal shows; the report has more.
_TOLD = 3


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "compare",
        help="compare two versions of a DAG, or two runs",
        description=(
            "Run two released versions of a DAG, one after the other, on the same logical date and configuration, or "
            "take runs that there are; compare states, XComs and the files that tasks declare, and write a report. "
            f"Ends with {SAME} where all is the same, {DIFFERENT} where something is not, {NOT_COMPARED} where "
            "something could not be compared."
        ),
    )
    parser.add_argument("dag", metavar="DAG", help="the DAG's name")
    parser.add_argument("versions", metavar="VERSION", nargs="*", help="two versions of it, such as 1.2.0 1.3.0")
    parser.add_argument(
        "--runs", nargs="+", metavar="RUN", help="trigger nothing: take these runs, of one version each"
    )
    parser.add_argument(
        "--expected", type=Path, metavar="FOLDER",
        help="compare one run with files that were kept: <bucket>/<key> in the folder is s3://<bucket>/<key>",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="write what the run's tasks declare into that folder")
    run_command.add_inputs(parser)
    parser.add_argument(
        "--timeout", type=run_command.seconds, metavar="SECONDS", help="wait no longer for each run that is triggered"
    )
    parser.add_argument(
        "--tolerance", type=_tolerance, default=1e-9, metavar="X",
        help="how far numbers may be apart, absolutely or in proportion (default: 1e-9); whole numbers are exact",
    )  # fmt: skip
    parser.add_argument(
        "--slower",
        type=run_command.seconds,
        metavar="FACTOR",
        help="a task that takes so many times as long is different",
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="PATTERN",
        help="leave out what matches, such as '*metrics.json trained_at'; again for more",
    )  # fmt: skip
    parser.add_argument(
        "--max-size",
        type=_mebibytes,
        default=64 << 20,
        metavar="MIB",
        help="the largest file that is read (default: 64)",
    )
    parser.add_argument(
        "--report", type=Path, default=Path("comparison.html"), metavar="FILE", help="default: comparison.html"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it as JSON as well")
    add_options(parser)
    parser.set_defaults(on_error=NOT_COMPARED)
    return parser


def run(options: Namespace) -> int:
    """Run, gather, compare, write.

    Raises:
        CommandError: one of the sides cannot be had, or the report not be written.
    """
    from airflow_platform.compare.findings import Rules, compare
    from airflow_platform.compare.storage import Storage

    _check(options)
    client = Client.of(options)
    rules = Rules(options.tolerance, options.max_size, options.slower, tuple(options.ignore))
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(Path(folder), options.max_size)
        if options.keep:
            return _keep(client, options, storage)
        left, right = _kept(client, options, storage) if options.expected else _two(client, options, storage)
        findings = compare(left, right, rules)
        _write(options, left, right, findings, rules)
    return _tell(findings, options.report)


def _check(options: Namespace) -> None:
    if options.keep and not options.expected:
        raise CommandError("--keep needs --expected FOLDER, where to")
    if options.expected:
        if options.versions or len(options.runs or ()) != 1:
            raise CommandError("--expected compares one run: give --runs RUN, and no version")
        if not options.keep and not options.expected.is_dir():
            raise CommandError(f"{options.expected} is no folder")
    elif options.runs:
        if len(options.runs) != 2 or len(options.versions) not in (0, 2):
            raise CommandError("give two runs, --runs RUN1 RUN2: of the DAG, or of the two versions that are named")
    elif len(options.versions) != 2:
        raise CommandError("give two versions, or --runs RUN1 RUN2")
    if options.runs and (options.logical_date or options.conf or options.params or options.unpause):
        raise CommandError("--runs triggers no run: it takes no --logical-date, --conf, --param or --unpause")


def _two(client: Client, options: Namespace, storage: Storage) -> list[Side]:
    from airflow_platform.compare.side import of_run
    from airflow_platform.dag_run import DagRun

    ids = [suffixed(options.dag, version) for version in options.versions] or [options.dag] * 2
    if options.runs:
        names = options.versions or options.runs
        runs = [DagRun(client, *one) for one in zip(ids, options.runs, strict=True)]
        return [of_run(name, one, storage) for name, one in zip(names, runs, strict=True)]
    # One after the other: where both write to the same place, each is read before the next replaces it.
    return [of_run(version, _ended(client, one, options), storage)
            for version, one in zip(options.versions, ids, strict=True)]  # fmt: skip


def _ended(client: Client, one: str, options: Namespace) -> DagRun:
    found = _there(client, one, options) or run_command.start(client, one, options)
    if run_command.follow(found, with_logs=False, timeout=options.timeout) is None:
        raise CommandError(f"run {found.run_id} of DAG {one} has not ended, so there is nothing to compare yet")
    return found


def _there(client: Client, one: str, options: Namespace) -> DagRun | None:
    """The run of the logical date that there is, of which Airflow allows one."""
    from airflow_platform.dag_run import of_date

    found = of_date(client, one, options.logical_date) if options.logical_date else None
    if found is None:
        return None
    wanted = {**options.conf, **dict(options.params)}
    if (there := found.read()["conf"] or {}) != wanted:
        raise CommandError(
            f"DAG {one} has run {found.run_id} of that logical date, on another configuration ({json.dumps(there)}): "
            "delete it, or give another date"
        )
    run_command.say(f"run {found.run_id} of DAG {one} has that logical date, and is taken: {found.url}")
    return found


def _kept(client: Client, options: Namespace, storage: Storage) -> list[Side]:
    from airflow_platform.compare.side import of_folder, of_objects
    from airflow_platform.dag_run import DagRun

    expected = of_folder("kept", options.expected)
    if not expected.outputs:
        raise CommandError(f"{options.expected} has no file: --keep writes those that the run's tasks declare")
    (run_id,) = options.runs
    run = DagRun(client, options.dag, run_id)
    return [expected, of_objects("this run", list(expected.outputs), run, storage)]


def _keep(client: Client, options: Namespace, storage: Storage) -> int:
    from airflow_platform.compare.side import of_run
    from airflow_platform.compare.storage import split
    from airflow_platform.dag_run import DagRun

    (run_id,) = options.runs
    side = of_run("this run", DagRun(client, options.dag, run_id), storage)
    if side.state != "success":
        raise CommandError(f"run {run_id} of DAG {options.dag} {side.state}: only what a success left is kept")
    for output in side.outputs.values():
        if output.file is None or output.file.path is None:
            run_command.say(f"not kept: {output.address}: {output.problem or 'it is not there, or too large'}")
            continue
        path = options.expected.joinpath(*split(output.address))
        if not path.resolve().is_relative_to(options.expected.resolve()):
            raise CommandError(f"{output.address} would be written outside of {options.expected}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(output.file.path.read_bytes())
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
        print(path)
    if not side.outputs:
        raise CommandError(f"no task of DAG {options.dag} declares an output (docs/compare.md)")
    return NOT_COMPARED if any(output.is_lost for output in side.outputs.values()) else SAME


def _write(options: Namespace, left: Side, right: Side, findings: Sequence[Finding], rules: Rules) -> None:
    from airflow_platform.compare.report import as_json, as_page

    written = {options.report: as_page} | ({options.json: as_json} if options.json else {})
    for path, make in written.items():
        try:
            path.write_text(make(left, right, findings, rules), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error


def _tell(findings: Sequence[Finding], report: Path) -> int:
    from airflow_platform.compare import findings as verdicts
    from airflow_platform.compare.report import headline

    print(headline(findings))
    for one in findings:
        if one.verdict == verdicts.SAME:
            break
        print(f"  {one.where}: {one.summary}{f' ({one.how})' if one.how else ''}")
        for difference in one.differences[:_TOLD]:
            print(
                f"    {difference.where or 'value'}: {difference.left or 'nothing'} → {difference.right or 'nothing'}"
            )
        if one.count > _TOLD:
            print(f"    and {one.count - _TOLD:,} more")
    print(f"report: {report}", file=sys.stderr)
    found = {one.verdict for one in findings}
    if verdicts.DIFFERENT in found:
        return DIFFERENT
    return NOT_COMPARED if verdicts.NOT_COMPARED in found or not findings else SAME


def _tolerance(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1
    if not 0 <= found < 1:
        raise ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return found


def _mebibytes(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text) << 20
