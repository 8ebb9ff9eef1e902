"""The tasks on which faults are tried: DAGs of one mapped task, pushed as an author would, and their runs."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import step, wait_for
from tests import suites

SOURCE = Path(__file__).parent / "dags" / "faults"
TASK = "hold"
#: Of the REST API: task instances on a page.
PAGE = 100
#: More slots than tasks of all runs together.
SLOTS = 2000

#: Ways to launch a task, in the order in which they are tried.
STOCK, PLATFORM = LAUNCHES = ("stock", "platform")
#: The DAGs of the platform's way whose tasks have a callback, for which they go to a second phase.
CALLED = "called"


@dataclass(frozen=True)
class Run:
    """A run of the DAG with ``n`` tasks. ``gate`` is what its tasks wait at, empty where they end by themselves."""

    airflow: Airflow
    dag_id: str
    run_id: str
    n: int
    gate: str

    @property
    def path(self) -> str:
        """The run in the API."""
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}"

    def instances(self) -> list[dict]:
        """All task instances, page by page."""
        found: list[dict] = []
        while True:
            page = self.airflow.call("GET", f"{self.path}/taskInstances?limit={PAGE}&offset={len(found)}")
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def states(self) -> Counter:
        """How many task instances are in which state."""
        return Counter(one["state"] for one in self.instances())

    def has_ended(self) -> bool:
        """Whether the run is in a state that it does not leave."""
        return self.airflow.run(self.dag_id, self.run_id)["state"] in ENDED

    def stop(self) -> None:
        """Mark it failed, and with it what has not ended; where it has ended, nothing."""
        if not self.has_ended():
            self.airflow.call("PATCH", self.path, state="failed")


def start(airflow: Airflow, launch: str, n: int, *, ledger: str, gated: bool, lines: int, interval: float) -> Run:
    """Trigger a run.

    :param ledger: the ledger's address.
    :param gated: its tasks wait until they are let go.
    :param lines: how many lines each task prints at least, one every ``interval`` seconds.
    """
    # Such an id can be a label's value as it is.
    run_id = f"faults-{secrets.token_hex(5)}"
    run = Run(airflow, dag_id(launch, n), run_id, n, run_id if gated else "")
    conf = {"ledger": ledger, "gate": run.gate, "lines": lines, "interval": interval}
    airflow.call("POST", f"dags/{run.dag_id}/dagRuns", dag_run_id=run_id, logical_date=None, conf=conf)
    return run


def calls(airflow: Airflow, run_id: str) -> list[dict]:
    """What the callbacks of a run's tasks have left: a variable for each call, whose key has the map index."""
    found: list[dict] = []
    while True:
        query = f"variable_key_pattern=faults-called-{run_id}-%25&limit={PAGE}&offset={len(found)}"
        page = airflow.call("GET", f"variables?{query}")
        found += page["variables"]
        if len(found) >= page["total_entries"] or not page["variables"]:
            return found


def dag_id(launch: str, n: int) -> str:
    """The DAG with ``n`` tasks."""
    return f"faults_{launch}_{n}"


@contextlib.contextmanager
def dags_pushed(airflow: Airflow, launches: Iterable[str], sizes: Iterable[int]) -> Iterator[None]:
    """The DAGs of these sizes, parsed and not paused; they are taken away at the end. :raises Problem: not parsed."""
    wanted = sorted(set(sizes))
    revision = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCE.glob("*.py")))).hexdigest()[:12]
    with step("DAGs: pushed and parsed"):
        suites.push(SOURCE, {"sizes": wanted, "revision": revision})
        for one in [dag_id(launch, n) for launch in launches for n in wanted]:
            wait_for(f"DAG {one}", lambda one=one: suites.is_parsed(airflow, SOURCE, one, revision), seconds=180)
            airflow.call("PATCH", f"dags/{one}", is_paused=False)
    try:
        yield
    finally:
        suites.push(SOURCE, None)


@contextlib.contextmanager
def default_pool_enlarged(airflow: Airflow) -> Iterator[None]:
    """The default pool does not limit the runs; it is as before at the end."""
    before = airflow.call("GET", "pools/default_pool")["slots"]
    airflow.call("PATCH", "pools/default_pool?update_mask=slots", slots=SLOTS)
    try:
        yield
    finally:
        airflow.call("PATCH", "pools/default_pool?update_mask=slots", slots=before)
