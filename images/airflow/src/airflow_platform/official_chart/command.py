"""``airflow-platform convert-values VALUES.yaml …``: our values on stdout, a report on stderr."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from airflow_platform.command_error import CommandError

#: What the command ends with where something is to be done by hand.
BY_HAND = 3


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "convert-values",
        help="values of the official Airflow chart as values of this one",
        description=(
            "Read values of the official Airflow chart (apache-airflow/airflow, 1.19 to 1.22) and write this chart's, "
            "with a report on stderr of what became of each. Secrets are not copied. "
            f"Ends with 0 where nothing is left to do, with {BY_HAND} where something is, with 1 after an error."
        ),
    )
    parser.add_argument(
        "files", metavar="VALUES.yaml", nargs="+", help="their values; later files win, as with helm --values"
    )
    parser.add_argument(
        "--release", default="airflow", metavar="NAME", help="the helm release's name (default: airflow)"
    )
    parser.add_argument("--namespace", default="airflow", metavar="NAME", help="its namespace (default: airflow)")
    parser.add_argument(
        "--task-namespace", action="append", default=[], metavar="NAME", dest="task_namespaces",
        help="a namespace where tasks create their pods, the default one first; not the release's",
    )  # fmt: skip
    parser.add_argument(
        "--image", default="", metavar="IMAGE", help="this project's Airflow image, where you pushed it"
    )
    return parser


def run(options: Namespace) -> int:
    """Write values and report.

    Raises:
        CommandError: the files cannot be read, or name what the official chart does not have.
    """
    from airflow_platform.official_chart import convert
    from airflow_platform.official_chart.given import ValuesError
    from airflow_platform.official_chart.report import show
    from airflow_platform.official_chart.written import written

    if options.namespace in options.task_namespaces:
        raise CommandError(
            f"--task-namespace {options.namespace} is the release's own: a task's pod could mount its Secrets. "
            "Name another"
        )
    try:
        conversion = convert(
            options.files,
            release=options.release,
            namespace=options.namespace,
            task_namespaces=options.task_namespaces,
            image=options.image,
        )
    except ValuesError as error:
        raise CommandError(str(error)) from error
    sys.stdout.write(written(conversion, options.files))
    show(conversion)
    return BY_HAND if conversion.by_hand else 0
