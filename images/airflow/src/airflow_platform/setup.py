"""Makes the metadata database ready for a release, as the migrations Job: ``python -m airflow_platform.setup``.

Migrates the schema, writes the pools of the platform's configuration, the admin user, and what the values declare. One
process, one import of Airflow; every step may be run again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_platform import config, declared
from airflow_platform.schema import SETUP_LOCK, NotReady, connect, wait

log = logging.getLogger(__name__)

#: Seconds that a migration waits for a lock. Whoever wants the same table waits behind it, the running release too:
#: https://www.postgresql.org/docs/current/explicit-locking.html
_PATIENCE = 30
#: Sessions that hold locks of Airflow's tables for so long, the oldest first. The age of other users' may be hidden.
_HOLDERS = """
    SELECT pid, coalesce(usename, backend_type), application_name, round(extract(epoch FROM age))
    FROM pg_stat_activity s, LATERAL (SELECT clock_timestamp() - xact_start AS age) a
    WHERE datname = current_database() AND coalesce(age > make_interval(secs => %s), true) AND EXISTS (
        SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = s.pid AND l.granted
        AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('alembic_version')))
    ORDER BY age DESC NULLS LAST LIMIT 3
"""


@dataclass(frozen=True)
class Admin:
    """The user that the release makes sure of."""

    username: str
    email: str
    first_name: str
    last_name: str
    password: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Admin | None:
        """The user that the variables ``AIRFLOW_PLATFORM_ADMIN_…`` describe; None where they name none.

        Raises:
            ValueError: a user without a password.
        """
        prefix = "AIRFLOW_PLATFORM_ADMIN_"
        username = environment.get(f"{prefix}USERNAME")
        if not username:
            return None
        password = environment.get(f"{prefix}PASSWORD")
        if not password:
            raise ValueError(f"{prefix}PASSWORD is empty: the Secret that it comes from has no value under its key")
        return cls(
            username=username,
            email=environment.get(f"{prefix}EMAIL", ""),
            first_name=environment.get(f"{prefix}FIRST_NAME", ""),
            last_name=environment.get(f"{prefix}LAST_NAME", ""),
            password=password,
        )


def migrate(cursor: Any) -> None:
    """Create or upgrade the schema, the providers' tables included: ``airflow db migrate``.

    A step of it that others hold up for long is taken back, and may be tried again: each is a transaction of its own.

    Args:
        cursor: of another session, which asks who they are.

    Raises:
        RuntimeError: others held it up; the message names their sessions.
    """
    from airflow.providers_manager import ProvidersManager
    from airflow.utils.db import upgradedb
    from psycopg2.errors import LockNotAvailable
    from sqlalchemy.exc import OperationalError

    ProvidersManager().initialize_providers_configuration()
    try:
        with _lock_timeout(_PATIENCE):
            upgradedb()
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        cursor.execute(_HOLDERS, (_PATIENCE,))
        raise RuntimeError(
            f"a step of the migration waited {_PATIENCE} s for a lock, and was taken back so that the running release "
            f"goes on: {str(error.orig).splitlines()[0]}. {_told(cursor.fetchall())} The Job tries again"
        ) from error


def _told(holders: Sequence[tuple[int, str, str, int | None]]) -> str:
    if not holders:
        return "Who had it has let go."
    who = "; ".join(
        f"process {pid} of user {user}" + (f" ({program})" if program else "") + (f" for {age} s" if age else "")
        for pid, user, program, age in holders
    )
    return f"Tables of Airflow's are held by {who}. End it there, or by SELECT pg_terminate_backend({holders[0][0]})."


@contextmanager
def _lock_timeout(seconds: int) -> Iterator[None]:
    """No transaction that begins meanwhile waits longer for a lock, through whatever pooler."""
    from sqlalchemy import Engine, event

    def limit(connection: Any) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{seconds}s'")

    event.listen(Engine, "begin", limit)
    try:
        yield
    finally:
        event.remove(Engine, "begin", limit)


def write_admin(admin: Admin) -> None:
    """Create the user with the role Admin, or bring its data and password to what ``admin`` says.

    Raises:
        RuntimeError: the auth manager is not FAB's, or it refused.
    """
    from airflow.configuration import conf

    name = conf.get("core", "auth_manager")
    if not name.endswith(".FabAuthManager"):
        raise RuntimeError(f"admin.enabled is set, but users of {name} are not made here: set admin.enabled to false")

    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from werkzeug.security import check_password_hash

    with get_application_builder() as builder:
        manager = builder.sm
        role = manager.find_role("Admin")
        user = manager.find_user(username=admin.username)
        if user is None:
            if not manager.add_user(
                admin.username, admin.first_name, admin.last_name, admin.email, role, password=admin.password
            ):
                raise RuntimeError(f"user {admin.username} was not created: is {admin.email} another user's address?")
            log.info("Created user %s", admin.username)
            return
        user.first_name, user.last_name, user.email = admin.first_name, admin.last_name, admin.email
        if role not in user.roles:
            user.roles.append(role)
        manager.update_user(user)
        if not check_password_hash(user.password or "", admin.password):
            # Also ends the sessions that began with the old one.
            manager.reset_password(user.id, admin.password)
            log.info("Set the password of user %s", admin.username)


def set_up(
    pools: Sequence[config.NodePool],
    admin: Admin | None,
    objects: declared.Declared,
    *,
    rotate_fernet_key: bool = False,
) -> None:
    """All steps, under a lock: pods of the release wait for its end, and a second run for the first.

    Raises:
        RuntimeError: what the database has encrypted is by none of the Fernet keys, and nothing was written; others
            held up the migration; or a step could not be taken.
    """
    with connect() as connection, connection.cursor() as cursor:
        # Of the transaction, which stays open: the one kind of lock that a pooler between keeps in one piece.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
        migrate(cursor)
        # Here, not above: a database that is away is told before all of Airflow is imported.
        from airflow_platform import airflow_pools, fernet_rotation

        fernet_rotation.check()
        if rotate_fernet_key:
            fernet_rotation.rotate()
        airflow_pools.write(pools)
        airflow_pools.remove_others(pools)
        if admin is not None:
            write_admin(admin)
        declared.write(objects)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.setup", description=__doc__)
    parser.add_argument(
        "--database-timeout", type=float, default=300, help="seconds to wait for the database (default: %(default)s)"
    )
    parser.add_argument(
        "--rotate-fernet-key", action="store_true", help="encrypt by the first of several Fernet keys what another did"
    )
    options = parser.parse_args(arguments)

    def reachable() -> None:
        with connect():
            pass

    try:
        pools, admin = config.load().node_pools, Admin.from_environment(os.environ)
        objects = declared.Declared.from_environment(os.environ)
        wait(reachable, options.database_timeout)
        set_up(pools, admin, objects, rotate_fernet_key=options.rotate_fernet_key)
    except (NotReady, RuntimeError, ValueError) as error:
        sys.exit(str(error))
    log.info("The database is set up")


if __name__ == "__main__":
    main()
