"""Releases of the platform under running tasks: what an upgrade and the way back leave of them, and of the api-server.

A client asks the api-server ten times a second all the while, each time by a connection of its own, and none may fail.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import yaml
from local.cluster import images, postgres, registry, releases, settings
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl
from tests.faults import components
from tests.faults.scenarios import API_SERVER, SHORT, Scenario
from tests.faults.trial import Trial
from tests.upgrade.migration import REVISION, Installed, downgrade, restore, revision

#: Seconds between two requests, and for one.
_PERIOD, _PATIENCE = 0.1, 10
#: How often the api-server's pods are replaced, where nothing else is done.
_ROLLS = 2
#: Connections to the database of each of PgBouncer's pods in values/kind-pgbouncer.yaml, and its own to look around.
_POOL = 10
#: What an upgrade comes from: a revision of this repository.
_PREVIOUS = "PREVIOUS"


def previous() -> str:
    """The release before this one: the newest tag, else what was before the last change of the image.

    :return: a revision for git; what the variable `_PREVIOUS` says, where it is set.
    """
    if named := os.environ.get(_PREVIOUS):
        return named
    return (
        _git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD")
        or _git("log", "-1", "--format=%H~1", "--", "images/airflow/src")
        or "HEAD~1"
    )


def _git(*words: str) -> str:
    """What git says of this repository; nothing where it fails."""
    return subprocess.run(
        ["git", *words], cwd=settings.REPO, capture_output=True, text=True, check=False
    ).stdout.strip()


@contextlib.contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Chart, values and Airflow image of a revision, in a folder. :raises Problem: git does not know it."""
    words = ["git", "archive", revision, "charts", "values", "images/airflow"]
    made = subprocess.run(words, cwd=settings.REPO, capture_output=True, check=False)
    if made.returncode:
        raise Problem(f"{revision}: {made.stderr.decode().strip()}", f"Name the release before by {_PREVIOUS}=….")
    with tempfile.TemporaryDirectory(dir=settings.STATE) as folder:
        with tarfile.open(fileobj=io.BytesIO(made.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder)


@contextlib.contextmanager
def polled(trial: Trial, url: str) -> Iterator[None]:
    """A client that asks the api-server all the while, for what needs the database."""
    over = threading.Event()
    failures: list[str] = []
    count = 0

    def poll() -> None:
        nonlocal count
        due = time.monotonic()
        while not over.wait(max(due - time.monotonic(), 0)):
            due = max(due + _PERIOD, time.monotonic())
            count += 1
            try:
                answer = requests.get(f"{url}/api/v2/monitor/health", timeout=_PATIENCE)
                wrong = "" if answer.ok else f"{answer.status_code} {answer.text[:80]}"
            except requests.RequestException as error:
                wrong = f"{type(error).__name__}: {error}"[:160]
            if wrong:
                failures.append(f"{time.strftime('%H:%M:%S')} {wrong}")

    client = threading.Thread(target=poll, daemon=True)
    began = time.monotonic()
    client.start()
    try:
        yield
    finally:
        over.set()
        client.join(_PATIENCE + 1)
        done, failed = trial.requests
        trial.requests = (done + count, failed + len(failures))
        seconds = time.monotonic() - began
        trial.notes.append(f"{count} requests in {seconds:.0f} s, {len(failures)} failed")
        trial.notes += failures[:5]


def _url() -> str:
    return f"http://localhost:{settings.port('ui')}"


def api_server(trial: Trial) -> None:
    """Its pods are replaced, and replaced again."""
    trial.start_and_hold()
    with polled(trial, _url()):
        for _ in range(_ROLLS):
            trial.faults += 1
            kubectl("rollout", "restart", API_SERVER, "-n", settings.NAMESPACE)
            kubectl("rollout", "status", API_SERVER, "-n", settings.NAMESPACE, f"--timeout={components.BACK}s")
            _gone(API_SERVER)


def _gone(deployment: str) -> None:
    """Wait until no pod of a Deployment is left that is on its way out."""
    component = deployment.partition(f"{settings.RELEASE}-")[2]

    def gone() -> bool:
        return not any("deletionTimestamp" in pod["metadata"] for pod in components.pods(component))

    wait_for(f"the end of old pods of {deployment}", gone, seconds=components.BACK)


def upgrade(trial: Trial) -> None:
    """The release before, this one, back, and this one again; half of the tasks end on each side."""
    with checked_out(previous()) as root:
        if images.airflow(root).tag() == images.AIRFLOW.tag():
            raise Problem(
                f"{previous()} has the same image: nothing would be replaced", f"Name another by {_PREVIOUS}=…."
            )
        registry.push([images.airflow(root)])
        releases.install_platform(root=root)
        try:
            before = releases.revision()
            run = trial.start_and_hold()
            with polled(trial, _url()):
                trial.start(**SHORT)
                releases.install_platform()
                trial.faults += 1
                trial.open(run, run.n // 2)
                trial.start(**SHORT)
                releases.roll_back(before)
                trial.faults += 1
                trial.open(run)
            trial.finish()
        finally:
            releases.install_platform()


def pgbouncer(trial: Trial) -> None:
    """PgBouncer comes between, its pods are replaced, and it goes again; the database sees no more than its pools."""
    registry.push([images.PGBOUNCER])
    values = yaml.safe_dump({"pgbouncer": {"image": {"tag": images.PGBOUNCER.tag()}}})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "image.yaml").write_text(values)
        releases.install_platform(settings.REPO / "values" / "kind-pgbouncer.yaml", Path(folder) / "image.yaml")
    try:
        name = f"deployment/{settings.RELEASE}-pgbouncer"
        run = trial.start_and_hold()
        trial.notes.append(f"{_sessions()} sessions in the database, of {trial.n} tasks that wait")
        with polled(trial, _url()):
            trial.start(**SHORT)
            trial.faults += 1
            kubectl("rollout", "restart", name, "-n", settings.NAMESPACE)
            kubectl("rollout", "status", name, "-n", settings.NAMESPACE, f"--timeout={components.BACK}s")
            _gone(name)
            trial.open(run)
            trial.finish()
        if (most := _sessions()) > 2 * _POOL:
            raise Problem(f"the database has {most} sessions, more than PgBouncer's pools", "See pg_stat_activity.")
    finally:
        releases.install_platform()


def _sessions() -> int:
    """Sessions of Airflow's user in the database."""
    (count,) = postgres.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'airflow'")
    return int(count)


def schema(trial: Trial) -> None:
    """A database of an older schema is migrated, and goes back, and is migrated again: the tasks know nothing of it.

    None ends meanwhile: what is stored after the dump is not in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        platform = Installed(Path(folder))
        try:
            platform.anew()
            run = trial.start_and_hold()
            downgrade()
            trial.say("the schema is the older one, the migration begins")
            platform.anew()
            trial.faults += 1
            components.wait_well(trial.airflow)
            trial.say("migrated, the restore begins")
            said = restore()
            if revision() != REVISION:
                raise Problem(f"the restore left the schema {revision()}", said)
            trial.faults += 1
            platform.again()
            components.wait_well(trial.airflow)
            trial.open(run)
            trial.finish()
        finally:
            releases.install_platform()


UPGRADES = {
    one.name: one
    for one in (
        Scenario("api-server-rolls", 10, "the api-server's pods are replaced twice", api_server),
        Scenario("upgrade-and-back", 50, "from the release before to this one, back, and here again", upgrade),
        Scenario("schema-and-back", 50, "the schema of Airflow 3.2 is migrated, restored and migrated again", schema),
        Scenario("pgbouncer", 20, "PgBouncer comes between, its pods are replaced, and it goes again", pgbouncer),
    )
}
