"""Declared roles and users, of FAB's auth manager.

A declared user has the role :data:`MARK`, which allows nothing: by it one is known who is declared no more, and is made
inactive. Airflow refuses an inactive user's password and tokens at once; what the user did keeps its name.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.fab.auth_manager.models import Resource, Role, User
from airflow.utils.session import NEW_SESSION, provide_session
from sqlalchemy import select

from airflow_platform.declared import model

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

MARK = "Declared"
#: What FAB gives each role of one's own at every start: it would come back.
_HOMEPAGE = ("can_read", "Website")


def write(declared: model.Declared) -> None:
    """Write all of them, and make inactive who is declared no more.

    Raises:
        model.DeclaredError: a permission or a role that does not exist, or an address that is another user's.
    """
    if not (declared.roles or declared.users or _marked()):
        return
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        for role in declared.roles:
            _write_role(manager, role)
        mark = manager.add_role(MARK)
        for user in declared.users:
            _write_user(manager, user, mark)
        _deactivate_others(manager, {user.username for user in declared.users}, mark)


@provide_session
def _marked(*, session: Session = NEW_SESSION) -> bool:
    """Whether anybody was declared before. Asked without FAB's application, which takes seconds to start."""
    return session.scalar(select(User.id).where(User.roles.any(Role.name == MARK)).limit(1)) is not None


def _write_role(manager: Any, declared: model.Role) -> None:
    wanted = {_HOMEPAGE, *((action, name) for name, actions in declared.permissions.items() for action in actions)}
    known = set(manager.session.scalars(select(Resource.name)))
    for _, name in sorted(wanted):
        # A DAG has its resource once somebody gave it permissions of its own.
        if name not in known and not name.startswith(("DAG:", "DAG Run:")):
            raise model.DeclaredError(
                f"declared.roles: {declared.name}: there is no resource {name!r}. "
                f"Choose among {', '.join(sorted(known))}"
            )
    role = manager.add_role(declared.name)
    present = {(one.action.name, one.resource.name): one for one in role.permissions}
    for pair in sorted(wanted - present.keys()):
        manager.add_permission_to_role(role, manager.create_permission(*pair))
    for pair in sorted(present.keys() - wanted):
        manager.remove_permission_from_role(role, present[pair])
    if wanted != present.keys():
        log.info("Role %s is set to what is declared", declared.name)


def _write_user(manager: Any, declared: model.User, mark: Any) -> None:
    from werkzeug.security import check_password_hash

    password = model.secret("users", declared.username)
    roles = [mark]
    for name in declared.roles:
        role = manager.find_role(name)
        if role is None:
            known = ", ".join(sorted({one.name for one in manager.get_all_roles()} - {MARK}))
            raise model.DeclaredError(
                f"declared.users: {declared.username} has the role {name!r}, which does not exist. "
                f"Choose among {known}, or declare it in declared.roles"
            )
        roles.append(role)
    other = manager.find_user(email=declared.email)
    # Names of users are one where they differ in case alone.
    if other is not None and other.username.lower() != declared.username.lower():
        raise model.DeclaredError(
            f"declared.users: the address of {declared.username}, {declared.email}, is that of user {other.username}"
        )
    user = manager.find_user(username=declared.username)
    first, last = declared.first_name or declared.username, declared.last_name
    if user is None:
        if not manager.add_user(declared.username, first, last, declared.email, roles, password=password):
            raise model.DeclaredError(f"declared.users: {declared.username} was not created: the log says why")
        log.info("User %s is created", declared.username)
        return
    user.first_name, user.last_name, user.email, user.active = first, last, declared.email, True
    if {role.name for role in user.roles} != {role.name for role in roles}:
        user.roles = roles
    if manager.update_user(user) is False:
        raise model.DeclaredError(f"declared.users: {declared.username} could not be changed: the log says why")
    if not check_password_hash(user.password or "", password):
        # Also ends the sessions that began with the old one.
        manager.reset_password(user.id, password)
        log.info("The password of user %s is set to its Secret's", declared.username)


def _deactivate_others(manager: Any, declared: set[str], mark: Any) -> None:
    names = {name.lower() for name in declared}
    for user in manager.get_all_users():
        if user.username.lower() not in names and mark in user.roles and user.active:
            user.active = False
            manager.update_user(user)
            log.info("User %s is declared no more, and is made inactive", user.username)
