"""``airflow-platform restore RELEASE [BACKUP]``: the metadata database as it was at a backup."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from typing import Any

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
    """
    from airflow_platform.programs import called
    from airflow_platform.restore.release import Release

    release = Release(options.release, options.namespace)
    jobs = [one["metadata"]["name"] for one in release.get("cronjobs")]
    cronjob = next((name for name in jobs if name.endswith("-restore")), "")
    if not cronjob:
        raise CommandError(f"release {options.release} has no backups: set backup.enabled, before the next upgrade")
    if not options.yes:
        _ask(options)
    print("stopping Airflow", flush=True)
    try:
        release.stop(seconds=900)
    except CommandError as error:
        raise CommandError(f"{error}\nAirflow may be stopped by now: run this again, which also starts it") from error
    print("restoring", flush=True)
    job = f"{cronjob}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
    try:
        restored, log = release.run(cronjob, job, {_NAME_VARIABLE: options.backup}, options.timeout)
    except CommandError as error:
        raise CommandError(f"{error}\nAirflow is stopped. When no Job is at work any more, run this again") from error
    print(log.rstrip(), flush=True)
    release.start()
    if restored and not options.rollback:
        # It is the schema of before a migration: the next upgrade has it done again.
        release.delete_migrations(ended=True)
    if not restored:
        raise CommandError(f"the database is as it was, and Airflow starts again. Job {job} says why, above")
    if options.rollback:
        print(f"going back to revision {options.rollback}", flush=True)
        words = ["--namespace", options.namespace, "--wait", "--wait-for-jobs", "--timeout", "15m"]
        called("helm", "rollback", options.release, str(options.rollback), *words, timeout=960)
    print(
        "done"
        if options.rollback
        else "Airflow starts again: where it needs a newer schema than the backup has, by the next `helm upgrade`"
    )
    return 0


def _ask(options: Namespace) -> None:
    what = f"backup {options.backup}" if options.backup else "the newest backup, of before the schema moved last"
    print(
        f"This stops Airflow of release {options.release} in namespace {options.namespace}, and puts its database back "
        f"to {what}. What was stored since then is lost."
    )
    if input("Type the release's name to go on: ").strip() != options.release:
        raise CommandError("nothing was done")
