"""A cluster on which the platform was never installed, but for what an SRE brings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from local.cluster import postgres, releases, settings
from local.cluster.console import step
from local.cluster.kind import kubectl

#: Where the database, and the keys that it is encrypted by, are meanwhile: an interrupted run loses neither.
_DATABASE, _SECRET = "airflow_kept", f"{settings.RELEASE}-generated-kept"
_GENERATED = f"{settings.RELEASE}-generated"


@contextlib.contextmanager
def nothing_before() -> Iterator[None]:
    """No release, none of its generated keys, and an empty database; the database and its keys are back afterwards."""
    if _is_kept():
        _bring_back()
    _copy_secret(_GENERATED, _SECRET)
    try:
        with step("No release, an empty database"):
            _uninstall()
            postgres.query(f"ALTER DATABASE airflow RENAME TO {_DATABASE}", "postgres")
            postgres.query("CREATE DATABASE airflow OWNER airflow", "postgres")
        yield
    finally:
        with step("The database as before"):
            _bring_back()


def _is_kept() -> bool:
    return postgres.query(f"SELECT 1 FROM pg_database WHERE datname = '{_DATABASE}'", "postgres") == ["1"]


def _bring_back() -> None:
    _uninstall()
    if _is_kept():
        postgres.query("DROP DATABASE IF EXISTS airflow WITH (FORCE)", "postgres")
        postgres.query(f"ALTER DATABASE {_DATABASE} RENAME TO airflow", "postgres")
    _copy_secret(_SECRET, _GENERATED)
    kubectl("delete", "secret", _SECRET, "-n", settings.NAMESPACE)


def _copy_secret(name: str, other: str) -> None:
    found = json.loads(kubectl("get", "secret", name, "-n", settings.NAMESPACE, "-o", "json"))
    labels = found["metadata"].get("labels", {})
    copied = found | {"metadata": {"name": other, "namespace": settings.NAMESPACE, "labels": labels}}
    kubectl("apply", "-f", "-", stdin=json.dumps(copied))


def _uninstall() -> None:
    releases.helm("uninstall", settings.RELEASE, "--namespace", settings.NAMESPACE, "--wait", "--ignore-not-found")
    kubectl("delete", "secret", _GENERATED, "-n", settings.NAMESPACE, "--ignore-not-found")
    # Of workers, which no release has: they are the old database's.
    kubectl("delete", "pods", "--all", "-n", settings.NAMESPACE, "--wait")
