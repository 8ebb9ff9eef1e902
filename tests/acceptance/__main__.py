"""``python -m tests.acceptance DAG``: what the Makefile calls."""

from __future__ import annotations

import argparse
import contextlib
import sys

from local.cluster import acceptance, access, console, dags, images, kind, registry, settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, say, step
from tests.acceptance.faults import Faults

#: How often as long a run may take under which things break.
PATIENCE = 2


def run(name: str, *, with_faults: bool = False, record: bool = False) -> None:
    """Run a DAG on its toy input and compare what it leaves with what is kept, if anything is.

    :param name: the DAG's folder below ``dags/``.
    :param with_faults: whether to break things meanwhile.
    :param record: keep what the run leaves, instead of comparing it.
    :raises Problem: the run failed, or has left something else.
    """
    case = acceptance.read(name)
    if not kind.is_up():
        raise Problem("the local cluster is not up", "Run `make up`.")
    found = access.write()
    airflow = Airflow(found)
    registry.push(images.tasks())
    acceptance.put_inputs(case, found)
    with step(f"DAG {case.dag}: pushed and parsed"):
        dags.wait_until_served(airflow, case.dag, dags.push(settings.REPO / "dags"))
    run_id = acceptance.start_anew(case, airflow)
    faults = Faults(airflow, case.dag, run_id) if with_faults else contextlib.nullcontext()
    with acceptance.unpaused(case, airflow), faults:
        code = acceptance.run(case, found, run_id, patience=PATIENCE if with_faults else 1)
    if code:
        raise Problem(f"run {run_id} of {case.dag} did not succeed", f"See {found['ui']}/dags/{case.dag}.")
    if record:
        if acceptance.record(case, found, run_id):
            raise Problem("the run's outputs could not be kept", "See the lines above.")
        return
    if not case.keeps_outputs:
        say(f"      {access.show_path(case.expected)} holds nothing to compare with: RECORD=1 keeps what the run left")
        say(f"acceptance: ok, by its state alone, DAG={case.dag} run={run_id}")
        return
    report = settings.STATE / "acceptance" / f"{case.dag}.html"
    if acceptance.compare(case, found, run_id, report):
        shown = access.show_path(report)
        raise Problem(f"run {run_id} of {case.dag} has left something else", f"Read {shown}; if it is right: RECORD=1.")
    say(f"acceptance: ok DAG={case.dag} run={run_id}{' with faults' if with_faults else ''}")


def main(arguments: list[str]) -> int:
    """Parse ``arguments`` and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance")
    parser.add_argument("dag", help="the DAG's folder below dags/, such as support/ticket_sentiment")
    parser.add_argument("--faults", action="store_true", help="break things while it runs")
    parser.add_argument("--record", action="store_true", help="keep what the run leaves")
    given = parser.parse_args(arguments)
    return console.main(lambda: run(given.dag, with_faults=given.faults, record=given.record))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
