"""``airflow-platform plan RELEASE CHART``: what ``helm upgrade`` with the same words would do. It changes nothing."""

from __future__ import annotations

import argparse
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from airflow_platform.command_error import CommandError
from airflow_platform.programs import called

#: What the command ends with where something cannot be changed in place.
BLOCKED = 3

#: Options that are handed on to helm as they are given.
_HELM = ("--values", "--set", "--set-string", "--set-json", "--set-file", "--version")


class _Handed(argparse.Action):
    """Keeps the order of helm's options, by which later ones win."""

    def __call__(self, _parser: Any, options: Namespace, value: Any, name: str | None = None) -> None:
        options.helm = [*options.helm, "--values" if name == "-f" else name, value]


def add(commands: Any) -> ArgumentParser:
    """The sub-command's parser."""
    parser = commands.add_parser(
        "plan",
        help="what an upgrade would restart, change and touch",
        description=(
            "Say what `helm upgrade` with the same words would do: which pods restart and why, whether the database's "
            "schema moves, which running tasks are touched, and what cannot be changed in place. It needs helm and "
            f"kubectl, and changes nothing. Ends with 0, with {BLOCKED} where something is blocked, with 1 after an "
            "error."
        ),
    )
    parser.add_argument("release", metavar="RELEASE", help="the helm release")
    parser.add_argument("chart", metavar="CHART", nargs="?", help="the chart to upgrade to, as helm takes it")
    parser.add_argument("--namespace", "-n", default="airflow", help="the release's namespace (default: airflow)")
    parser.set_defaults(helm=[])
    parser.add_argument("-f", "--values", action=_Handed, metavar="FILE", help="as helm's, any number of times")
    for name in _HELM[1:]:
        parser.add_argument(name, action=_Handed, metavar="VALUE", help="as helm's")
    parser.add_argument("--before", type=Path, metavar="FILE", help="a manifest in place of helm's: what is there")
    parser.add_argument("--after", type=Path, metavar="FILE", help="the same: what is to be, instead of CHART")
    parser.add_argument(
        "--without-tasks", action="store_true", help="do not ask which tasks run; with --before nothing is asked"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    return parser


def run(options: Namespace) -> int:
    """Print the plan.

    Raises:
        CommandError: helm refuses, or a manifest is none.
    """
    from airflow_platform.plan import compare
    from airflow_platform.plan.report import as_dict, show

    if bool(options.chart) == bool(options.after):
        raise CommandError("name what is to be: the chart, or a manifest by --after")
    notes: list[str] = []
    revision = [] if options.before else _revision(options, notes)
    before = _objects(options.before, options, ["get", "manifest", options.release, *revision])
    words = ["upgrade", options.release, options.chart or "", *options.helm, "--dry-run=server", "--output", "json"]
    after = _objects(options.after, options, words)
    # Two manifests can be compared without a cluster.
    jobs = None if options.before and options.without_tasks else _jobs(options, notes)
    plan = replace(compare(before, after, jobs), notes=tuple(notes))
    tasks = "as it was not asked." if options.without_tasks else _tasks(before, options.namespace)
    if options.json:
        print(json.dumps(as_dict(plan, tasks), indent=2))
    else:
        show(plan, tasks)
    return BLOCKED if plan.blocked else 0


def _revision(options: Namespace, notes: list[str]) -> list[str]:
    """Helm's option for what it upgrades from: the last revision that was deployed, where there is one."""
    words = ["history", options.release, "--namespace", options.namespace, "--output", "json"]
    known = sorted(json.loads(called("helm", *words)), key=lambda one: one["revision"])
    newest = known[-1]
    last = next((one for one in reversed(known) if one["status"] == "deployed"), newest)
    newer = f"Revision {newest['revision']} is {newest['status']}"
    if last is not newest:
        notes.append(
            f"{newer}: compared with {last['revision']}, the last that was deployed. What the newer one has changed in "
            "the cluster, the schema maybe, is not seen here."
        )
    elif newest["status"] != "deployed":
        notes.append(f"{newer}, and none was deployed: what of it is in the cluster is not seen here.")
    return ["--revision", str(last["revision"])]


def _jobs(options: Namespace, notes: list[str]) -> Mapping[str, str] | None:
    """How the release's Jobs have ended; None, and noted, where nobody says."""
    from airflow_platform.restore.release import Release, end

    try:
        return {job["metadata"]["name"]: end(job) for job in Release(options.release, options.namespace).get("jobs")}
    except CommandError as error:
        notes.append(f"Whether Jobs have ended is not known: {error}")
        return None


def _objects(path: Path | None, options: Namespace, words: Sequence[str]) -> Mapping[Any, Any]:
    from airflow_platform.plan.manifest import ManifestError, read

    if path is not None:
        try:
            text, where = path.read_text(), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from error
    else:
        text, where = called("helm", *words, "--namespace", options.namespace), f"what `helm {words[0]}` says"
        if "json" in words:
            text = json.loads(text)["manifest"]
    try:
        return read(text, options.namespace)
    except ManifestError as error:
        raise CommandError(f"{where} is no manifest: {error}") from error


def _tasks(before: Mapping[Any, Any], namespace: str) -> Any:
    """The tasks that run, or why they are not known."""
    from airflow_platform.plan.manifest import component
    from airflow_platform.plan.running import Tasks

    schedulers = [name for name, one in before.items() if name.kind == "Deployment" and component(one) == "scheduler"]
    if not schedulers:
        return "as the release has no scheduler."
    script = (files("airflow_platform.plan") / "in_pod.py").read_text()
    pod = [f"deployment/{schedulers[0].name}", "--container", "scheduler", "--namespace", namespace]
    try:
        said = called("kubectl", "exec", "--stdin", *pod, "--", "python", "-", stdin=script)
        return Tasks.of(json.loads(said)["tasks"])
    except (CommandError, ValueError, KeyError) as error:
        return f"as the scheduler's pod could not be asked: {error}"
