"""What a CronJob of the platform does, done now."""

from __future__ import annotations

import json
from collections.abc import Callable

from local.cluster import settings
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl


def run(name: str, job: str, edit: Callable[[dict], None], seconds: float) -> None:
    """Have a Job done as a CronJob says, and remove it.

    :param name: the CronJob's, behind the release's.
    :param job: the Job's; one of that name that is left from before goes first.
    :param edit: changes the Job's pod, as Kubernetes has it in JSON.
    :param seconds: how long it may take.
    :raises Problem: it failed, with its log, or took longer.
    """
    words = ["create", "job", job, f"--from=cronjob/{settings.RELEASE}-{name}", "-n", settings.NAMESPACE]
    made = json.loads(kubectl(*words, "--dry-run=client", "-o", "json"))
    edit(made["spec"]["template"]["spec"])

    def conditions() -> set[str]:
        found = json.loads(kubectl("get", "job", job, "-n", settings.NAMESPACE, "-o", "json"))["status"]
        return {one["type"] for one in found.get("conditions") or () if one["status"] == "True"} & {
            "Complete",
            "Failed",
        }

    _remove(job)
    kubectl("create", "-f", "-", stdin=json.dumps(made))
    try:
        if wait_for(f"Job {job}", conditions, seconds=seconds) != {"Complete"}:
            said = kubectl("logs", f"job/{job}", "-n", settings.NAMESPACE, "--all-containers")
            raise Problem(f"Job {job} failed:\n{said}", "Its log says why.")
    finally:
        _remove(job)


def _remove(job: str) -> None:
    kubectl("delete", "job", job, "-n", settings.NAMESPACE, "--ignore-not-found")
