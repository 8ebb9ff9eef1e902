"""``airflow-platform check FOLDER``: what does not keep to the rules for DAGs, a line each."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from airflow_platform.rules import Finding, RulesError, as_json, check


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "check",
        help="what of a DAG does not keep to the rules",
        description="Say by file and line what does not keep to the rules for DAGs, and what to do. Ends with 1 then.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="+", help="of DAG files, or one of them")
    add_values(parser)
    parser.add_argument("--json", action="store_true", help="print findings as JSON")
    return parser


def add_values(parser: ArgumentParser) -> None:
    """The option that says which node pools there are."""
    parser.add_argument(
        "--values",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="the chart's values of an environment, whose nodePools and declared.pools tasks may name; may be given "
        "more than once (default: the file of AIRFLOW_PLATFORM_CONFIG; without it, any pool)",
    )


def run(options: Namespace) -> int:
    """Print the findings; 1 where there are any.

    Raises:
        RulesError: a folder cannot be checked.
    """
    platform = platform_of(options.values)
    found = [one for folder in options.folder for one in check(folder, platform=platform)]
    print(as_json(found) if options.json else "\n".join(map(_short, found)) or "All DAGs keep to the rules.")
    return 1 if found else 0


def platform_of(files: Sequence[Path]) -> dict[str, Any] | None:
    """The pools of all environments, by their values files; of one name, the last. None: no file is named.

    Raises:
        RulesError: a file cannot be read, or none has node pools.
    """
    if not files:
        return None
    pools: dict[str, Any] = {}
    declared: dict[str, Any] = {}
    for file in files:
        try:
            values = yaml.safe_load(file.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise RulesError(f"{file} is no values file: {error}") from error
        try:
            kueue = (values.get("kueue") or {}).get("enabled")
            pools |= {pool["name"]: _with_queue(pool) if kueue else pool for pool in values.get("nodePools") or ()}
            declared |= {pool["name"]: pool for pool in (values.get("declared") or {}).get("pools") or ()}
        except (AttributeError, KeyError, TypeError) as error:
            raise RulesError(
                f"{file} is no values file of the chart: its nodePools and declared.pools are lists of pools, each "
                "with a name"
            ) from error
    if not pools:
        raise RulesError(
            f"no nodePools in {', '.join(map(str, files))}; name the values of an environment that has some"
        )
    return {"nodePools": list(pools.values()), "declared": {"pools": list(declared.values())}}


def _with_queue(pool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pool as the chart tells it where Kueue is: its quota is that of a queue, and no priority class counts.

    That there is a queue is what the rules ask; its name has that of the release, which no values say.
    """
    return {**pool, "localQueue": f"airflow-{pool['name']}"} if pool.get("quota") else pool


def _short(finding: Finding) -> str:
    """With the file as it is seen from here."""
    return str(finding).replace(f"{os.getcwd()}/", "", 1)
