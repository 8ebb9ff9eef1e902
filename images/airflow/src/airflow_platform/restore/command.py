"""``airflow-platform restore RELEASE [BACKUP]``: the metadata database as it was at a backup."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_platform.backup import bucket
from airflow_platform.command_error import CommandError

#: What the Job reads: `airflow_platform.backup`, which knows it too.
_NAME_VARIABLE = "AIRFLOW_PLATFORM_RESTORE"


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "restore",
        help="put the database back to a backup",
        description=(
            "Stop Airflow, put its database back to a backup that was made before a migration, and start Airflow. Pods "
            "of tasks go on meanwhile. It needs kubectl, and helm for --rollback. The restore is one transaction: "
            "one that fails leaves the database as it was."
        ),
    )
    parser.add_argument("release", metavar="RELEASE", help="the helm release")
    parser.add_argument(
        "backup", metavar="BACKUP", nargs="?", default="", help="its name (default: the newest of a release's schema)"
    )
    parser.add_argument("--namespace", "-n", default="airflow", help="the release's namespace (default: airflow)")
    parser.add_argument(
        "--rollback", type=int, metavar="REVISION",
        help="go back to this revision of the release too, as `helm rollback` does: the one of before the migration",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=7200, metavar="SECONDS", help="for the restore itself (default: %(default)g)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def run(options: Namespace) -> int:
    """Do it.

    Raises:
        CommandError: it could not be done; the message says what is to be done now.
        KeyboardInterrupt: of the person at the keyboard, who was told the same.
    """
    from airflow_platform.programs import called
    from airflow_platform.restore.release import Release

    release = Release(options.release, options.namespace)
    found = next((one for one in release.get("cronjobs") if one["metadata"]["name"].endswith("-restore")), None)
    if found is None:
        raise CommandError(f"release {options.release} has no backups: set backup.enabled, before the next upgrade")
    cronjob = found["metadata"]["name"]
    back = [] if options.rollback is None else _rollback(options)
    if not options.yes:
        _ask(options, found)
    with _then("Nothing was done. Where Airflow is stopped then, and nobody starts it, run this again"):
        release.refuse_another(cronjob)
    print("stopping Airflow", flush=True)
    with _then("Airflow may be stopped by now: run this again, which also starts it"):
        release.stop(seconds=900)
    print("restoring", flush=True)
    job = f"{cronjob}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
    with _then(f"Airflow is stopped. Job {job} goes on where it was made: when it has ended, run this again"):
        restored, log = release.run(cronjob, job, {_NAME_VARIABLE: options.backup}, options.timeout)
    print(log.rstrip(), flush=True)
    with _then("Airflow is stopped. Where nobody starts it then, run this again"):
        # Somebody may have begun at the same time: whoever ends last starts Airflow.
        release.refuse_another(cronjob)
    with _then("Airflow is stopped, at least in part: run this again, which also starts it"):
        release.start()
        if restored:
            # It is the schema of before a migration: the next upgrade has it done again.
            release.delete_migrations(ended=True)
    if not restored:
        raise CommandError(f"the database is as it was, and Airflow starts again. Job {job} says why, above")
    if not back:
        print("Airflow starts again: where it needs a newer schema than the backup has, by the next `helm upgrade`")
        return 0
    print(f"going back to revision {options.rollback}", flush=True)
    with _then(f"The database is restored; only the release is still to go back: helm {' '.join(back)}"):
        called("helm", *back, timeout=960)
    print("done")
    return 0


@contextmanager
def _then(said: str) -> Iterator[None]:
    """What fails in here, or is interrupted, also says what is to be done then."""
    try:
        yield
    except CommandError as error:
        raise CommandError(f"{error}\n{said}") from error
    except KeyboardInterrupt:
        print(f"\n{said}", file=sys.stderr, flush=True)
        raise


def _rollback(options: Namespace) -> list[str]:
    """Helm's words. It is asked before anything is done: once the database is restored, a mistake here is late."""
    from airflow_platform.programs import called

    where = ["--namespace", options.namespace]
    words = ["history", options.release, *where]
    with _then("Nothing was done. A release that helm did not install is restored without --rollback"):
        known = [one["revision"] for one in json.loads(called("helm", *words, "--output", "json"))]
    if options.rollback not in known:
        raise CommandError(
            f"release {options.release} has no revision {options.rollback} to go back to, and nothing was done. "
            f"`helm {' '.join(words)}` has: {', '.join(map(str, known))}"
        )
    revision = ["--revision", str(options.rollback), "--output", "json"]
    with _then("Nothing was done"):
        metadata = json.loads(called("helm", "get", "metadata", options.release, *where, *revision))
    # Helm 4 refuses to set what another has written, as an autoscaler has the number of pods. Helm 3, and what it
    # installed, does not, and has no such flag.
    force = ["--force-conflicts"] if metadata.get("applyMethod") == "ssa" else []
    back = ["rollback", options.release, str(options.rollback), *where]
    return [*back, "--wait", "--wait-for-jobs", "--timeout", "15m", *force]


def _ask(options: Namespace, cronjob: Mapping[str, Any]) -> None:
    what = f"backup {options.backup}" if options.backup else "the newest backup, of before the schema moved last"
    print(
        f"This stops Airflow of release {options.release} in namespace {options.namespace}, and puts its database back "
        f"to {what}. What was stored since then is lost."
    )
    if not options.backup:
        print(f"How old that is: {_listing(cronjob)}")
    try:
        answer = input("Type the release's name to go on: ")
    except EOFError:
        raise CommandError("nothing was done: there is nobody to ask. Run this in a terminal, or add --yes") from None
    if answer.strip() != options.release:
        raise CommandError("nothing was done")


def _listing(cronjob: Mapping[str, Any]) -> str:
    """What lists the backups, which are named by their time: only the Job itself can read the bucket."""
    containers = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
    variables = {one["name"]: one.get("value", "") for container in containers for one in container.get("env", [])}
    where = json.loads(variables[bucket.VARIABLE])
    endpoint = f" --endpoint-url {where['endpoint']}" if where.get("endpoint") else ""
    return f"aws s3 ls s3://{where['bucket']}/{bucket.folder(where)}/{endpoint}"
