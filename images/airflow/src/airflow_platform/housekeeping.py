"""Deletes what is old from the metadata database: ``python -m airflow_platform.housekeeping``.

It does the work of ``airflow db clean --skip-archive``, which ends at the first row that another one holds, before the
tables that were to come, and leaves its copy of rows behind where it is killed.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from datetime import datetime, timedelta, timezone

from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils import db_cleanup
from airflow.utils.session import create_session
from sqlalchemy import delete, inspect, select, text
from sqlalchemy.exc import DBAPIError

#: A copy that was to go at the end of its batch. What was archived on purpose, and not in batches, has another name.
_LEFT = re.compile(r"_airflow_deleted__.+__b\d+")

#: By table the key by which other rows hold its rows: their table and column. Of all that have no ON DELETE that helps,
#: these are the ones that Airflow's does not know.
_HELD = {"dag": ("dag_id", ("task_instance", "dag_id")), "trigger": ("id", ("callback", "trigger_id"))}


def drop_copies() -> list[str]:
    """Drop the copies of rows that a run has left which was killed; those that somebody reads, as a dump does, stay."""
    with create_session() as session:
        found = [name for name in inspect(session.connection()).get_table_names() if _LEFT.fullmatch(name)]
    stay = []
    for name in found:
        try:
            with create_session() as session:
                session.execute(text(f'DROP TABLE "{name}"'))
        except DBAPIError as error:
            print(f"{name} stays: {error.orig}", flush=True)
            stay.append(name)
    return stay


def delete_never_started(before: datetime) -> None:
    """Delete tasks without a start of DAGs that are gone since ``before``: Airflow asks for a start that is old.

    No scheduler goes on with their runs, and each keeps its DAG.
    """
    gone = select(DagModel.dag_id).where(DagModel.is_stale, DagModel.last_parsed_time < before)
    never = delete(TaskInstance).where(TaskInstance.start_date.is_(None), TaskInstance.dag_id.in_(gone))
    with create_session() as session:
        session.execute(never.execution_options(synchronize_session=False))


def keep_what_is_held() -> None:
    """Have Airflow leave a DAG that has tasks yet and a trigger that has a callback; a second call changes nothing."""
    for table, (key, holder) in _HELD.items():
        db_cleanup.config_dict[table] = dataclasses.replace(
            db_cleanup.config_dict[table],
            extra_columns=[key],
            referenced_pk_column=key,
            skip_if_referenced=[holder],
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.housekeeping", description=__doc__)
    parser.add_argument("--days", type=int, required=True, help="how old what is deleted has to be")
    parser.add_argument("--batch-size", type=int, required=True, help="rows that one transaction deletes")
    options = parser.parse_args(arguments)
    before = datetime.now(timezone.utc) - timedelta(days=options.days)
    stay = drop_copies()
    delete_never_started(before)
    keep_what_is_held()
    db_cleanup.run_cleanup(
        clean_before_timestamp=before,
        confirm=False,
        skip_archive=True,
        batch_size=options.batch_size,
        error_on_cleanup_failure=True,
    )
    if stay:
        sys.exit(f"left for the next time: {', '.join(stay)}")


if __name__ == "__main__":
    main()
