"""An author's loop: each time that a DAG or an image is saved, both are brought to the cluster and run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from local.cluster import acceptance, dags, images, registry, settings
from local.cluster.acceptance import Acceptance
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import Problem, duration, say, step
from watchfiles import watch

#: Milliseconds between two looks at whether anything was saved.
_LOOK = 500


@dataclass(frozen=True)
class _Brought:
    """What the cluster has: the commit of the DAGs, and {name of an image: what it was built as}."""

    commit: str
    built: dict[str, str]


def loop(name: str, access: dict) -> None:
    """Run a DAG on its toy input, and after each save what has changed of it, until it is interrupted.

    A changed DAG runs wholly. Where only images changed, the tasks that run them, and those after them, run again.

    :param name: the DAG's folder below ``dags/``.
    :raises Problem: the folder has no acceptance.yaml. What goes wrong later is said, and mended by the next save.
    """
    airflow = Airflow(access)
    acceptance.read(name)
    before: _Brought | None = None
    run_id = ""
    for _ in _saves():
        began = time.monotonic()
        try:
            case = acceptance.read(name)
            now = _bring(case, airflow)
            tasks = _changed(airflow, case, run_id, before, now)
            before = now
            if tasks is None:
                acceptance.put_inputs(case, access)
                run_id = acceptance.start_anew(case, airflow)
            say(f"      {duration(time.monotonic() - began)} after the save")
            if tasks is None:
                with acceptance.unpaused(case, airflow):
                    acceptance.run(case, access, run_id)
            elif tasks:
                with acceptance.unpaused(case, airflow):
                    acceptance.run_again(case, access, run_id, tasks)
            else:
                say("      nothing that it runs has changed")
        except Problem as problem:
            say(f"error: {problem}")
        took = duration(time.monotonic() - began)
        say(f"\n{took}. Save a file of dags/ or images/ to go on; Ctrl-C ends this.")


def _saves() -> Iterator[None]:
    """Once at first, then after each save; those while something ran count as one."""
    changes = watch(settings.REPO / "dags", settings.REPO / "images", yield_on_timeout=True, rust_timeout=_LOOK)
    # It begins to watch with the first look.
    next(changes)
    yield
    for found in changes:
        if found:
            yield


def _bring(case: Acceptance, airflow: Airflow) -> _Brought:
    """Images and DAGs as they are now to the cluster."""
    wanted = images.tasks()
    registry.push(wanted)
    with step(f"DAG {case.dag}: pushed and parsed"):
        commit = dags.push(settings.REPO / "dags")
        dags.wait_until_served(airflow, case.dag, commit)
    return _Brought(commit, {one.name: one.built() for one in wanted})


def _changed(
    airflow: Airflow, case: Acceptance, run_id: str, before: _Brought | None, now: _Brought
) -> list[str] | None:
    """The tasks of the run before whose images have changed, or that failed; None: the DAG is to run anew."""
    if before is None or before.commit != now.commit or not run_id:
        return None
    if airflow.run(case.dag, run_id)["state"] not in ENDED:
        return None
    changed = {name for name, built in now.built.items() if before.built.get(name) != built}
    found = set()
    for one in airflow.task_instances(case.dag, run_id):
        image = str(one["rendered_fields"].get("image", "")).rpartition(":")[0].rpartition("/")[2]
        if image in changed or one["state"] in ("failed", "upstream_failed"):
            found.add(one["task_id"])
    return sorted(found)
