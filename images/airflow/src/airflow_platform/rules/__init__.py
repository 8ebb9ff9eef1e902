"""What every DAG keeps to, checked before it is pushed: ``check(folder)`` says what does not, by file and line.

The same rules are a command (``airflow-platform check``), a pre-commit hook that calls it, and a pytest suite
(``pytest --pyargs airflow_platform.rules``). Files are imported in a process of their own (`judge`), by Airflow's own
importer, with nothing to reach; each rule is a function of what was found (`rules`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from airflow_platform import catalogue
from airflow_platform.command_error import CommandError

#: Seconds for all files of a folder.
_TIMEOUT = 600


class RulesError(CommandError):
    """A folder cannot be checked; the message says why, and what to do."""


@dataclass(frozen=True, order=True)
class Finding:
    """What does not keep to a rule.

    Args:
        file: absolute.
        line: from 1, of the DAG, the task, or what the file does at its top.
        rule: its name, as "retries".
        message: one line: what is wrong and, behind a semicolon, what to do.
    """

    file: Path
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


def check(folder: Path, *, root: Path | None = None, platform: Mapping[str, Any] | None = None) -> list[Finding]:
    """What does not keep to the rules in a folder of DAG files, or in one file, by file and line; empty: all is well.

    Nothing changes in the caller's process, and no database is asked.

    Args:
        folder: of DAG files.
        root: the folder of all DAGs, from which files import each other; None: as `airflow_platform.catalogue.root_of`.
        platform: what the platform is installed with, in the words of its chart's values; of it, ``nodePools`` and
            ``declared.pools`` are the pools that tasks may name. None: the file of ``AIRFLOW_PLATFORM_CONFIG``;
            without it, any pool.

    Raises:
        RulesError: there is no such folder, Airflow is not installed, or it does not start.
    """
    folder = folder.resolve()
    if not folder.exists():
        raise RulesError(f"there is nothing at {folder}; name a folder of DAGs")
    if importlib.util.find_spec("airflow") is None:
        raise RulesError("the rules need Airflow, which is not installed; pip install 'airflow-platform[testing]'")
    with tempfile.TemporaryDirectory() as home:
        found = Path(home, "findings.json")
        words = [
            sys.executable,
            "-m",
            "airflow_platform.rules.judge",
            str(folder),
            str(root or catalogue.root_of(folder)),
            str(found),
        ]
        try:
            said = _run(words, _environment(Path(home), platform))
        except subprocess.TimeoutExpired:
            raise RulesError(f"the files of {folder} could not be imported within {_TIMEOUT} s") from None
        if not found.exists():
            raise RulesError(f"the files of {folder} could not be imported:\n{said}")
        return sorted(Finding(**{**one, "file": Path(one["file"])}) for one in json.loads(found.read_text()))


def as_json(findings: list[Finding]) -> str:
    """Findings for programs."""
    return json.dumps([{**asdict(one), "file": str(one.file)} for one in findings], indent=2)


def _run(words: list[str], environment: dict[str, str]) -> str:
    """Run it; what it has said.

    Raises:
        TimeoutExpired: it did not end in time.
    """
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=environment, start_new_session=True, **output) as process:
        try:
            out, error = process.communicate(timeout=_TIMEOUT)
        except BaseException:
            # With the process that it has forked for the file at hand.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return (error or out).strip()


def _environment(home: Path, platform: Mapping[str, Any] | None) -> dict[str, str]:
    """Of an Airflow with a home of its own: what a machine has set for another one is not for this."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW__") and name not in ("AIRFLOW_HOME", "AIRFLOW_CONFIG")
    }
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor,launcher:airflow_platform.launcher.LocalLauncher",
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "100",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    if platform is not None:
        path = home / "platform.yaml"
        pools = {name: platform.get(name) or empty for name, empty in (("nodePools", []), ("declared", {}))}
        path.write_text(yaml.safe_dump(pools))
        environment["AIRFLOW_PLATFORM_CONFIG"] = str(path)
    return environment
