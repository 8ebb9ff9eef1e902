"""A new task image, or a new DAG, made of templates: it runs and is tested as it is, and is then changed.

All of it is made, or nothing is.
"""

from __future__ import annotations

import contextlib
import keyword
import re
import shutil
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from airflow_platform.command_error import CommandError

#: The languages that an image may begin with; of any other, the shell's is the one to change.
LANGUAGES = ("python", "shell")

#: What a DAG may be written in, and what stands there for "no schedule".
DAG_LANGUAGES = {"python": "None", "yaml": "null"}

#: A name of an image, which is also a label of Kubernetes; and one of a DAG, a team.
_IMAGE = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_WORD = re.compile(r"[a-z]([a-z0-9_]{0,58}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SCHEDULE = re.compile(r"@(hourly|daily|weekly|monthly|yearly)|(\S+ +){4}\S+")
#: Modules of Python, and Python itself, which an image's own would hide.
_TAKEN = frozenset(sys.stdlib_module_names) | set(keyword.kwlist) | {"pytest", "pip"}


class NewError(CommandError):
    """Nothing was made; the message says why, and what to do."""


def task(repository: Path, name: str, language: str = "python") -> list[Path]:
    """Make ``images/<name>``, and its line in ``dags/images.yaml``; what was made.

    Raises:
        NewError: the name is none or taken, or this is not a repository of the platform.
    """
    module = name.replace("-", "_")
    if not _IMAGE.fullmatch(name):
        raise NewError(f"{name!r} is no name of an image; use a-z, 0-9 and hyphens, as in word-count, 40 at most")
    if module in _TAKEN or name == "airflow":
        raise NewError(f"{name!r} is a name that Python or the platform has already; choose one of your own")
    if language not in LANGUAGES:
        raise NewError(f"there is no template for {language!r}; choose among {', '.join(LANGUAGES)}")
    catalogue = _catalogue(repository)
    versions = yaml.safe_load(catalogue.read_text()) or {}
    if name in versions:
        raise NewError(f"{catalogue} has an image {name} already; choose another name")
    words = {"name": name, "module": module}
    version = (files(__package__) / "templates" / language / "VERSION.tmpl").read_text().strip()
    text = catalogue.read_text()
    line = f"{'' if not text or text.endswith(chr(10)) else chr(10)}{name}: {version}\n"
    return _make({repository / "images" / name: language}, words, {catalogue: text + line})


def dag(
    repository: Path,
    name: str,
    team: str,
    image: str,
    namespace: str,
    pool: str,
    schedule: str | None = None,
    language: str = "python",
) -> list[Path]:
    """Make ``dags/<team>/<name>`` with a toy input, and ``tests/dags/test_<name>.py``; what was made.

    Args:
        repository: its root.
        name, team: of the DAG.
        image: that it runs, one of the catalogue.
        namespace, pool: that its tasks run in.
        schedule: a preset as ``@daily``, or a cron expression; None: it is run by hand.
        language: that it is written in, one of `DAG_LANGUAGES`.

    Raises:
        NewError: a name is none or taken, there is no such image, or this is not a repository of the platform.
    """
    for what, given, pattern in (
        ("DAG", name, _WORD),
        ("team", team, _WORD),
        ("namespace", namespace, _NAMESPACE),
        ("pool", pool, _NAMESPACE),
    ):
        if not pattern.fullmatch(given):
            raise NewError(f"{given!r} is no name of a {what}; use a-z, 0-9 and {'_' if pattern is _WORD else '-'}")
    if schedule and not _SCHEDULE.fullmatch(schedule):
        raise NewError(f"{schedule!r} is no schedule; write @daily and the like, or five fields as in '0 6 * * *'")
    if language not in DAG_LANGUAGES:
        raise NewError(f"there is no template for {language!r}; choose among {', '.join(DAG_LANGUAGES)}")
    catalogue = _catalogue(repository)
    versions = yaml.safe_load(catalogue.read_text()) or {}
    if image not in versions:
        raise NewError(
            f"{catalogue} has no image {image!r}; make it by `new task`, or name one of {', '.join(versions)}"
        )
    words = {"dag": name, "team": team, "image": image, "namespace": namespace, "pool": pool}
    words["schedule"] = f'"{schedule}"' if schedule else DAG_LANGUAGES[language]
    test = repository / "tests" / "dags" / f"test_{name}.py"
    return _make({repository / "dags" / team / name: f"dag-{language}", test: "dag-test.py.tmpl"}, words, {})


def _catalogue(repository: Path) -> Path:
    path = repository / "dags" / "images.yaml"
    if not path.is_file():
        raise NewError(f"{path} is not there; run this at the root of the repository, or name it with --repository")
    return path


def _make(places: Mapping[Path, str], words: Mapping[str, str], changed: Mapping[Path, str]) -> list[Path]:
    """Make files and folders of templates and change files: all of it, or nothing.

    Args:
        places: which template goes where.
        words: what stands for ``@word@`` in names and texts.
        changed: new texts of files that are there.
    """
    for target in places:
        if target.exists():
            raise NewError(f"{target} is there already; choose another name, or remove it")
    old = {path: path.read_text() for path in changed}
    with contextlib.ExitStack() as undo:
        for target, template in places.items():
            undo.callback(_remove, target, next(one for one in target.parents if one.exists()))
            _write(files(__package__) / "templates" / template, target, words)
        for path, text in changed.items():
            undo.callback(path.write_text, old[path])
            path.write_text(text)
        undo.pop_all()
    return [*places, *changed]


def _write(template: Any, target: Path, words: Mapping[str, str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if template.is_file():
        target.write_text(_filled(template.read_text(), words))
        return
    for one in template.iterdir():
        _write(one, target / _filled(one.name.removesuffix(".tmpl"), words), words)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@([a-z]+)@", lambda match: words.get(match[1], match[0]), text)


def _remove(target: Path, until: Path) -> None:
    """Remove what was made, and the folders that were made for it."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    folder = target.parent
    while folder != until and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
