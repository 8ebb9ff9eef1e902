"""Makes the metadata database ready for a release, as the migrations Job: ``python -m airflow_platform.setup``.

Migrates the schema, writes the pools of the platform's configuration, the admin user, and what the values declare. One
process, one import of Airflow; every step may be run again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_platform import config, declared
from airflow_platform.schema import SETUP_LOCK, NotReady, connect, wait

log = logging.getLogger(__name__)


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


def migrate() -> None:
    """Create or upgrade the schema, the providers' tables included: ``airflow db migrate``."""
    from airflow.providers_manager import ProvidersManager
    from airflow.utils.db import upgradedb

    ProvidersManager().initialize_providers_configuration()
    upgradedb()


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
        RuntimeError: what the database has encrypted is by none of the Fernet keys, and nothing was written; or a step
            could not be taken.
    """
    with connect() as connection, connection.cursor() as cursor:
        # Of the transaction, which stays open: the one kind of lock that a pooler between keeps in one piece.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
        migrate()
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
