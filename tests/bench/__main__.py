"""``python -m tests.bench COMMAND``: what the Makefile calls, on the cluster that is up.

``run`` measures and writes ``docs/benchmarks/``; with fewer launches, sizes or rounds than all, ``.local/bench/``.
``short`` only shows that it works. ``scale`` measures many waiting tasks without kubelets. ``page`` makes the page
again from the results that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from kubernetes import config
from kubernetes.client import CoreV1Api
from local.cluster import access, console, images, kind, releases, settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, say, step
from tests.bench import cases, figures, machine, page, scale, waiting, work
from tests.bench.cases import BARE, CELERY, LAUNCHES, LOCAL, OURS, Plan
from tests.bench.containers import ContainerTimes
from tests.bench.measure import Bench, Measured
from tests.bench.stage import Stage
from tests.bench.waiting import Waiting
from tests.observe.pods import PodRecord

#: Waiting tasks without kubelets.
SCALES = (100, 300, 1000)
PUBLISHED = settings.REPO / "docs" / "benchmarks"
#: What a run leaves that is not published: each measurement as it came, results of a part.
UNPUBLISHED = settings.STATE / "bench"


def run(plan: Plan, folder: Path) -> None:
    """Measure every case, and write ``latest.json`` to ``folder``, with a copy under the day's date, and its page.

    :raises Problem: the cluster is not up, or a case could not be measured.
    """
    began = datetime.now(timezone.utc)
    where = machine.describe()
    journal = UNPUBLISHED / f"{began:%Y-%m-%dT%H%M%S}.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    measured: list[Measured] = []
    waited: list[Waiting] = []
    with _bench(plan.idle) as bench:
        versions = machine.versions(bench.airflow)
        with work.default_pool_enlarged(bench.airflow), work.dags_pushed(bench.airflow, _dags(plan)):
            for release, launches in _releases(plan.launches).items():
                if release == CELERY:
                    _check_image()
                with releases.launcher(None if release == LOCAL else release):
                    with step(f"{release}: a task that is not counted") as current:
                        # What a rollout leaves to be loaded by the first task is no later task's cost.
                        few = min(plan.sizes)
                        bench.run(work.dag_id("platform", few), few, current.note)
                    _measure(bench, plan, release, launches, measured, journal)
                    if release in launches and plan.waiting:
                        with step(f"{release}: {plan.waiting} tasks that wait") as current:
                            waited.append(waiting.measure(bench, release, plan.waiting, current.note))
    results = figures.results(measured)
    content = {
        "date": f"{began:%Y-%m-%d}",
        "machine": where,
        "versions": versions,
        "rounds": plan.rounds,
        "results": results,
        "waiting": [asdict(one) for one in waited],
        "figures": figures.wanted(results, waited),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(content, indent=2) + "\n")
    shutil.copyfile(folder / "latest.json", folder / f"{content['date']}.json")
    page.write(folder)
    say(f"results: {os.path.relpath(folder)}/latest.json, README.md beside it; each measurement: {journal}")


def at_scale(sizes: Sequence[int]) -> None:
    """Measure many waiting tasks on a node without a kubelet, and write ``scale.json``.

    :raises Problem: the cluster is not up, or the tasks do not come to wait.
    """
    where, points = machine.describe(), []
    with _bench(idle=0) as bench:
        versions = machine.versions(bench.airflow)
        dags = work.dags_pushed(bench.airflow, [("staged", n) for n in sorted({1, *sizes})])
        with work.default_pool_enlarged(bench.airflow), dags, Stage(bench.api.api_client, bench.task_pods) as stage:
            for n in sorted(sizes):
                with step(f"{n} waiting tasks") as current:
                    points.append(scale.measure(bench, stage, n, current.note))
                    current.progress = f"{points[-1]}"
    content = {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "machine": where,
        "versions": versions,
        "points": [asdict(one) for one in points],
    }
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    (PUBLISHED / "scale.json").write_text(json.dumps(content, indent=2) + "\n")
    if (PUBLISHED / "latest.json").exists():
        page.write(PUBLISHED)


def short() -> None:
    """A few tasks, bare and ours: that all of it works, not how fast.

    :raises Problem: a task failed, or a result is missing.
    """
    folder = UNPUBLISHED / "short"
    shutil.rmtree(folder, ignore_errors=True)
    plan = Plan((BARE, LOCAL), sizes=(1, 5), rounds=1, waiting=0, idle=10)
    run(plan, folder)
    results = json.loads((folder / "latest.json").read_text())["results"]
    there = {(one["launch"], one["n"]) for one in results}
    missing = {(launch, n) for launch in plan.launches for n in plan.sizes} - there
    failed = sum(one["failed"] for one in results)
    if missing or failed:
        raise Problem(f"{failed} tasks failed, results missing: {sorted(missing)}", f"See {folder}/latest.json.")


def _measure(
    bench: Bench, plan: Plan, release: str, launches: Sequence[str], measured: list[Measured], journal: Path
) -> None:
    bench.idles.clear()
    last = 0
    for number, case in cases.rounds(launches, plan.sizes, plan.rounds):
        if number != last:
            last = number
            with step(f"round {number} of {plan.rounds}: the cluster when idle") as current:
                bench.idle(current.note)
        with step(f"round {number} of {plan.rounds}: {case}") as current:
            one = bench.measure(release, case, number, current.note)
            cpu = sum(one.cpu_s.values()) / one.n
            current.progress = f"{one.total_s:.1f} s, {cpu:.2f} CPU s and {one.pods / one.n:.1f} pods a task"
            current.progress += f", {one.failed} failed" if one.failed else ""
            current.progress += f"; {one.strangers} pods of others came meanwhile" if one.strangers else ""
        measured.append(one)
        with journal.open("a") as file:
            file.write(json.dumps(asdict(one)) + "\n")


def _releases(launches: Sequence[str]) -> dict[str, list[str]]:
    """{the release, by its launcher: what is launched on it}, the one that `make up` installs first.

    Bare pods are launched beside each: the machine may have changed meanwhile.
    """
    found = {
        LOCAL: [one for one in launches if one != CELERY],
        CELERY: [one for one in launches if one in (BARE, CELERY)],
    }
    return {
        release: found[release]
        for release in OURS
        if set(found[release]) - {BARE} or (release == LOCAL and CELERY not in launches)
    }


def _dags(plan: Plan) -> list[tuple[str, int]]:
    """What DAGs the plan needs, as (way, number of tasks)."""
    wanted = [
        ("platform" if case.launch in OURS else case.launch, case.n)
        for case in cases.cases(plan.launches, plan.sizes)
        if case.launch != BARE
    ]
    # For the task that is not counted.
    wanted += [("platform", min(plan.sizes))]
    wanted += [("waiting", plan.waiting), ("platform", 1)] if plan.waiting else []
    return list(dict.fromkeys(wanted))


def _check_image() -> None:
    """What runs is what is checked out: another release would bring another image. :raises Problem: it is not."""
    words = ("deployment", "-n", settings.NAMESPACE, "-l", "app.kubernetes.io/component=scheduler", "-o", "json")
    (scheduler,) = json.loads(kind.kubectl("get", *words))["items"]
    runs = {one["image"].rpartition(":")[2] for one in scheduler["spec"]["template"]["spec"]["containers"]}
    if images.AIRFLOW.tag() not in runs:
        raise Problem("the cluster runs another Airflow image than is checked out", "Run `make up` first.")


@contextmanager
def _bench(idle: float) -> Iterator[Bench]:
    """All that observes the cluster. :raises Problem: it is not up."""
    access.link_programs()
    if not kind.is_up():
        raise Problem("the local cluster is not up", "Run `make up`.")
    client = config.new_client_from_config(str(settings.kubeconfig()))
    nodes = {node["metadata"]["name"]: node for node in json.loads(kind.kubectl("get", "nodes", "-o", "json"))["items"]}
    light = [name for name, node in nodes.items() if node["metadata"]["labels"].get("node-pool") == "light"]
    with (
        PodRecord(client, settings.TASK_NAMESPACE) as task_pods,
        PodRecord(client, settings.NAMESPACE) as platform_pods,
        ContainerTimes(light) as times,
    ):
        # kind names a node's container as the node.
        yield Bench(Airflow(access.write()), CoreV1Api(client), task_pods, platform_pods, times, sorted(nodes), idle)


def main(arguments: list[str]) -> int:
    """Parse ``arguments`` and run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("run", help="measure, and write the results and their page")
    measure.add_argument("--launches", type=_words, default=LAUNCHES, help=f"of {','.join(LAUNCHES)}")
    measure.add_argument("--sizes", type=_numbers, default=Plan.sizes, help="numbers of tasks")
    measure.add_argument("--rounds", type=int, default=Plan.rounds)
    measure.add_argument("--waiting", type=int, default=Plan.waiting, help="tasks that wait for memory; 0: none")
    measure.add_argument("--idle", type=float, default=Plan.idle, help="seconds of each round")
    commands.add_parser("short", help="a few tasks: that it works")
    commands.add_parser("scale", help="many waiting tasks").add_argument("--sizes", type=_numbers, default=SCALES)
    commands.add_parser("page", help="make the page again from its results")
    given = parser.parse_args(arguments)
    if given.command == "page":
        return console.main(lambda: page.write(PUBLISHED))
    if given.command == "short":
        return console.main(short)
    if given.command == "scale":
        return console.main(lambda: at_scale(given.sizes))
    if unknown := set(given.launches) - set(LAUNCHES):
        parser.error(f"no such launch: {', '.join(sorted(unknown))}; there are {', '.join(LAUNCHES)}")
    plan = Plan(given.launches, given.sizes, given.rounds, given.waiting, given.idle)
    return console.main(lambda: run(plan, PUBLISHED if plan == Plan() else UNPUBLISHED / "part"))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, _words(text)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(one for one in text.split(",") if one)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
