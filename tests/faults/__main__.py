"""``python -m tests.faults``: what the Makefile calls."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime, timezone

import yaml
from local.cluster import access, console, kind, releases, settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, say, step
from local.cluster.kind import kubectl
from tests.faults import ledger, page, trial, work
from tests.faults.scenarios import SCENARIOS, SHORT_FORM, Scenario
from tests.faults.upgrade import UPGRADES
from tests.faults.verdict import Verdict
from tests.faults.work import LAUNCHES, PLATFORM, STOCK


def run(scenarios: list[Scenario], launches: list[str], n: int | None) -> list[Verdict]:
    """Try scenarios, each on all ways to launch a task, and show the table.

    :param n: tasks of a run, in place of each scenario's own number.
    :raises Problem: a scenario could not be tried, or what must hold for the platform does not.
    """
    if not kind.is_up():
        raise Problem("the local cluster is not up", "Run `make up`.")
    found = access.write()
    airflow = Airflow(found)
    names = {STOCK: "stock-deferrable", PLATFORM: _launcher()}
    image = _image()
    began = datetime.now(timezone.utc)
    verdicts: list[Verdict] = []
    problems: list[str] = []
    sizes = {n or one.size(launch) for one in scenarios for launch in launches}
    with (
        work.default_pool_enlarged(airflow),
        ledger.running() as book,
        work.dags_pushed(airflow, [*launches, *([work.CALLED] if any(one.calls for one in scenarios) else [])], sizes),
    ):
        for one in scenarios:
            for launch in launches:
                if one.only and names[launch] not in one.only:
                    continue
                size = n or one.size(launch)
                name = f"{one.name}, {names[launch]}, {size} tasks"
                try:
                    with step(name) as current:
                        verdict = trial.run(one.name, one.act, airflow, found, book, launch, size, current)
                        current.progress = ", ".join(verdict.broken()) or "nothing lost, nothing twice, every log whole"
                except (Problem, OSError, RuntimeError) as error:
                    # The others are still worth their time.
                    problems.append(f"{name}: {error}")
                    say(f"      {error}")
                    continue
                verdict.launch, verdict.image = names[launch], image
                verdicts.append(verdict)
                _store(began, verdicts)
                if n is None and one.name in SCENARIOS:
                    page.keep(verdict)
                if launch == PLATFORM and verdict.broken():
                    problems.append(f"{name}: {', '.join(verdict.broken())}")
    if verdicts:
        say(page.table(verdicts))
    if problems:
        raise Problem(
            "\n       ".join(problems), "What was seen is in `.local/faults/`; docs/faults says how it is counted."
        )
    return verdicts


def _store(began: datetime, verdicts: list[Verdict]) -> None:
    page.RUNS.mkdir(parents=True, exist_ok=True)
    path = page.RUNS / f"{began:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps([asdict(one) for one in verdicts], indent=2) + "\n")


def _try(scenarios: list[Scenario], launches: list[str], n: int | None, launcher: str | None) -> None:
    with releases.launcher(launcher):
        run(scenarios, launches, n)


def _launcher() -> str:
    """The kind of the release's launcher."""
    maps = json.loads(kubectl("get", "configmaps", "-n", settings.NAMESPACE, "-o", "json"))["items"]
    for one in maps:
        if content := (one.get("data") or {}).get("platform.yaml"):
            return (yaml.safe_load(content).get("launcher") or {}).get("kind", "none")
    return "none"


def _image() -> str:
    """The tag of the Airflow image that runs."""
    words = ["get", "deployment", f"{settings.RELEASE}-triggerer", "-n", settings.NAMESPACE, "-o", "json"]
    containers = json.loads(kubectl(*words))["spec"]["template"]["spec"]["containers"]
    return containers[0]["image"].rpartition(":")[2]


def main(arguments: list[str]) -> int:
    """Parse ``arguments`` and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults under running tasks.")
    parser.add_argument("--scenario", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--launch", nargs="+", choices=LAUNCHES, default=list(LAUNCHES))
    parser.add_argument(
        "--launcher", choices=list(releases.LAUNCHERS), help="install the platform with it (default: as it is)"
    )
    parser.add_argument("-n", type=int, help="tasks of a run (default: what the scenario says)")
    parser.add_argument(
        "--short", action="store_true", help="one kill of the triggerer under ten tasks of the platform"
    )
    parser.add_argument(
        "--upgrade", nargs="*", choices=list(UPGRADES), metavar="NAME",
        help="instead of faults, releases of the platform under its own tasks: all of them, or those that are named",
    )  # fmt: skip
    parser.add_argument("--page", action="store_true", help="write docs/faults/README.md anew from latest.json")
    given = parser.parse_args(arguments)
    if given.page:
        return console.main(page.write)
    chosen, launches = [SCENARIOS[name] for name in given.scenario], given.launch
    if given.short:
        chosen, launches = [SHORT_FORM], [PLATFORM]
    if given.upgrade is not None:
        chosen, launches = [UPGRADES[name] for name in given.upgrade or UPGRADES], [PLATFORM]
    return console.main(lambda: _try(chosen, launches, given.n, given.launcher))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
