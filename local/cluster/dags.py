"""An author's push: a folder of DAG files, committed to the git server that the platform syncs from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from local.cluster import access
from local.cluster.console import Problem, run

#: The folder of the repository that the platform reads.
SUBFOLDER = "dags"
BRANCH = "main"


def push(folder: Path, message: str = "") -> str:
    """Commit what is in ``folder`` under ``dags/`` and push it; the commit's hash.

    A file or folder at the top of ``folder`` replaces the one of that name; others in the repository stay. Nothing
    is committed where nothing changed.

    :raises Problem: no such folder, nothing in it, or git's own words.
    """
    if not folder.is_dir():
        raise Problem(f"{folder} is not a folder", "Name a folder of DAG files: make dags-push FROM=dags")
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith((".", "__pycache__"))]
    if not entries:
        raise Problem(f"there is nothing in {folder}", "Name a folder of DAG files: make dags-push FROM=dags")
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary, "clone")
        _git("clone", "--quiet", "--branch", BRANCH, access.read()["git"], str(clone))
        target = clone / SUBFOLDER
        target.mkdir(exist_ok=True)
        for entry in entries:
            there = target / entry.name
            if there.is_dir():
                shutil.rmtree(there)
            if entry.is_dir():
                shutil.copytree(entry, there, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy2(entry, there)
        _git("-C", str(clone), "add", "--all")
        if subprocess.run(["git", "-C", clone, "diff", "--cached", "--quiet"], check=False).returncode:
            _git("-C", str(clone), "commit", "--quiet", "--message", message or f"DAGs of {folder.name}")
            _git("-C", str(clone), "push", "--quiet", "origin", f"HEAD:{BRANCH}")
        return _git("-C", str(clone), "rev-parse", "HEAD").strip()


def _git(*words: str) -> str:
    identity = {}
    if subprocess.run(["git", "config", "user.email"], capture_output=True, check=False).returncode:
        identity = {
            f"GIT_{role}_{kind}": value
            for role in ("AUTHOR", "COMMITTER")
            for kind, value in (("NAME", "local"), ("EMAIL", "local@localhost"))
        }
    # The clone's address holds a password: it must not come into a log through git's own messages.
    env = {**identity, "GIT_TERMINAL_PROMPT": "0", "HOME": os.environ.get("HOME", "/")}
    return run(["git", *words], log="git", env=env, doing=f"git {next(word for word in words if word[0] != '-')}")
