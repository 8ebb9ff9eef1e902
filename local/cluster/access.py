"""What a person or a tool needs to go on, in ``.local/``: programs, kubeconfig and access.json."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from local.cluster import settings, toolchain
from local.cluster.releases import secret

FILE = settings.STATE / "access.json"
PROGRAMS = ("kind", "kubectl", "helm")


def link_programs() -> None:
    """``.local/bin``: the pinned programs."""
    settings.STATE.mkdir(mode=0o700, exist_ok=True)
    folder = settings.STATE / "bin"
    folder.mkdir(exist_ok=True)
    programs = toolchain.programs("go")
    for name in PROGRAMS:
        link = folder / name
        if not link.exists() or link.resolve() != (programs / name).resolve():
            link.unlink(missing_ok=True)
            link.symlink_to(programs / name)


class Access(dict):
    """The content of access.json, which no message may show: neither a traceback nor a test that fails."""

    def __repr__(self) -> str:
        return f"Access({', '.join(self)})"


def write() -> Access:
    """Write access.json, readable by its owner alone; what stands in it."""
    access = {
        "ui": f"http://localhost:{settings.port('ui')}",
        "user": "admin",
        "password": secret(settings.NAMESPACE, f"{settings.RELEASE}-generated", "admin-password"),
        "git": git(),
        "s3": {
            "endpoint": f"http://localhost:{settings.port('s3')}",
            "bucket": "airflow-logs",
            "key": secret(settings.NAMESPACE, "airflow-s3", "access-key"),
            "secret": secret(settings.NAMESPACE, "airflow-s3", "secret-key"),
        },
    }
    handle, name = tempfile.mkstemp(dir=settings.STATE)  # mode 600
    with os.fdopen(handle, "w") as file:
        json.dump(access, file, indent=2)
    os.replace(name, FILE)
    return Access(access)


def git() -> str:
    """The address of the DAGs' repository, with user and password: there before the platform is."""
    user, password = (secret(settings.NAMESPACE, "git-credentials", key) for key in ("username", "password"))
    return f"http://{quote(user, safe='')}:{quote(password, safe='')}@localhost:{settings.port('git')}/dags.git"


def show_path(path: Path) -> str:
    """``path`` as a person in the clone would type it."""
    return os.path.relpath(path, settings.REPO)
