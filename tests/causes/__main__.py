"""``python -m tests.causes``: what the Makefile calls."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime, timezone

from local.cluster import access, console, kind, settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, say, step
from tests.causes import figures, objects, page, recording, registry_stub, trial, work
from tests.causes.cases import CASES, REGISTRY, SHORT
from tests.causes.figures import Outcome
from tests.causes.work import LAUNCHES, PLATFORM
from tests.faults.work import default_pool_enlarged


def run(names: Sequence[str], launches: Sequence[str], *, written: bool) -> None:
    """Provoke faults, each way, and show the table.

    :param written: whether the page, and the cases of the diagnosis' tests, are written anew.
    :raises Problem: a run did not end, or what must hold for the platform does not.
    """
    if not kind.is_up():
        raise Problem("the local cluster is not up", "Run `make up`.")
    found = access.write()
    airflow = Airflow(found)
    cases = [CASES[name] for name in names]
    began = datetime.now(timezone.utc)
    every: dict[str, list[Outcome]] = {}
    with ExitStack() as stack:
        stack.enter_context(default_pool_enlarged(airflow))
        stack.enter_context(objects.made(airflow))
        if any(REGISTRY in case.words for case in cases):
            stack.enter_context(registry_stub.running(REGISTRY))
        stack.enter_context(work.dags_pushed(airflow, launches, names))
        for launch in launches:
            before = os.getloadavg()[0]
            with step(f"{len(cases)} faults, {launch}") as current:
                tasks, nodes = trial.run(cases, launch, airflow, found, current)
            recorded = {task.case.name: recording.of(task, nodes) for task in tasks if launch == PLATFORM}
            every[launch] = [figures.outcome(task, recorded.get(task.case.name)) for task in tasks]
            _store(began, tasks, every)
            say(page.terminal(every[launch]))
            if written:
                page.keep(every[launch], _versions(nodes), (before, os.getloadavg()[0]))
            if written and launch == PLATFORM:
                kept = {name: case for name, case in recorded.items() if case is not None}
                recording.save(kept, nodes, _of_nodes(nodes))
    _judge(every)


def _judge(every: dict[str, list[Outcome]]) -> None:
    missed = []
    for launch, outcomes in every.items():
        counted = figures.figures(outcomes)
        say(f"{launch}:\n{page.figures_in_words(counted)}")
        if launch == PLATFORM:
            missed += [one["figure"] for one in counted if one["verdict"] == "missed"]
            missed += [f"{one.case}: {note}" for one in outcomes for note in one.notes]
    if missed:
        raise Problem("\n       ".join(missed), "The logs are in the UI; docs/causes says how it is counted.")


def _store(began: datetime, tasks: Sequence[trial.Task], every: dict[str, list[Outcome]]) -> None:
    """All that was seen, for whoever looks for the reason of a figure."""
    folder = settings.STATE / "causes" / f"{began:%Y%m%dT%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outcomes.json").write_text(
        json.dumps({launch: [asdict(one) for one in found] for launch, found in every.items()}, indent=2)
    )
    for task in tasks:
        seen = {
            "instance": task.instance,
            "log": [asdict(line) for line in task.log],
            "evidence": task.evidence,
            "shown": task.shown(),
            "told": task.told_at,
            "states": [[received, state] for received, state in task.sight.states()],
            "events": [asdict(one) for one in task.sight.events],
        }
        (folder / f"{task.run.dag_id}.{task.case.name}.json").write_text(json.dumps(seen, indent=1))


def _versions(nodes: Sequence[dict]) -> str:
    words = ["get", "deployment", f"{settings.RELEASE}-triggerer", "-n", settings.NAMESPACE, "-o", "json"]
    containers = json.loads(kind.kubectl(*words))["spec"]["template"]["spec"]["containers"]
    return f"{_of_nodes(nodes)}, Airflow image {containers[0]['image'].rpartition(':')[2]}"


def _of_nodes(nodes: Sequence[dict]) -> str:
    info = nodes[0]["status"]["nodeInfo"]
    return f"Kubernetes {info['kubeletVersion']}, {info['containerRuntimeVersion'].replace('://', ' ')}"


def main(arguments: list[str]) -> int:
    """Parse ``arguments`` and run; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.causes", description="Faults, and what the log says of them."
    )
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--launch", nargs="+", choices=LAUNCHES, default=list(LAUNCHES))
    parser.add_argument(
        "--short", action="store_true", help=f"with the platform: {', '.join(SHORT)}; nothing is written"
    )
    parser.add_argument("--page", action="store_true", help="write docs/causes/README.md anew from latest.json")
    given = parser.parse_args(arguments)
    if given.page:
        return console.main(page.write)
    if given.short:
        return console.main(lambda: run(SHORT, [PLATFORM], written=False))
    return console.main(lambda: run(given.case, given.launch, written=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
