"""An author's push: a folder of DAG files, committed to the git server that the platform syncs from."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from local.cluster import access, settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, run, wait_for
from local.cluster.kind import kubectl

#: The folder of the repository that the platform reads.
SUBFOLDER = "dags"
BRANCH = "main"
#: Where a pod has the commit that it reads DAGs from: a link to a folder of its name, made when it was fetched.
_LINK = "/git/current"


def push(folder: Path, message: str = "", below: str = SUBFOLDER) -> str:
    """Commit what is in ``folder`` under ``dags/``, or ``below`` another folder, and push it; the commit's hash.

    A file or folder at the top of ``folder`` replaces the one of that name; others in the repository stay. Nothing
    is committed where nothing changed.

    :raises Problem: no such folder, nothing in it, or git's own words.
    """
    if not folder.is_dir():
        raise Problem(f"{folder} is not a folder", "Name a folder of DAG files: make dags-push FROM=dags")
    entries = [entry for entry in sorted(folder.iterdir()) if _is_pushed(entry.name)]
    if not entries:
        raise Problem(f"there is nothing in {folder}", "Name a folder of DAG files: make dags-push FROM=dags")
    with working_copy() as (clone, address, git):
        git("clone", "--quiet", "--branch", BRANCH, address, ".")
        target = clone / below
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


@contextlib.contextmanager
def working_copy() -> Iterator[tuple[Path, str, Callable[..., str]]]:
    """An empty folder, the address of the DAGs' repository, and git, called with its words, in that folder and with the
    repository's credentials.
    """
    address, environment = remote(access.git())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment |= _author(folder)

        def git(*words: str) -> str:
            return run(["git", *words], log="git", env=environment, cwd=folder, doing=f"git {words[0]}")

        yield folder, address, git


def wait_until_served(airflow: Airflow, dag_id: str, commit: str, seconds: float = 90) -> None:
    """Wait until all pods that read DAGs have a commit, each of which fetches for itself, and the DAG is parsed anew.

    :raises Problem: it is not in time; where its file does not import, with the error.
    """
    label = "app.kubernetes.io/component"
    selector = f"{label} in (dag-processor,scheduler,launcher),app.kubernetes.io/instance={settings.RELEASE}"
    words = ["get", "pods", "-n", settings.NAMESPACE, "-l", selector, "-o", "json"]
    pods = [
        one["metadata"] for one in json.loads(kubectl(*words))["items"] if "deletionTimestamp" not in one["metadata"]
    ]
    since = 0.0

    def fetched() -> bool:
        nonlocal since
        for pod in pods:
            component = pod["labels"][label]
            where = ["exec", "-n", settings.NAMESPACE, pod["name"], "-c", component, "--"]
            link, _, moment = kubectl(*where, "sh", "-c", f"readlink {_LINK}; stat -c %.Y {_LINK}").partition("\n")
            if not link.endswith(commit):
                return False
            if component == "dag-processor":
                since = float(moment)
        return True

    def parsed() -> bool:
        dag = airflow.dag(dag_id)
        when = dag and dag["last_parsed_time"]
        return bool(when) and datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() > since

    wait_for(f"commit {commit[:12]} in the pods that read DAGs", fetched, seconds=seconds)
    try:
        wait_for(f"DAG {dag_id}", parsed, seconds=seconds)
    except Problem as problem:
        errors = airflow.call("GET", "importErrors?limit=100")["import_errors"]
        said = "\n".join(f"{one['filename']}:\n{one['stack_trace']}" for one in errors)
        raise Problem(f"{problem}\n{said}", f"Does a file define DAG {dag_id}, and import?") from None


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
