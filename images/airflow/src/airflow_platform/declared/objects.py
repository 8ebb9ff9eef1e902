"""Declared connections, variables and pools. Each is known by its description, by which it is found to be removed."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from airflow.exceptions import AirflowException
from airflow.models import Connection, Variable
from airflow.models.pool import Pool
from airflow.utils.session import NEW_SESSION, provide_session
from sqlalchemy import select

from airflow_platform import airflow_pools
from airflow_platform.declared import model

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

#: How the description of what is declared begins; the user's own follows.
MARK = "Declared in the values of the platform's chart; changes are set back."
_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


@provide_session
def write(declared: model.Declared, *, session: Session = NEW_SESSION) -> None:
    """Write all of them, and remove those that are declared no more."""
    for connection in declared.connections:
        _write_connection(connection, session)
    for variable in declared.variables:
        value = model.secret("variables", variable.key) if variable.value is None else variable.value
        text = value if isinstance(value, str) else json.dumps(value)
        Variable.set(variable.key, text, description=MARK, session=session)
    for pool in declared.pools:
        Pool.create_or_update_pool(
            name=pool.name,
            slots=pool.slots,
            description=_described(pool.description),
            include_deferred=pool.include_deferred,
            session=session,
        )
    _remove(Connection, Connection.conn_id, [one.id for one in declared.connections], session)
    _remove(Variable, Variable.key, [one.key for one in declared.variables], session)
    airflow_pools.remove_marked(MARK, [one.name for one in declared.pools], "declared.pools", session=session)


def _described(description: str | None) -> str:
    return f"{MARK} {description or ''}".strip()


def _write_connection(declared: model.Connection, session: Session) -> None:
    wanted = _connection(declared)
    wanted.description = _described(wanted.description)
    found = session.scalar(select(Connection).where(Connection.conn_id == declared.id))
    if found is None:
        log.info("Connection %s is created", declared.id)
        session.add(wanted)
        return
    # What has not changed is not encrypted anew, so that its row stays as it is.
    changed = [name for name in _FIELDS if getattr(found, name) != getattr(wanted, name)]
    for name in changed:
        value = getattr(wanted, name)
        # Airflow's setters of these keep what there is where nothing is given.
        setattr(found, f"_{name}" if value is None and name in ("password", "extra") else name, value)
    if changed:
        log.info("Connection %s is set to what is declared: %s", declared.id, ", ".join(changed))


def _connection(declared: model.Connection) -> Connection:
    text = json.dumps(declared.value) if declared.value is not None else model.secret("connections", declared.id)
    try:
        if text.lstrip().startswith("{"):
            made = Connection.from_json(text, conn_id=declared.id)
        else:
            made = Connection(conn_id=declared.id, uri=text)
    except (ValueError, TypeError, AirflowException) as error:
        # The error's own words may hold the secret.
        raise model.DeclaredError(
            f"declared.connections: {declared.id} is neither Airflow's JSON of a connection nor a URI "
            f"such as postgres://user:password@host:5432/name ({type(error).__name__})"
        ) from None
    if not made.conn_type:
        raise model.DeclaredError(
            f'declared.connections: {declared.id} has no type. Give "conn_type" in its JSON, or a scheme in its URI.'
        )
    return made


def _remove(kind: type, name: object, keep: list[str], session: Session) -> None:
    for found in session.scalars(select(kind).where(kind.description.startswith(MARK), name.not_in(keep))).all():
        log.info("%s %s is declared no more, and is removed", kind.__name__, getattr(found, name.key))
        session.delete(found)
