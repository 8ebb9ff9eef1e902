"""``python -m tests.bench COMMAND``: what the Makefile calls, on the cluster that is up.

``run`` measures and writes ``docs/benchmarks/``; with fewer launches, sizes or rounds than all, ``.local/bench/``.
``short`` only shows that it works. ``page`` makes the page again from the results that are there.
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
from local.cluster import access, console, kind, releases, settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, say, step
from tests.bench import cases, figures, machine, page, waiting, work
from tests.bench.cases import BARE, CELERY, LAUNCHES, LOCAL, OURS, SIZES
from tests.bench.containers import ContainerTimes
from tests.bench.measure import Bench, Measured
from tests.observe.pods import PodRecord

ROUNDS = 3
#: Waiting tasks whose memory is measured.
WAITING = 200
PUBLISHED = settings.REPO / "docs" / "benchmarks"
#: What a run leaves that is not published: each measurement as it came, results of a part.
UNPUBLISHED = settings.STATE / "bench"


def run(launches: Sequence[str], sizes: Sequence[int], rounds: int, folder: Path, idle: float, waiting_n: int) -> None:
    """Measure every case, and write ``latest.json`` to ``folder``, with a copy under the day's date.

    :raises Problem: the cluster is not up, or a case could not be measured.
    """
    began = datetime.now(timezone.utc)
    where = machine.describe()
    journal = UNPUBLISHED / f"{began:%Y-%m-%dT%H%M%S}.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    measured: list[Measured] = []
    waited: list[waiting.Waiting] = []
    with _bench(idle) as bench:
        versions = machine.versions(bench.airflow)
        with _prepared(bench, launches, sizes, waiting_n):
            for release in _releases(launches):
                # Bare pods again beside the other release: the machine may have changed meanwhile.
                with _installed(release):
                    ways = [one for one in launches if one == release or (one not in OURS and release != CELERY)]
                    ways = [BARE, *ways] if release == CELERY and BARE in launches else ways
                    _measure(bench, ways, sizes, rounds, measured, journal)
                    if release in launches and waiting_n:
                        with step(f"{release}: {waiting_n} tasks that wait") as current:
                            waited.append(waiting.measure(bench, release, waiting_n, current.note))
    results = figures.results(measured)
    content = {
        "date": f"{began:%Y-%m-%d}",
        "machine": where,
        "versions": versions,
        "rounds": rounds,
        "results": results,
        "waiting": [asdict(one) for one in waited],
        "figures": figures.wanted(results, waited),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(content, indent=2) + "\n")
    shutil.copyfile(folder / "latest.json", folder / f"{content['date']}.json")
    page.write(folder)
    say(f"results: {os.path.relpath(folder)}/latest.json, README.md beside it; each measurement: {journal}")


def short() -> None:
    """A few tasks, bare and ours: that all of it works, not how fast.

    :raises Problem: a task failed, or a result is missing.
    """
    folder = UNPUBLISHED / "short"
    shutil.rmtree(folder, ignore_errors=True)
    run([BARE, LOCAL], [1, 5], rounds=1, folder=folder, idle=10, waiting_n=0)
    results = json.loads((folder / "latest.json").read_text())["results"]
    there = {(one["launch"], one["n"]) for one in results}
    missing = {(launch, n) for launch in (BARE, LOCAL) for n in (1, 5)} - there
    failed = sum(one["failed"] for one in results)
    if missing or failed:
        raise Problem(f"{failed} tasks failed, results missing: {sorted(missing)}", f"See {folder}/latest.json.")


def _measure(
    bench: Bench, ways: Sequence[str], sizes: Sequence[int], rounds: int, measured: list[Measured], journal: Path
) -> None:
    bench.idles.clear()
    last = 0
    for number, case in cases.rounds(ways, sizes, rounds):
        if number != last:
            last = number
            with step(f"round {number} of {rounds}: the cluster when idle") as current:
                bench.idle(current.note)
        with step(f"round {number} of {rounds}: {case}") as current:
            one = bench.measure(case, number, current.note)
            cpu = sum(one.cpu_s.values()) / one.n
            current.progress = f"{one.total_s:.1f} s, {cpu:.2f} CPU s and {one.pods / one.n:.1f} pods a task"
            current.progress += f", {one.failed} failed" if one.failed else ""
        measured.append(one)
        with journal.open("a") as file:
            file.write(json.dumps(asdict(one)) + "\n")


def _releases(launches: Sequence[str]) -> list[str]:
    """The releases that the launches need, by their launcher: what needs neither runs on the local one."""
    return [one for one in OURS if one in launches or (one == LOCAL and set(launches) - set(OURS))]


@contextmanager
def _installed(release: str) -> Iterator[None]:
    """The platform with this launcher; afterwards as `make up` installs it."""
    if release == LOCAL:
        yield
        return
    try:
        releases.install_platform(settings.REPO / "values" / "kind-celery.yaml")
        yield
    finally:
        releases.install_platform()


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


@contextmanager
def _prepared(bench: Bench, launches: Sequence[str], sizes: Sequence[int], waiting_n: int) -> Iterator[None]:
    ways = {"platform" if case.launch in OURS else case.launch: None for case in cases.cases(launches, sizes)}
    wanted = [(way, n) for way in ways if way != BARE for n in sizes if _is_measured(way, n)]
    if waiting_n:
        wanted += [("waiting", waiting_n), *([("platform", 1)] if ("platform", 1) not in wanted else [])]
    with work.default_pool_enlarged(bench.airflow), work.dags_pushed(bench.airflow, wanted):
        yield


def _is_measured(way: str, n: int) -> bool:
    return way == "platform" or n <= cases.MOST_STOCK_TASKS


def main(arguments: list[str]) -> int:
    """Parse ``arguments`` and run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("run", help="measure, and write the results and their page")
    measure.add_argument("--launches", type=_listed, default=LAUNCHES, help=f"of {','.join(LAUNCHES)}")
    measure.add_argument("--sizes", type=lambda text: [int(one) for one in _listed(text)], default=SIZES)
    measure.add_argument("--rounds", type=int, default=ROUNDS)
    measure.add_argument("--waiting", type=int, default=WAITING, help="waiting tasks whose memory is measured; 0: none")
    measure.add_argument("--folder", type=Path, help="where results go")
    commands.add_parser("short", help="a few tasks: that it works")
    commands.add_parser("page", help="make the page again from its results")
    given = parser.parse_args(arguments)
    if given.command == "page":
        return console.main(lambda: page.write(PUBLISHED))
    if given.command == "short":
        return console.main(short)
    unknown = set(given.launches) - set(LAUNCHES)
    if unknown:
        parser.error(f"no such launch: {', '.join(sorted(unknown))}; there are {', '.join(LAUNCHES)}")
    complete = set(given.launches) == set(LAUNCHES) and set(given.sizes) >= set(SIZES) and given.rounds >= ROUNDS
    folder = given.folder or (PUBLISHED if complete else UNPUBLISHED / "part")
    return console.main(
        lambda: run(given.launches, given.sizes, given.rounds, folder.resolve(), idle=30, waiting_n=given.waiting)
    )


def _listed(text: str) -> list[str]:
    return [one for one in text.split(",") if one]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
