"""``airflow-platform why DAG TASK [RUN]``: asks the api-server, or, in a pod that has it, Airflow's database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from airflow_platform.client import Client, ClientError, add_options

_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_IN_ITS_POD = "; or run this in its pod: kubectl exec deploy/airflow-api-server -- airflow-platform why …"

#: How a verdict's kinds look, and whose turn it is.
_KINDS = {
    "user": ("red", "the task's author"),
    "capacity": ("yellow", "nobody: room has to come free"),
    "transient": ("yellow", "nobody: it passes"),
    "infrastructure": ("magenta", "the cluster"),
    "platform": ("magenta", "whoever runs the platform"),
    None: ("green", ""),
}


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "why",
        help="why a task does not run, or how it ended",
        description="Say in one sentence why a task does not run, or how it ended, and what to do.",
    )
    parser.add_argument("dag", metavar="DAG", help="the DAG's id")
    parser.add_argument("task", metavar="TASK", help="the task's id, with the groups that it is in")
    parser.add_argument("run", metavar="RUN", nargs="?", help="the run's id (default: the latest run)")
    parser.add_argument("--map-index", type=int, metavar="N", help="of a mapped task, which instance")
    parser.add_argument("--json", action="store_true", help="print the whole answer as JSON")
    add_options(parser)
    return parser


def run(options: Namespace) -> int:
    """Print the answer.

    Raises:
        ClientError: there is none.
    """
    if not options.url and os.environ.get(_DATABASE):
        found = _here(options)
    else:
        path = f"/why/{quote(options.dag, safe='')}/{quote(options.task, safe='')}"
        found = Client.of(options, or_else=_IN_ITS_POD).get(path, run_id=options.run, map_index=options.map_index)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    return 0


def _here(options: Namespace) -> Mapping[str, Any]:
    # Airflow looks connections up as its own servers do.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # What it logs, from its import on, is no part of the answer.
    with contextlib.redirect_stdout(sys.stderr):
        from sqlalchemy.exc import OperationalError

        from airflow_platform.why import explain
        from airflow_platform.why.database import NotFoundError, Request

        logging.disable(logging.INFO)
        try:
            return asyncio.run(explain(Request(options.dag, options.task, options.run, options.map_index))).as_dict()
        except NotFoundError as error:
            raise ClientError(str(error)) from error
        except OperationalError as error:
            raise ClientError(f"Airflow's database does not answer: {str(error.orig).strip()}") from error


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    colour, whose = _KINDS.get(found["kind"], _KINDS[None])
    console.print(Text(found["sentence"], style=f"bold {colour}"), soft_wrap=True)
    rows = Table.grid(padding=(0, 2))
    for name, value in _rows(found, whose):
        rows.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    console.print(Padding(rows, (1, 0, 0, 0)))
    for title, lines in (("Events", found["events"]), ("Last lines", found["last_lines"])):
        if lines:
            console.print(Text(f"\n{title}", style="dim"))
            for line in lines:
                console.print(Text(f"  {line}"), soft_wrap=True)


def _rows(found: Mapping[str, Any], whose: str) -> list[tuple[str, str]]:
    state = (found["state"] or "no state yet").replace("_", " ")
    if found["since"]:
        state += f" since {datetime.fromtimestamp(found['since'], timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    index = f"[{found['map_index']}]" if found["map_index"] >= 0 else ""
    cause = found["cause"] if found["certain"] else f"{found['cause']} (most likely)"
    rows = [("task", f"{found['dag_id']}.{found['task_id']}{index}"), ("state", state), ("cause", cause)]
    return [*rows, *([("whose turn", whose)] if whose else []), *((name, value) for name, value in found["details"])]
