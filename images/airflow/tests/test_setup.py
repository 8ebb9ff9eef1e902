import contextlib

import pytest

from airflow_platform import setup
from airflow_platform.setup import Admin

VARIABLES = {
    "AIRFLOW_PLATFORM_ADMIN_USERNAME": "admin",
    "AIRFLOW_PLATFORM_ADMIN_EMAIL": "admin@example.com",
    "AIRFLOW_PLATFORM_ADMIN_FIRST_NAME": "Air",
    "AIRFLOW_PLATFORM_ADMIN_LAST_NAME": "Flow",
    "AIRFLOW_PLATFORM_ADMIN_PASSWORD": "hunter2",
}


def test_the_admin_is_read_from_the_environment_and_its_password_not_shown():
    admin = Admin.from_environment(VARIABLES)
    assert (admin.username, admin.email, admin.password) == ("admin", "admin@example.com", "hunter2")
    assert "hunter2" not in repr(admin)


def test_no_admin_is_made_where_none_is_named():
    assert Admin.from_environment({}) is None


def test_an_admin_needs_a_password():
    with pytest.raises(ValueError, match="AIRFLOW_PLATFORM_ADMIN_PASSWORD is empty"):
        Admin.from_environment(VARIABLES | {"AIRFLOW_PLATFORM_ADMIN_PASSWORD": ""})


def test_users_of_another_auth_manager_are_not_ours(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "somewhere.KeycloakAuthManager")
    with pytest.raises(
        RuntimeError, match="users of somewhere.KeycloakAuthManager are not made here: set admin.enabled"
    ):
        setup.write_admin(Admin.from_environment(VARIABLES))


class Manager:
    """FAB's security manager, as far as an admin needs it."""

    def __init__(self, user=None):
        self.user, self.passwords = user, []

    def find_role(self, name):
        return name

    def find_user(self, username):
        return self.user

    def add_user(self, username, first_name, last_name, email, role, password):
        self.added = (username, email, role, password)
        return True

    def update_user(self, user):
        pass

    def reset_password(self, user_id, password):
        self.passwords.append(password)


class User:
    id = 1

    def __init__(self, password, roles):
        from werkzeug.security import generate_password_hash

        self.password, self.roles = generate_password_hash(password, method="scrypt"), roles


@pytest.fixture
def fab(monkeypatch):
    """Put a security manager in FAB's place."""
    from airflow.providers.fab.auth_manager.cli_commands import utils

    monkeypatch.setenv(
        "AIRFLOW__CORE__AUTH_MANAGER", "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    )

    def use(manager):
        builder = type("Builder", (), {"sm": manager})
        monkeypatch.setattr(utils, "get_application_builder", lambda: contextlib.nullcontext(builder))
        return manager

    return use


def test_an_admin_that_is_missing_is_created(fab):
    manager = fab(Manager())
    setup.write_admin(Admin.from_environment(VARIABLES))
    assert manager.added == ("admin", "admin@example.com", "Admin", "hunter2")


def test_an_admin_with_another_password_gets_the_secrets(fab):
    manager = fab(Manager(User("old", roles=["Viewer"])))
    setup.write_admin(Admin.from_environment(VARIABLES))
    assert manager.passwords == ["hunter2"]
    assert manager.user.roles == ["Viewer", "Admin"]
    assert manager.user.email == "admin@example.com"


def test_an_admin_with_the_password_keeps_its_sessions(fab):
    manager = fab(Manager(User("hunter2", roles=["Admin"])))
    setup.write_admin(Admin.from_environment(VARIABLES))
    assert manager.passwords == []


def test_an_address_that_is_taken_is_told(fab, monkeypatch):
    manager = fab(Manager())
    monkeypatch.setattr(manager, "add_user", lambda *_, **__: False)
    with pytest.raises(RuntimeError, match="is admin@example.com another user's address"):
        setup.write_admin(Admin.from_environment(VARIABLES))
