"""An author's loop: each time that a DAG or an image is saved, both are brought to the cluster and the DAG runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

from local.cluster import acceptance, dags, images, registry, settings
from local.cluster.acceptance import Acceptance
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, duration, say, step
from watchfiles import watch

#: Milliseconds between two looks at whether anything was saved.
_LOOK = 500


def loop(name: str, access: dict) -> None:
    """Run a DAG on its toy input, and again after each save, until it is interrupted.

    :param name: the DAG's folder below ``dags/``.
    :raises Problem: the folder has no acceptance.yaml. What goes wrong later is said, and mended by the next save.
    """
    airflow = Airflow(access)
    acceptance.read(name)
    for _ in _saves():
        began = time.monotonic()
        try:
            case = acceptance.read(name)
            run_id = _bring(case, airflow, access)
            say(f"      {duration(time.monotonic() - began)} after the save the run begins")
            acceptance.run(case, access, run_id)
        except Problem as problem:
            say(f"error: {problem}")
        took = duration(time.monotonic() - began)
        say(f"\n{took}. Save a file of dags/ or images/ to run it again; Ctrl-C ends this.")


def _saves() -> Iterator[None]:
    """Once at first, then after each save; those while it ran count as one."""
    changes = watch(settings.REPO / "dags", settings.REPO / "images", yield_on_timeout=True, rust_timeout=_LOOK)
    # It begins to watch with the first look.
    next(changes)
    yield
    for found in changes:
        if found:
            yield


def _bring(case: Acceptance, airflow: Airflow, access: dict) -> str:
    """Images and DAG as they are now to the cluster; the id that the run will have."""
    registry.push(images.tasks())
    with step(f"DAG {case.dag}: pushed and parsed"):
        dags.wait_until_served(airflow, case.dag, dags.push(settings.REPO / "dags"))
    acceptance.put_inputs(case, access)
    return acceptance.start_anew(case, airflow)
