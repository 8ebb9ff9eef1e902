"""Whether a commit may replace the one before: pure functions."""

from __future__ import annotations

from dataclasses import replace

from airflow_platform.dag_guard.parse import Parsed

#: So many names are told of a longer list.
_TOLD = 5


def refusal(new: Parsed, last: Parsed, max_drop: int) -> str | None:
    """Why ``new`` may not replace ``last``; None: it may.

    What ``last`` does not parse either is no fault of ``new``. ``max_drop`` is how many percent of the DAGs may go.
    """
    if worse := {path: error for path, error in new.errors.items() if path not in last.errors}:
        first = next(iter(worse))
        more = f", and {len(worse) - 1} more files" if len(worse) > 1 else ""
        return f"{first} cannot be imported: {worse[first]}{more}"
    gone = sorted(set(last.dags) - set(new.dags))
    if len(gone) * 100 > max_drop * len(last.dags):
        told = ", ".join(gone[:_TOLD]) + (", …" if len(gone) > _TOLD else "")
        return f"{len(gone)} of {len(last.dags)} DAGs are gone, more than {max_drop} %: {told}"
    return None


def excused(new: Parsed, last: Parsed) -> Parsed:
    """``last``, as if those files had an error in it too that have one in ``new`` and are the same, to the letter.

    Their DAGs are not missed.
    """
    same = {path: new.errors[path] for path, digest in new.sources.items() if last.sources.get(path) == digest}
    dags = [dag for dag in last.dags if last.files.get(dag) not in same]
    return replace(last, dags=dags, errors={**last.errors, **same})
