"""The Airflow pools of the node pools: made by the migrations Job, and kept by the scheduler as the values say.

`nodePools` in the values of the platform's chart is the only place where they are described. What a person changes of
one in the UI is set back within a minute; pools of other names are nobody's business here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import NEW_SESSION, provide_session
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import func, or_, select

from airflow_platform import config

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

#: Of the platform's pools. By it a pool is known that no node pool has any more.
DESCRIPTION = "Node pool. Its slots are those of nodePools in the values of the platform's chart; changes are set back."


@provide_session
def write(pools: Iterable[config.NodePool], *, session: Session = NEW_SESSION) -> None:
    """Create the Airflow pool of each node pool, or set it back to what the node pool says.

    Deferred tasks count: their pods hold the nodes that the slots stand for.
    """
    present = {pool.pool: pool for pool in session.scalars(select(Pool))}
    for pool in pools:
        found = present.get(pool.name)
        if found is None:
            log.info("Pool %s is created, with %s slots", pool.name, pool.slots)
        elif (found.slots, found.include_deferred) != (pool.slots, True):
            log.info("Pool %s has %s slots, and is set to %s", pool.name, found.slots, pool.slots)
        elif found.description == DESCRIPTION:
            continue
        Pool.create_or_update_pool(
            name=pool.name,
            slots=pool.slots,
            description=DESCRIPTION,
            include_deferred=True,
            team_name=found.team_name if found else None,
            session=session,
        )


#: Pools of which it was said already that they are exceeded.
_said: set[str] = set()


@provide_session
def tell_exceeded(*, session: Session = NEW_SESSION) -> None:
    """Say of a pool, once, that tasks with a pod have more slots than it has: it counts no deferred ones."""
    if config.load().launcher.kind == "none":
        return
    from airflow_platform.launch import EXECUTOR

    taken = func.sum(TaskInstance.pool_slots)
    launched = (TaskInstance.state == TaskInstanceState.DEFERRED, TaskInstance.executor == EXECUTOR)
    query = (
        select(Pool.pool, Pool.slots, taken)
        .join(TaskInstance, TaskInstance.pool == Pool.pool)
        .where(*launched, Pool.include_deferred.is_(False), Pool.slots >= 0)
        .group_by(Pool.pool, Pool.slots)
        .having(taken > Pool.slots)
    )
    for name, slots, found in session.execute(query):
        if name not in _said:
            _said.add(name)
            log.warning(
                "Pool %s has %s slots, and tasks whose pods run have %s: it does not count deferred tasks. Have it "
                "include them (Admin → Pools), or declare it (declared.pools)",
                name,
                slots,
                found,
            )


@provide_session
def remove_others(pools: Iterable[config.NodePool], *, session: Session = NEW_SESSION) -> None:
    """Remove the Airflow pools of node pools that are none any more, but not while a task waits or runs in one."""
    remove_marked(DESCRIPTION, [pool.name for pool in pools], "nodePools", session=session)


@provide_session
def remove_marked(mark: str, keep: list[str], where: str, *, session: Session = NEW_SESSION) -> None:
    """Remove the pools whose description begins with ``mark``, but those to ``keep`` and those that tasks name yet.

    ``where`` is the key of the values that they are gone from.
    """
    unfinished = or_(TaskInstance.state.is_(None), TaskInstance.state.in_([one for one in State.unfinished if one]))
    keep = [*keep, Pool.DEFAULT_POOL_NAME]
    for pool in session.scalars(select(Pool).where(Pool.description.startswith(mark), Pool.pool.not_in(keep))).all():
        in_it = session.scalar(
            select(func.count()).select_from(TaskInstance).where(TaskInstance.pool == pool.pool, unfinished)
        )
        if in_it:
            log.warning("Pool %s is none of %s, and stays: %s tasks that have not ended name it", pool, where, in_it)
        else:
            log.info("Pool %s is none of %s, and is removed", pool, where)
            session.delete(pool)
