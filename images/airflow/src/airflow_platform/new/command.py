"""``airflow-platform new task|dag NAME``: from flags, or from questions where a person answers."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from airflow_platform import new
from airflow_platform.new import NewError


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "new",
        help="a new task image, or a new DAG",
        description="Make a task image, or a DAG that runs one, with tests: they work as they are. What is not "
        "given is asked for.",
    )
    whats = parser.add_subparsers(title="what", required=True, metavar="WHAT", dest="what")
    task = whats.add_parser("task", help="images/<name>: a task image with its tests")
    task.add_argument("name", nargs="?", metavar="NAME", help="of the image, as word-count")
    task.add_argument("--language", choices=new.LANGUAGES, help="what it is written in; of any other, begin with shell")
    dag = whats.add_parser("dag", help="dags/<team>/<name>: a DAG that runs an image, with its tests and a toy input")
    dag.add_argument("name", nargs="?", metavar="NAME", help="of the DAG, as word_count")
    dag.add_argument("--team", help="whose it is")
    dag.add_argument("--image", help="that it runs, one of dags/images.yaml")
    dag.add_argument("--namespace", help="where its pods run (default: the team's name)")
    dag.add_argument("--pool", help="the node pool (default: light)")
    dag.add_argument("--schedule", help="@daily and the like, or a cron expression (default: it is run by hand)")
    dag.add_argument("--language", choices=list(new.DAG_LANGUAGES), help="what it is written in")
    for one in (task, dag):
        one.add_argument("--repository", type=Path, default=Path(), help="its root (default: here)")
    return parser


def run(options: Namespace) -> int:
    """Make it, and say what comes next.

    Raises:
        NewError: nothing was made.
    """
    repository = options.repository.resolve()
    if options.what == "task":
        name = _asked(options.name, "Name of the image", "NAME")
        made = new.task(repository, name, _asked(options.language, "Language (python, shell)", "--language", "python"))
        then = [f"make image-test IMAGE={name}", f"airflow-platform new dag --image {name}"]
    else:
        name = _asked(options.name, "Name of the DAG", "NAME")
        team = _asked(options.team, "Team", "--team")
        made = new.dag(
            repository,
            name,
            team,
            image=_asked(options.image, "Image that it runs", "--image"),
            namespace=_asked(options.namespace, "Namespace of its pods", "--namespace", team.replace("_", "-")),
            pool=_asked(options.pool, "Node pool", "--pool", "light"),
            schedule=_asked(options.schedule, "Schedule (empty: by hand)", "--schedule", "") or None,
            language=_asked(options.language, "Language (python, yaml)", "--language", "python"),
        )
        then = ["make test-dags", "make dags-push FROM=dags"]
    for path in made:
        print(f"made {os.path.relpath(path)}{'/' if path.is_dir() else ''}")
    print("next: " + "\n      ".join(then))
    return 0


def _asked(given: str | None, question: str, flag: str, default: str | None = None) -> str:
    """What was given; else what a person answers; else the default.

    Raises:
        NewError: there is nobody to ask, and no default.
    """
    if given is not None:
        return given
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        if default is None:
            raise NewError(f"{flag} is missing; give it, or run this in a terminal and be asked")
        return default
    while True:
        try:
            answer = input(f"{question}{f' [{default}]' if default else ''}: ").strip()
        except EOFError:
            raise NewError(f"{flag} is missing") from None
        if answer or default is not None:
            return answer or default or ""
