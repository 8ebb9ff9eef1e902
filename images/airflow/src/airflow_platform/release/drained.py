"""Whether a version can go from where Airflow looks: it is retired, has no run to make, and all its runs have ended."""

from __future__ import annotations

from airflow_platform.release.plan import RETIRED_ALLOWS
from airflow_platform.release.runs import Runs
from airflow_platform.release.shelf import Shelf
from airflow_platform.release.version import suffixed


def why_not(shelf: Shelf, version: str, runs: Runs) -> str | None:
    """Why a version cannot go yet, and what to do; None where it can.

    Raises:
        ClientError: Airflow does not answer.
    """
    if version not in shelf.plan.retired:
        return f"is kept: retire it first, by airflow-platform retire {shelf.name} {version}"
    ids = [suffixed(dag, version) for dag in shelf.get(version).dags]
    # First whether a run may begin: none begins then between these questions.
    known = {one: dag for one, dag in runs.dags(shelf.name, stale=True).items() if one in ids}
    if not known and version not in shelf.archived:
        return f"is not known to Airflow ({', '.join(ids)}): name the one that serves it, by --url"
    served = {one: dag for one, dag in known.items() if not dag["is_stale"]}
    if allowed := [one for one, dag in served.items() if dag["allowed_run_types"] != RETIRED_ALLOWS]:
        return f"may still be run: Airflow has not read that it is retired ({', '.join(allowed)}): wait for it"
    if due := [one + " (paused)" * dag["is_paused"] for one, dag in served.items() if dag["next_dagrun_run_after"]]:
        return f"has runs to make that are due to it before the next version's ({', '.join(due)}): wait for them"
    if running := [f"{count} of {one}" for one in known if (count := runs.unfinished(one))]:
        return f"has runs that have not ended ({', '.join(running)}): wait for them, or end them"
    return None
