"""``airflow-platform run DAG``: triggers a run; with ``--wait`` tells how it goes on, and ends with its state.

What it tells goes to stderr. On stdout is what was asked for: the run's id, or with ``--outputs`` JSON.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_platform.client import Client, ClientError, add_options
from airflow_platform.command_error import CommandError
from airflow_platform.dag_run import DagRun, trigger
from airflow_platform.run.follow import Follower, named

#: What the command ends with. 2 is also what a mistake in the command ends with, before anything was triggered.
SUCCESS, FAILED, NOT_IN_TIME, NOT_RUN = 0, 1, 2, 3


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "run",
        help="run a DAG, and wait for its end",
        description=(
            "Trigger a run of a DAG and print its id. With --wait, follow it to its end. "
            f"Ends with {SUCCESS} when the run succeeded (without --wait: was triggered), {FAILED} when it failed, "
            f"{NOT_IN_TIME} when it did not end within --timeout, {NOT_RUN} when it could not be triggered or followed."
        ),
    )
    parser.add_argument("dag", metavar="DAG", help="the DAG's id")
    add_inputs(parser)
    parser.add_argument("--run-id", metavar="ID", help="the new run's id (default: a new one)")
    parser.add_argument("--follow", metavar="RUN", help="trigger nothing: follow this run to its end")
    parser.add_argument(
        "--from", action="append", default=[], metavar="TASK", dest="from_tasks",
        help="with --follow: have this task and those after it run again in that run; again for more",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="follow the run: a line for each change of a task's state")
    parser.add_argument("--logs", action="store_true", help="with what the tasks print, each line once")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="wait no longer; the run goes on")
    parser.add_argument("--outputs", action="store_true", help="at its end, print the run's XComs as JSON")
    add_options(parser)
    parser.set_defaults(on_error=NOT_RUN)
    return parser


def add_inputs(parser: ArgumentParser) -> None:
    """The options that say what a run works on."""
    parser.add_argument(
        "--logical-date", type=moment, metavar="DATE", help="such as 2026-01-31T00:00:00Z (default: the run has none)"
    )
    parser.add_argument(
        "--conf", type=configuration, default={}, metavar="JSON", help="the run's configuration; @FILE reads a file"
    )
    parser.add_argument(
        "--param", type=parameter, action="append", default=[], dest="params", metavar="NAME=VALUE",
        help="one of the DAG's params, as JSON or else as text; again for more",
    )  # fmt: skip
    parser.add_argument("--unpause", action="store_true", help="unpause the DAG first, if it is paused")


def run(options: Namespace) -> int:
    """Trigger, follow, print.

    Raises:
        CommandError: the run could not be triggered, or followed.
    """
    if options.follow and (options.run_id or options.logical_date or options.conf or options.params):
        raise CommandError("--follow triggers no run: it takes no --run-id, --logical-date, --conf or --param")
    if options.from_tasks and not options.follow:
        raise CommandError("--from needs --follow RUN, in which the task runs again")
    client = Client.of(options)
    waits = options.wait or options.logs or options.outputs or options.follow or options.timeout
    known: Sequence[Mapping[str, Any]] = ()
    if options.follow:
        found = DagRun(client, options.dag, options.follow)
        if options.from_tasks:
            known = found.instances()
            found.clear(options.from_tasks)
    else:
        found = start(client, options.dag, options, run_id=options.run_id)
        if not options.outputs:
            # At once: whoever waits in vain follows on by it.
            print(found.run_id, flush=True)
    if not waits:
        return SUCCESS
    state = follow(found, with_logs=options.logs, timeout=options.timeout, hint="--logs " * options.logs, known=known)
    if state is None:
        return NOT_IN_TIME
    if options.outputs:
        run_as_json = {"dag_id": found.dag_id, "run_id": found.run_id, "state": state, "xcoms": found.xcoms()}
        print(json.dumps(run_as_json, indent=2))
    return SUCCESS if state == "success" else FAILED


def start(client: Client, dag_id: str, options: Namespace, run_id: str | None = None) -> DagRun:
    """Trigger a run on what the options of `add_inputs` say.

    Raises:
        ClientError: it could not be.
    """
    found = trigger(
        client,
        dag_id,
        logical_date=options.logical_date,
        conf={**options.conf, **dict(options.params)},
        run_id=run_id,
        unpause=options.unpause,
    )
    say(f"run {found.run_id} of DAG {dag_id}: {found.url}")
    return found


def follow(
    run: DagRun,
    *,
    with_logs: bool,
    timeout: float | None,
    hint: str = "",
    known: Sequence[Mapping[str, Any]] = (),
) -> str | None:
    """Tell how a run goes on, and what became of the tasks that failed.

    Args:
        run: the run.
        with_logs: whether to tell what its tasks print.
        timeout: seconds; None: however long it takes.
        hint: options of the command that goes on where this one ends early.
        known: task instances as they were, of which nothing is to be told.

    Returns:
        the run's state; None: it has not ended in time.

    Raises:
        ClientError: the api-server does not answer, or does not know the run.
        KeyboardInterrupt: of the person at the keyboard, who was told how to follow on.
    """
    began = time.monotonic()
    goes_on = f"The run goes on; follow it: airflow-platform run {run.dag_id} {hint}--follow {run.run_id}"
    try:
        follower = Follower(run, say, with_logs=with_logs, known=known)
        state = follower.until_end(None if timeout is None else began + timeout)
    except KeyboardInterrupt:
        say(f"\n{goes_on}")
        raise
    if state is None:
        say(f"run {run.run_id} of DAG {run.dag_id} has not ended within {timeout:g} s. {goes_on}")
        return None
    for instance in run.instances():
        if instance["state"] == "failed":
            say(f"{named(instance['task_id'], instance['map_index'])}: {_verdict(run, instance)}")
    took = run.read()["duration"]
    say(f"run {run.run_id} of DAG {run.dag_id}: {state}{f' after {took:.0f} s' if took is not None else ''}")
    return state


def say(line: str) -> None:
    """Tell a line, at once."""
    print(line, file=sys.stderr, flush=True)


def _verdict(run: DagRun, instance: Mapping[str, Any]) -> str:
    try:
        return run.why(instance["task_id"], instance["map_index"])
    except ClientError as error:
        return f"failed; why is not known: {error}"


def moment(text: str) -> datetime:
    """A moment with its offset from UTC, of an option.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no moment such as 2026-01-31T00:00:00Z") from None
    if found.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} has no offset from UTC: write {found.isoformat()}Z, or +02:00 or the like")
    return found


def configuration(text: str) -> dict[str, Any]:
    """A run's configuration: a JSON object, or ``@`` and the file that holds it.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        found = _json(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise ArgumentTypeError(f"{text!r} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ArgumentTypeError(f'{text!r} is no JSON object such as {{"day": "2026-01-31"}}')
    return found


def parameter(text: str) -> tuple[str, Any]:
    """A param's name and value: JSON where it is JSON, else text.

    Raises:
        ArgumentTypeError: it has no name.
    """
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, _json(value)
    except ValueError:
        return name, value


def _json(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no number of JSON's")

    return json.loads(text, parse_constant=refuse)


def seconds(text: str) -> float:
    """A number of seconds above 0.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return found
