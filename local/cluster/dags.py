"""An author's push: a folder of DAG files, committed to the git server that the platform syncs from."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

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
    entries = [entry for entry in sorted(folder.iterdir()) if _is_pushed(entry.name)]
    if not entries:
        raise Problem(f"there is nothing in {folder}", "Name a folder of DAG files: make dags-push FROM=dags")
    address, environment = remote(access.git())
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary)
        environment |= _author(clone)

        def git(*words: str) -> str:
            return run(["git", *words], log="git", env=environment, cwd=clone, doing=f"git {words[0]}")

        git("clone", "--quiet", "--branch", BRANCH, address, ".")
        target = clone / SUBFOLDER
        target.mkdir(exist_ok=True)
        for entry in entries:
            there = target / entry.name
            if there.is_dir() and not there.is_symlink():
                shutil.rmtree(there)
            else:
                there.unlink(missing_ok=True)
            if entry.is_dir():
                shutil.copytree(entry, there, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy2(entry, there)
        git("add", "--all")
        if git("status", "--porcelain"):
            git("commit", "--quiet", "--message", message or f"DAGs of {folder.name}")
            git("push", "--quiet", "origin", f"HEAD:{BRANCH}")
        return git("rev-parse", "HEAD").strip()


def _is_pushed(name: str) -> bool:
    return name == ".airflowignore" or not name.startswith((".", "__pycache__"))


def _author(folder: Path) -> dict[str, str]:
    """Names for a commit where whoever runs this has told git none; asked in ``folder``, where it is made."""
    asked = [
        subprocess.run(["git", "var", f"GIT_{role}_IDENT"], cwd=folder, capture_output=True, check=False).returncode
        for role in ("AUTHOR", "COMMITTER")
    ]
    if not any(asked):
        return {}
    names = {f"GIT_{role}_NAME": "local" for role in ("AUTHOR", "COMMITTER")}
    return names | {f"GIT_{role}_EMAIL": "local@localhost" for role in ("AUTHOR", "COMMITTER")}


def remote(url: str) -> tuple[str, dict[str, str]]:
    """``url`` without its credentials, which git's messages would repeat, and the environment that holds them."""
    parts = urlsplit(url)
    token = base64.b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()).decode()
    environment = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {token}",
    }
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), environment
