"""A release's Deployments, stopped for a while and started again with as many pods as before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_platform.command_error import CommandError
from airflow_platform.programs import called

#: How many pods a Deployment had, for as long as it is stopped: whoever was interrupted may run the command again.
REPLICAS = "airflow-platform/replicas"

_COMPONENT = "app.kubernetes.io/component"
#: Celery's launchers reach no database; what runs in them has minutes to end.
_LAUNCHER = "launcher"


class Release:
    """One release of the chart, by kubectl."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name, self._namespace = name, namespace
        self._labels = f"app.kubernetes.io/name=airflow-platform,app.kubernetes.io/instance={name}"

    def get(self, kind: str, labels: str = "") -> list[Mapping[str, Any]]:
        """Its objects of a kind.

        Raises:
            CommandError: kubectl failed.
        """
        selector = ",".join(part for part in (self._labels, labels) if part)
        return json.loads(self.kubectl("get", kind, "--selector", selector, "--output", "json"))["items"]

    def kubectl(self, *words: str, **options: Any) -> str:
        """What kubectl prints, in the release's namespace. Raises as `called` does."""
        return called("kubectl", words[0], "--namespace", self._namespace, *words[1:], **options)

    def refuse_another(self, cronjob: str) -> None:
        """Go on only where no Job of a CronJob is at work, whoever made it.

        Raises:
            CommandError: one has not ended, or kubectl failed.
        """
        for job in self.get("jobs"):
            metadata = job["metadata"]
            owners = [one["name"] for one in metadata.get("ownerReferences") or []]
            if cronjob in owners and not end(job):
                watch = f"kubectl --namespace {self._namespace} get job {metadata['name']} --watch"
                raise CommandError(f"Job {metadata['name']} is at work on the database: wait for its end ({watch})")

    def stop(self, seconds: float) -> None:
        """No pod is there that reaches the database. Task pods go on, and so may launchers for as long as they have to.

        Raises:
            CommandError: there is no such release, or pods are still there after ``seconds``.
        """
        deployments = self.get("deployments")
        if not deployments:
            raise CommandError(f"there is no release {self.name} of airflow-platform in namespace {self._namespace}")
        for one in deployments:
            metadata, pods = one["metadata"], one["spec"].get("replicas", 1)
            if REPLICAS not in (metadata.get("annotations") or {}):
                self.kubectl("annotate", "deployment", metadata["name"], f"{REPLICAS}={pods}")
        self.kubectl("scale", "deployment", "--selector", self._labels, "--replicas=0")
        # One that is still at work, or about to be tried again, would migrate what is restored.
        self.delete_migrations(ended=False)
        components = ",".join(
            sorted({one["spec"]["template"]["metadata"]["labels"][_COMPONENT] for one in deployments} - {_LAUNCHER})
        )
        pods_of = f"{_COMPONENT} in ({components})"
        if not _until(lambda: not self._at_work(pods_of), seconds):
            left = ", ".join(self._at_work(pods_of))
            raise CommandError(f"pods are still there after {seconds:g} s: {left}")

    def _at_work(self, labels: str) -> list[str]:
        """Names of its pods with these labels; those that have ended, or were evicted, stay for as long as anybody."""
        pods = self.get("pods", labels)
        return [one["metadata"]["name"] for one in pods if one["status"].get("phase") not in ("Succeeded", "Failed")]

    def delete_migrations(self, *, ended: bool) -> None:
        """Delete the migrations Job, where it has ended, or where it has not. Whatever installs makes it again.

        Raises:
            CommandError: kubectl failed, or its pod does not go.
        """
        for job in self.get("jobs", f"{_COMPONENT}=migrations"):
            # A restore's has a CronJob.
            if not job["metadata"].get("ownerReferences") and bool(end(job)) == ended:
                words = ["--cascade=foreground", "--timeout=120s"]
                self.kubectl("delete", "job", job["metadata"]["name"], *words, timeout=150)

    def start(self) -> None:
        """As many pods as before are asked for again.

        Raises:
            CommandError: kubectl failed.
        """
        for one in self.get("deployments"):
            name, annotations = one["metadata"]["name"], one["metadata"].get("annotations") or {}
            if REPLICAS in annotations:
                self.kubectl("scale", "deployment", name, f"--replicas={annotations[REPLICAS]}")
                self._disown_replicas(name)
                self.kubectl("annotate", "deployment", name, f"{REPLICAS}-")

    def _disown_replicas(self, name: str) -> None:
        """What ``kubectl scale`` has written is its own, and Helm 4 would refuse to set another number of pods."""
        found = json.loads(self.kubectl("get", "deployment", name, "-ojson", "--show-managed-fields"))
        for number, owner in enumerate(found["metadata"].get("managedFields") or []):
            if (owner["manager"], owner.get("subresource")) == ("kubectl", "scale"):
                path = f"/metadata/managedFields/{number}"
                # Another owner may have come before it meanwhile.
                steps = [
                    {"op": "test", "path": f"{path}/manager", "value": "kubectl"},
                    {"op": "test", "path": f"{path}/subresource", "value": "scale"},
                    {"op": "remove", "path": path},
                ]
                self.kubectl("patch", "deployment", name, "--type=json", "--patch", json.dumps(steps))

    def run(self, cronjob: str, job: str, variables: Mapping[str, str], seconds: float) -> tuple[bool, str]:
        """Run a CronJob's Job once, with more variables in its first containers: whether it succeeded, and its log.

        Raises:
            CommandError: it has not ended after ``seconds``.
        """
        made = json.loads(self.kubectl("create", "job", job, f"--from=cronjob/{cronjob}", "--dry-run=client", "-ojson"))
        for container in made["spec"]["template"]["spec"]["initContainers"]:
            container["env"] = [
                *container.get("env", []),
                *({"name": name, "value": value} for name, value in variables.items()),
            ]
        self.kubectl("create", "--filename", "-", stdin=json.dumps(made))
        ended = _until(lambda: self._ended(job), seconds)
        log = self.kubectl("logs", f"job/{job}", "--all-containers", "--tail=50", "--ignore-errors")
        if not ended:
            raise CommandError(f"Job {job} has not ended after {seconds:g} s. Its log:\n{log}")
        return self._ended(job) == "Complete", log

    def _ended(self, job: str) -> str:
        return end(json.loads(self.kubectl("get", "job", job, "--output", "json")))


def end(job: Mapping[str, Any]) -> str:
    """How a Job has ended: ``Complete`` or ``Failed``; empty while it has not."""
    held = [one["type"] for one in job["status"].get("conditions") or [] if one["status"] == "True"]
    return next((kind for kind in ("Complete", "Failed") if kind in held), "")


def _until(true: Callable[[], Any], seconds: float) -> bool:
    """Whether it was so within ``seconds``, by a look every two."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(2)
    return True
